"""Building one block: which of the waiting transactions enter it, which are refused, and which go on waiting."""

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from eth.abc import BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI, StateAPI, VirtualMachineAPI
from eth.chains.base import MiningChain
from eth.exceptions import TransactionNotFound
from eth_typing import Hash32
from eth_utils.exceptions import ValidationError

from blockchain.node.machine import CheckedVM, TransactionRefusedError, in_client_words
from blockchain.node.store import ChainStore, StoredLog
from fedward.errors import FedwardError

GAS_LIMIT = 30_000_000
SENDER_KEY = b"fedward:sender:"  # recovering a sender again takes 5 ms

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The result for the transactions; those that neither attribute has go on waiting.

    Attributes:
        taken: Hashes of the transactions in the block, which is on the disk.
        refusals: By hash of a transaction that can never enter a block, the reason.
    """

    taken: set[bytes]
    refusals: dict[bytes, str]


class _CulpritError(Exception):
    """This transaction makes building the block fail."""

    def __init__(self, transaction: SignedTransactionAPI, reason: str) -> None:
        super().__init__(reason)
        self.transaction = transaction
        self.reason = reason


class _TooManyError(Exception):
    """A block with these transactions together cannot be sealed; with half of them it may be."""

    def __init__(self, transactions: Sequence[SignedTransactionAPI]) -> None:
        super().__init__()
        self.half = transactions[: len(transactions) // 2]


class BlockBuilder:
    """Builds a chain's blocks, one at a time: `EmbeddedChain` holds its lock meanwhile.

    Args:
        chain: The chain that is extended.
        store: The chain's store.
    """

    def __init__(self, chain: MiningChain, store: ChainStore) -> None:
        self._chain = chain
        self._store = store

    def build(self, header: BlockHeaderAPI, waiting: Sequence[SignedTransactionAPI]) -> Outcome:
        """Build, check and store one block of waiting transactions; no block where no transaction can run.

        Args:
            header: Header of the block to come, without transactions.
            waiting: The waiting transactions, in any order.

        Raises:
            ResourceError: the disk is full; nothing was stored.

        Guarantees:
            1. A transaction over which py-evm fails, in whatever way, is refused, and all others are built without it.
        """
        by_nonce = sorted({tx.hash: tx for tx in waiting}.values(), key=lambda transaction: int(transaction.nonce))
        chosen: Sequence[SignedTransactionAPI] = by_nonce
        culprits: dict[bytes, str] = {}
        while True:
            try:
                outcome = self._attempt(header, chosen)
            except _CulpritError as culprit:  # it may have changed the state: begin anew without it
                culprits[culprit.transaction.hash] = culprit.reason
                chosen = [transaction for transaction in by_nonce if transaction.hash not in culprits]
            except _TooManyError as error:
                chosen = error.half
            else:
                outcome.refusals.update(culprits)
                return outcome

    def _attempt(self, header: BlockHeaderAPI, waiting: Sequence[SignedTransactionAPI]) -> Outcome:
        """Build a block; a transaction that makes this fail is raised as the culprit."""
        vm = cast(CheckedVM, self._chain.get_vm(header))
        taken: list[SignedTransactionAPI] = []
        receipts: list[ReceiptAPI] = []
        refusals: dict[bytes, str] = {}
        with self._store.transaction():
            for transaction in waiting:
                refusal = self._refusal(transaction, vm.state)
                if refusal:
                    refusals[transaction.hash] = refusal
                elif _runs_next(transaction, vm.state, header):
                    receipt = _run(vm, header, transaction)
                    header = vm.add_receipt_to_header(header, receipt)
                    taken.append(transaction)
                    receipts.append(receipt)
            if taken:
                self._seal(vm, header, taken, receipts)
        return Outcome({transaction.hash for transaction in taken}, refusals)

    def _refusal(self, transaction: SignedTransactionAPI, state: StateAPI) -> str:
        """Why a transaction can never run, as far as can be told without running it; empty where it may run."""
        nonce = state.get_nonce(transaction.sender)
        if transaction.nonce < nonce:
            known = self._is_mined(transaction.hash)
            return "already known" if known else f"nonce too low: next nonce {nonce}, tx nonce {transaction.nonce}"
        if transaction.gas > GAS_LIMIT:
            return f"exceeds block gas limit: have {transaction.gas}, limit {GAS_LIMIT}"
        if transaction.nonce == nonce:
            try:
                state.get_transaction_executor().validate_transaction(transaction)
            except ValidationError as error:
                return in_client_words(error)
        return ""

    def _is_mined(self, transaction_hash: Hash32) -> bool:
        """Whether a transaction is in a block."""
        try:
            self._chain.get_canonical_transaction_index(transaction_hash)
        except TransactionNotFound:
            return False
        return True

    def _seal(
        self,
        vm: VirtualMachineAPI,
        header: BlockHeaderAPI,
        transactions: Sequence[SignedTransactionAPI],
        receipts: Sequence[ReceiptAPI],
    ) -> None:
        """Complete a block, validate it as any other node would, and store it with its events."""
        try:
            filled = vm.set_block_transactions_and_withdrawals(vm.get_block(), header, transactions, receipts)
            block = vm.mine_block(filled).block
            self._chain.persist_block(block)
        except (FedwardError, sqlite3.Error):
            raise
        except Exception as error:
            _log.warning("A block of %d transactions cannot be sealed.", len(transactions), exc_info=True)
            if len(transactions) > 1:
                raise _TooManyError(transactions) from error
            raise _CulpritError(transactions[0], _unfit(error)) from error
        position, logs = 0, []
        for index, (transaction, receipt) in enumerate(zip(transactions, receipts, strict=True)):
            self._store[SENDER_KEY + transaction.hash] = transaction.sender
            for log in receipt.logs:
                topics = tuple(topic.to_bytes(32, "big") for topic in log.topics)
                place = (block.number, position, bytes(transaction.hash), index)
                logs.append(StoredLog(*place, bytes(log.address), topics, bytes(log.data)))
                position += 1
        self._store.add_logs(logs)


def _runs_next(transaction: SignedTransactionAPI, state: StateAPI, header: BlockHeaderAPI) -> bool:
    """Whether it is the transaction's turn by its nonce, and the block has room for it."""
    fits = header.gas_used + transaction.gas <= header.gas_limit
    return fits and transaction.nonce == state.get_nonce(transaction.sender)


def _run(vm: CheckedVM, header: BlockHeaderAPI, transaction: SignedTransactionAPI) -> ReceiptAPI:
    """Run a transaction on the block's state.

    py-evm has raised many kinds of errors over transactions that it should have refused or let fail. Each such error is
    turned into a refusal of this transaction, so that no error ends the whole block.
    """
    try:
        vm.state.start_clock()
        receipt, _ = vm.apply_transaction(header, transaction)
    except (FedwardError, sqlite3.Error):
        raise
    except ValidationError as error:
        raise _CulpritError(transaction, in_client_words(error)) from error
    except TransactionRefusedError as error:
        raise _CulpritError(transaction, str(error)) from error
    except Exception as error:
        _log.warning("py-evm failed over transaction %s.", transaction.hash.hex(), exc_info=True)
        raise _CulpritError(transaction, _unfit(error)) from error
    return receipt


def _unfit(error: Exception) -> str:
    """The reason for refusing a transaction over which py-evm fails."""
    return f"this node cannot run the transaction ({type(error).__name__})"
