"""`EmbeddedChain`: py-evm under Cancun rules, with one writer that packs all waiting transactions into one block."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import rlp
from eth.abc import (
    BlockAPI,
    BlockHeaderAPI,
    ComputationAPI,
    ReceiptAPI,
    SignedTransactionAPI,
    StateAPI,
)
from eth.chains.base import MiningChain
from eth.exceptions import HeaderNotFound, TransactionNotFound, UnrecognizedTransactionType
from eth.typing import AccountDetails, HeaderParams
from eth.vm.forks.cancun.transactions import CancunTransactionBuilder
from eth.vm.spoof import SpoofTransaction
from eth_keys.exceptions import BadSignature
from eth_typing import Address as RawAddress
from eth_typing import BlockNumber, Hash32
from eth_utils.address import to_canonical_address
from eth_utils.exceptions import ValidationError

from blockchain.node.block_builder import GAS_LIMIT, SENDER_KEY, BlockBuilder
from blockchain.node.machine import CallRequest, CheckedVM, MinedTransaction, TransactionRefusedError, in_client_words
from blockchain.node.store import ChainStore, StoredLog
from blockchain.node.stored_chain import CHAIN_ID_KEY, GENESIS_KEY, encode_balances
from fedward.errors import LedgerError
from fedward.files import make_folder
from fedward.types import Address

CALL_GAS_LIMIT = 2**24  # the most that a transaction may use by EIP-7825, which deploying our contract does not reach
BASE_FEE_WEI = 7  # where the base fee of blocks that are at most half full comes to rest
FUNDED_WEI = 10**24
MAX_WAITING = 4_096
NONCE_PATIENCE_S = 5.0
# Each block is at least a second after its parent, so blocks that are made as soon as something waits take the chain's
# time ahead of the clock, and with it everybody's deadlines. This bound, as far as Ethereum clients accept a block from
# the future, lets the few blocks of a round through without any wait; idle time gives it back.
MAX_AHEAD_S = 15.0
BLOCK_INTERVAL_S = 1.0  # between blocks beyond that bound, so that the chain's time cannot gain on the clock
BLOB_TYPE = 3

Clock = Callable[[], float]


@dataclass(eq=False)
class HandedIn:
    """A transaction that was handed in, and what became of it."""

    transaction: SignedTransactionAPI
    done: bool = False
    refusal: str = ""


class EmbeddedChain:
    """A whole chain in one folder.

    Args:
        folder: Where the chain's store lies; made where missing.
        chain_id: The chain's id; an existing folder must have the same.
        funded: Accounts that a new chain gives `FUNDED_WEI`; an existing chain keeps its own.
        clock: Seconds since 1970; the timestamps of new blocks follow it.
        existing: Whether the folder must hold a chain already.

    Raises:
        LedgerError: the folder holds a chain of another id, or none where one must be.
        ResourceError: the folder is in use or cannot be written.

    Guarantees:
        1. When `submit` returns, the transaction's block is on the disk.
        2. A transaction signed for another chain never enters.
        3. However many transactions are sent, the chain's time runs at most `MAX_AHEAD_S` ahead of a clock that runs
           at the rate of time, or as far as it was ahead when opened. Where the clock stands still or was set back,
           blocks go on, one in `BLOCK_INTERVAL_S`.
    """

    def __init__(
        self,
        folder: Path,
        chain_id: int,
        funded: Sequence[Address],
        clock: Clock = time.time,
        existing: bool = False,
    ) -> None:
        store = folder / "chain.sqlite"
        if existing and not (store.is_file() and store.stat().st_size):
            raise _no_chain(folder)
        make_folder(folder)
        self.chain_id = chain_id
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._pool_lock = threading.Lock()
        self._waiting: list[HandedIn] = []
        self._sealed_s = time.monotonic()
        self._closed = False
        self._store = ChainStore(store)
        chain_class = MiningChain.configure("FedwardChain", vm_configuration=((0, CheckedVM),), chain_id=chain_id)
        try:
            if existing or CHAIN_ID_KEY in self._store:
                self._check_chain_id(folder)
            else:
                with self._store.transaction():
                    self._store[CHAIN_ID_KEY] = str(chain_id).encode()
                    self._store[GENESIS_KEY] = encode_balances(dict.fromkeys(funded, FUNDED_WEI))
                    chain_class.from_genesis(self._store, self._genesis(), _balances(funded))
            self._chain = chain_class(self._store)
            self._builder = BlockBuilder(self._chain, self._store)
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        """Take no more transactions, and close the store."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._store.close()

    def _check_chain_id(self, folder: Path) -> None:
        """Refuse a folder whose chain has another id, or whose store is empty."""
        if CHAIN_ID_KEY not in self._store:
            raise _no_chain(folder)
        stored = int(self._store[CHAIN_ID_KEY])
        if stored != self.chain_id:
            raise LedgerError(
                f"The chain in {folder} has id {stored}, not {self.chain_id}.",
                f"Start it with --set ledger.chain-id={stored}, or choose another folder.",
            )

    def _genesis(self) -> dict[str, HeaderParams]:
        """Header fields of block 0."""
        return {"gas_limit": GAS_LIMIT, "timestamp": int(self._clock()), "base_fee_per_gas": BASE_FEE_WEI}

    # ---- writing ------------------------------------------------------------------------------------------------

    def submit(self, raw: bytes) -> bytes:
        """Take a signed transaction and return its hash once it is in a block on the disk.

        A transaction that arrives while a block is being built waits for the next block, which takes all that wait.

        Raises:
            TransactionRefusedError: it is malformed, for another chain, already known, unpayable or out of order.
            ResourceError: the disk is full.
        """
        return self.await_block(self.hand_in(raw))

    def hand_in(self, raw: bytes) -> HandedIn:
        """Take a signed transaction without waiting for its block; `await_block` must follow.

        Raises:
            TransactionRefusedError: it is malformed or for another chain, or too many are waiting.
        """
        entry = HandedIn(self._decode(raw))
        with self._pool_lock:
            if len(self._waiting) >= MAX_WAITING:
                raise TransactionRefusedError("txpool is full")
            self._waiting.append(entry)
        return entry

    def await_block(self, entry: HandedIn) -> bytes:
        """Wait until a transaction that was handed in is in a block on the disk; returns its hash.

        Raises:
            TransactionRefusedError: it is already known, unpayable or out of order.
            ResourceError: the disk is full.
        """
        try:
            self._wait_for_block(entry)
        finally:
            with self._pool_lock:
                if entry in self._waiting:
                    self._waiting.remove(entry)
        if entry.refusal:
            raise TransactionRefusedError(entry.refusal)
        return bytes(entry.transaction.hash)

    def _wait_for_block(self, entry: HandedIn) -> None:
        """Build blocks, or wait while another thread does, until this transaction is in a block or refused."""
        patience_s = NONCE_PATIENCE_S
        with self._changed:
            while not entry.done:
                if self._closed:
                    raise TransactionRefusedError("the node is being stopped")
                pause_s = self._pause_s()
                if pause_s > 0:
                    self._changed.wait(pause_s)  # releases the lock: others read, and transactions gather
                elif not self._mine_block() and not entry.done:
                    began = time.monotonic()
                    self._changed.wait(patience_s)
                    patience_s -= time.monotonic() - began
                    if patience_s <= 0 and not entry.done:
                        raise TransactionRefusedError("nonce too high: transactions before it are missing")

    def _pause_s(self) -> float:
        """Seconds to wait before the next block, so that the chain's time does not run away from the clock."""
        ahead_s = self._chain.get_canonical_head().timestamp + 1 - self._clock()
        return min(ahead_s - MAX_AHEAD_S, self._sealed_s + BLOCK_INTERVAL_S - time.monotonic())

    def _decode(self, raw: bytes) -> SignedTransactionAPI:
        """Read a transaction and recover its sender, outside the lock."""
        try:
            transaction = CancunTransactionBuilder.decode(raw)
            if transaction.type_id == BLOB_TYPE:
                raise TransactionRefusedError("transaction type not supported: blobs")
            if transaction.chain_id != self.chain_id:
                raise TransactionRefusedError(
                    f"invalid chain id: have {transaction.chain_id}, want {self.chain_id}"
                    if transaction.chain_id is not None
                    else "only replay-protected (EIP-155) transactions are taken"
                )
            _ = transaction.sender
        except (rlp.exceptions.RLPException, UnrecognizedTransactionType, IndexError, TypeError, ValueError) as error:
            raise TransactionRefusedError(f"malformed transaction: {error}") from error
        except (ValidationError, BadSignature) as error:
            raise TransactionRefusedError(f"invalid transaction: {error}") from error
        return transaction

    def _mine_block(self) -> bool:
        """Build a block of the waiting transactions; False where none of them can run. Its caller holds the lock."""
        with self._pool_lock:
            waiting = list(self._waiting)
        if not waiting:
            return False
        outcome = self._builder.build(self._next_header(), [entry.transaction for entry in waiting])
        if outcome.taken:
            self._sealed_s = time.monotonic()
        for entry in waiting:
            entry.refusal = outcome.refusals.get(entry.transaction.hash, "")
            entry.done = bool(entry.refusal) or entry.transaction.hash in outcome.taken
        with self._pool_lock:
            self._waiting = [entry for entry in self._waiting if not entry.done]
        if any(entry.done for entry in waiting):
            self._changed.notify_all()
        return bool(outcome.taken)

    def _next_header(self) -> BlockHeaderAPI:
        """Header of the block to come; its time follows the clock, but is always after its parent's."""
        head = self._chain.get_canonical_head()
        timestamp = max(head.timestamp + 1, int(self._clock()))
        return self._chain.create_header_from_parent(head, timestamp=timestamp, gas_limit=GAS_LIMIT)

    # ---- reading ------------------------------------------------------------------------------------------------

    def head(self) -> BlockHeaderAPI:
        """The last block's header."""
        with self._changed:
            return self._chain.get_canonical_head()

    def next_header(self) -> BlockHeaderAPI:
        """Header under which a transaction sent now would run."""
        with self._changed:
            return self._next_header()

    def block_by_number(self, number: int) -> BlockAPI | None:
        """The block with a number, or None."""
        with self._changed:
            try:
                return self._chain.get_canonical_block_by_number(BlockNumber(number))
            except HeaderNotFound:
                return None

    def block_by_hash(self, block_hash: bytes) -> BlockAPI | None:
        """The block with a hash, or None.

        The store keeps everything under its hash, also what users made, such as code: that may be no header, or a
        header of no block. Only what the chain has at that number counts.
        """
        with self._changed:
            try:
                number = self._chain.get_block_header_by_hash(Hash32(block_hash)).block_number
                block = self._chain.get_canonical_block_by_number(number)
            except (HeaderNotFound, ValidationError, rlp.exceptions.RLPException):
                return None
            return block if block.hash == block_hash else None

    def receipts(self, block: BlockAPI) -> tuple[ReceiptAPI, ...]:
        """Receipts of a block's transactions."""
        with self._changed:
            return tuple(block.get_receipts(self._chain.chaindb))

    def find_transaction(self, transaction_hash: bytes) -> MinedTransaction | None:
        """A transaction that is in a block, or None."""
        with self._changed:
            try:
                number, index = self._chain.get_canonical_transaction_index(Hash32(transaction_hash))
            except TransactionNotFound:
                return None
            block = self._chain.get_canonical_block_by_number(number)
            return self._mined(block, index)

    def transactions(self, block: BlockAPI) -> list[MinedTransaction]:
        """All of a block's transactions."""
        with self._changed:
            return [self._mined(block, index) for index in range(len(block.transactions))]

    def _mined(self, block: BlockAPI, index: int) -> MinedTransaction:
        """A transaction of a block with its stored sender."""
        transaction = block.transactions[index]
        return MinedTransaction(transaction, block, index, RawAddress(self._store[SENDER_KEY + transaction.hash]))

    def find_logs(
        self, blocks: tuple[int, int], addresses: Sequence[bytes], topics: Sequence[Sequence[bytes]], limit: int
    ) -> list[StoredLog]:
        """Events; see `ChainStore.find_logs`."""
        with self._changed:
            return self._store.find_logs(blocks, addresses, topics, limit)

    def state(self, header: BlockHeaderAPI | None = None) -> StateAPI:
        """Accounts and storage after a block, by default the last; for reading only. Its caller holds the lock."""
        at = self._chain.get_canonical_head() if header is None else header
        return self._chain.get_vm(at).state

    def read_account(self, address: RawAddress, header: BlockHeaderAPI) -> tuple[int, int, bytes]:
        """Balance in wei, nonce and code of an account after a block."""
        with self._changed:
            state = self.state(header)
            return state.get_balance(address), state.get_nonce(address), bytes(state.get_code(address))

    def read_storage(self, address: RawAddress, slot: int, header: BlockHeaderAPI) -> int:
        """One storage word of a contract after a block."""
        with self._changed:
            return int(self.state(header).get_storage(address, slot))

    def call(self, request: CallRequest, header: BlockHeaderAPI) -> tuple[ComputationAPI, int]:
        """Run a message on a header's state and at its time; nothing is kept.

        The call needs no lock: it reads state by hash, and later blocks change nothing that is stored under a hash.

        Returns:
            The computation, and the gas it took before refunds, the transaction's own cost included.

        Raises:
            TransactionRefusedError: the sender has less than it would send, the gas does not suffice to begin, or the
                message takes longer than this node allows.
        """
        vm = cast(CheckedVM, self._chain.get_vm(header.copy(base_fee_per_gas=0)))
        try:
            unsigned = vm.create_unsigned_transaction(
                nonce=vm.state.get_nonce(request.sender),
                gas_price=0,
                gas=min(request.gas, CALL_GAS_LIMIT),
                to=request.to,
                value=request.value,
                data=request.data,
            )
            transaction = SpoofTransaction(unsigned, from_=request.sender)
            vm.state.start_clock()
            computation = vm.state.costless_execute_transaction(cast(SignedTransactionAPI, transaction))
        except ValidationError as error:
            raise TransactionRefusedError(in_client_words(error)) from error
        return computation, int(unsigned.intrinsic_gas + computation.get_gas_used())


def _balances(funded: Sequence[Address]) -> dict[RawAddress, AccountDetails]:
    """Genesis accounts."""
    return {
        to_canonical_address(address): {"balance": FUNDED_WEI, "nonce": 0, "code": b"", "storage": {}}
        for address in funded
    }


def _no_chain(folder: Path) -> LedgerError:
    return LedgerError(
        f"There is no chain in {folder}, or an empty one, though a run's ledger must be there.",
        "Restore chain.sqlite from a backup: a new chain would know nothing of the run.",
    )
