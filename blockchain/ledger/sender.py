"""Sending transactions: each gets into a block and stays there, despite lost answers, restarts and reorganizations."""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3RPCError
from web3.types import RPCEndpoint, TxParams, TxReceipt

from blockchain.identity import Identity
from blockchain.ledger.batches import ask_together
from blockchain.ledger.flights import Call, Flight
from blockchain.ledger.outbox import SentTransaction, TransactionOutbox
from blockchain.ledger.patience import patiently
from blockchain.ledger.refusals import refusal
from fedward.errors import LedgerError, ResourceError
from fedward.types import Address

RECEIPT_TIMEOUT_S = 300.0
RECEIPT_POLL_S = 0.05
RESEND_S = 5.0  # a transaction that is in no block by then may have left the node's memory
FEE_AGE_S = 10.0
NONCE_TRIES = 8
SPARE_GAS = 20_000  # what storage that others fill between estimate and block can add to a call

FORGET_TOGETHER = 4  # old transactions that the node is asked about in one request
SEND = RPCEndpoint("eth_sendRawTransaction")
_KNOWN = ("already known", "alreadyknown", "known transaction", "already imported")
_OVERTAKEN = "nonce too low"

_log = logging.getLogger(__name__)


class _OvertakenError(Exception):
    """Another transaction has the nonce of the one that was sent."""


class Sender:
    """Signs and sends the transactions of one connection, in the order of their nonces, and reads how they ended.

    Errors of the node and of the network are raised as web3 and requests raise them; `Connection` turns them into
    `LedgerError`s.

    Args:
        web3: The node.
        chain_id: The node's chain.
        outbox: Keeps transactions until they are certain to stay; None: they are kept in memory only, until they are in
            a block.

    Guarantees:
        1. With an outbox, a transaction is on the disk before the node sees it. After a crash it is sent again as it
           is, never signed anew: it is recorded once, whatever was lost on the way.
        2. With an outbox, what a reorganization took back is sent again, in order, before anything new is signed.
        3. A node that cannot be reached is tried for `patience.SEND_PATIENCE_S`.
    """

    def __init__(self, web3: Web3, chain_id: int, outbox: TransactionOutbox | None) -> None:
        self._web3 = web3
        self._chain_id = chain_id
        self._outbox = outbox
        self._sending = threading.Lock()
        self._fees: tuple[float, int, int] = (0.0, 0, 0)
        self._in_flight: set[bytes] = set()  # hashes of what was pushed and not waited for yet

    def send(self, identity: Identity, fields: TxParams, what: str) -> TxReceipt:
        """Try a transaction, where a refusal by the contract shows; then sign, send and wait for it.

        Raises:
            LedgerError: the transaction failed in its block, is in no block after `RECEIPT_TIMEOUT_S`, or others use
                the account.
            ResourceError: another process is sending from the outbox, or it cannot be written.
        """
        with self._sending, self._held():
            self._settle(identity.address)
            (flight,) = self._broadcast(identity, [self.prepare(identity, fields, what)])
            receipt = self._await(flight.transaction, what)
            self._forget_settled()
        self._check_success(flight, receipt["status"] == 1, int(receipt["blockNumber"]))
        return receipt

    def prepare(self, identity: Identity, fields: TxParams, what: str) -> Call:
        """Try a transaction after the last block, where a refusal by the contract shows; its gas becomes known."""
        sender = Web3.to_checksum_address(identity.address)
        fields = TxParams({"value": Web3.to_wei(0, "wei")}) | fields | TxParams({"from": sender})
        gas = patiently(lambda: self._web3.eth.estimate_gas(fields, "pending"))
        return Call(fields, gas * 5 // 4 + SPARE_GAS, what)

    def push(self, identity: Identity, calls: Sequence[Call]) -> list[Flight]:
        """Sign transactions in this order and hand them to the node together, without waiting for their blocks.

        Raises:
            LedgerError: others use the account.
            ResourceError: another process is sending from the outbox, or it cannot be written.
        """
        with self._sending, self._held():
            kept = self._outbox.entries() if self._outbox else []
            if not kept or kept[-1].hash not in self._in_flight:
                self._settle(identity.address)
            flights = self._broadcast(identity, calls)
            self._in_flight.update(flight.transaction.hash for flight in flights)
        return flights

    def landed(self, flights: Sequence[Flight]) -> dict[Flight, LedgerError | None]:
        """Those of the pushed transactions that are in blocks now, each with the contract's refusal, or None."""
        questions = [("eth_getTransactionReceipt", [_hex(flight.transaction.hash)]) for flight in flights]
        answers = patiently(lambda: ask_together(self._web3, questions))
        found: dict[Flight, LedgerError | None] = {}
        for flight, answer in zip(flights, answers, strict=True):
            if receipt := answer.get("result"):
                self._in_flight.discard(flight.transaction.hash)
                found[flight] = self._failure(flight, int(receipt["status"], 16) == 1, int(receipt["blockNumber"], 16))
        return found

    def await_landing(self, flights: Sequence[Flight]) -> None:
        """Wait until pushed transactions are in blocks.

        Raises:
            LedgerError: one is in no block after `RECEIPT_TIMEOUT_S`, or others use the account.
        """
        with self._sending, self._held():
            for flight in flights:
                self._await(flight.transaction, flight.call.what)
                self._in_flight.discard(flight.transaction.hash)
            self._forget_settled()

    def settle(self, account: Address | None = None) -> tuple[bytes, ...]:
        """Send again the outbox's transactions that the chain does not have, and wait until they are in blocks.

        Args:
            account: The account that all of them must be from; None: any account.

        Returns:
            Hashes of the transactions that were sent again, in order.

        Raises:
            LedgerError: another transaction took the nonce of a kept one, or the outbox is damaged or belongs to
                another chain or account.
            ResourceError: another process is sending from the outbox.
        """
        with self._sending, self._held():
            sent_again = self._settle(account)
            self._forget_settled()
            return sent_again

    def _held(self) -> AbstractContextManager[None]:
        return self._outbox.held() if self._outbox else nullcontext()

    # ---- one transaction ----------------------------------------------------------------------------------------

    def _broadcast(self, identity: Identity, calls: Sequence[Call]) -> list[Flight]:
        """Sign and send under the next nonces.

        Without an outbox, another process may use the account and take a nonce: then the next ones are tried.
        """
        done: list[Flight] = []
        for _ in range(1 if self._outbox else NONCE_TRIES):
            flights = self._sign(identity, calls)
            self._keep(flights)
            try:
                self._push_all([flight.transaction for flight in flights])
            except (_OvertakenError, Web3RPCError) as error:
                taken = self._without_refused(flights)
                if not isinstance(error, _OvertakenError):
                    raise
                done += taken
                calls = [flight.call for flight in flights if flight not in taken]
            else:
                return done + flights
        raise LedgerError(
            f"{calls[0].what} could not be sent: another process keeps using the account {identity.address}.",
            "Give each process an account of its own.",
        )

    def _keep(self, flights: Sequence[Flight]) -> None:
        """Write transactions to the outbox: all, or none where there is no room."""
        if not self._outbox:
            return
        try:
            for flight in flights:
                self._outbox.add(flight.transaction)
        except ResourceError:
            for flight in flights:
                self._outbox.remove(flight.transaction)
            raise

    def _without_refused(self, flights: Sequence[Flight]) -> list[Flight]:
        """The flights that the node has; refused ones leave the outbox, for they must not be sent for ever.

        Before one that the node has, they stay: without them its turn would never come.
        """
        taken = [flight for flight in flights if self._is_known(flight.transaction)]
        last = flights.index(taken[-1]) if taken else -1
        for flight in flights[last + 1 :]:
            if self._outbox:
                self._outbox.remove(flight.transaction)
        return taken

    def _sign(self, identity: Identity, calls: Sequence[Call]) -> list[Flight]:
        """Give transactions fees and the next nonces, and sign them."""
        base_fee, tip = patiently(self._current_fees)
        account = Web3.to_checksum_address(identity.address)
        nonce = int(patiently(lambda: self._web3.eth.get_transaction_count(account, "pending")))
        kept = self._outbox.entries() if self._outbox else []
        if kept:
            nonce = max(nonce, kept[-1].nonce + 1)
        flights = []
        for position, call in enumerate(calls):
            signed = identity.sign_transaction(
                {
                    **{name: value for name, value in call.fields.items() if name != "from"},
                    "type": 2,
                    "chainId": self._chain_id,
                    "nonce": nonce + position,
                    "gas": call.gas,
                    "maxFeePerGas": 2 * base_fee + tip,
                    "maxPriorityFeePerGas": tip,
                }
            )
            raw, digest = bytes(signed.raw_transaction), bytes(signed.hash)
            flights.append(
                Flight(call, SentTransaction(self._chain_id, identity.address, nonce + position, digest, raw))
            )
        return flights

    def _push_all(self, transactions: Sequence[SentTransaction]) -> None:
        """Hand transactions to the node in one request; then one by one those that it did not simply take.

        Raises:
            _OvertakenError: the nonce of one went to another transaction.
        """
        if len(transactions) > 1:
            questions = [(SEND, [_hex(transaction.raw)]) for transaction in transactions]
            try:
                answers = patiently(lambda: ask_together(self._web3, questions))
            except Web3RPCError:
                _log.debug("The node takes no batches.", exc_info=True)
            else:
                pairs = zip(transactions, answers, strict=True)
                transactions = [transaction for transaction, answer in pairs if "error" in answer]
        for transaction in transactions:
            self._push(transaction)

    def _push(self, transaction: SentTransaction) -> None:
        """Hand a transaction to the node, which may have it already.

        Raises:
            _OvertakenError: its nonce went to another transaction.
        """
        try:
            patiently(lambda: self._web3.eth.send_raw_transaction(transaction.raw))
        except Web3RPCError as error:
            words = str(error).lower()
            if not any(known in words for known in (*_KNOWN, _OVERTAKEN)):
                raise
            # A request whose answer was lost is repeated: then it is ours that has the nonce.
            if _OVERTAKEN in words and not self._is_known(transaction):
                raise _OvertakenError from error

    def _await(self, transaction: SentTransaction, what: str) -> TxReceipt:
        """Wait until a transaction is in a block; send it again now and then, because the node may have lost it."""
        began = pushed = time.monotonic()
        while (receipt := self._receipt(transaction)) is None:
            now = time.monotonic()
            if now - began > RECEIPT_TIMEOUT_S:
                raise LedgerError(
                    f"{what} is in no block after {RECEIPT_TIMEOUT_S:.0f} s.",
                    "See whether the node makes blocks; what is kept in an outbox is sent again.",
                )
            if now - pushed > RESEND_S:
                pushed = now
                try:
                    self._push(transaction)
                except _OvertakenError as error:
                    raise _taken(transaction) from error
            time.sleep(RECEIPT_POLL_S)
        return receipt

    def _failure(self, flight: Flight, succeeded: bool, height: int) -> LedgerError | None:
        """Why a transaction failed in its block; None where it did not."""
        try:
            self._check_success(flight, succeeded, height)
        except ContractLogicError as error:
            return refusal(error)
        except LedgerError as error:
            return error
        return None

    def _check_success(self, flight: Flight, succeeded: bool, height: int) -> None:
        """Raise what a transaction that failed in its block failed with."""
        if not succeeded:
            self._web3.eth.call(flight.call.fields, height)  # raises with the reason, as a rule
            raise LedgerError(f"{flight.call.what} failed in block {height}.", "Look at the round and retry.")

    # ---- the outbox ---------------------------------------------------------------------------------------------

    def _settle(self, account: Address | None) -> tuple[bytes, ...]:
        """Send again what is kept and not on the chain. Its caller holds the outbox."""
        kept = self._outbox.entries() if self._outbox else []
        self._check_owner(kept, account)
        # A chain that has an account's latest transaction has all before it: one question is enough, as a rule.
        if not kept or self._receipt(kept[-1]) is not None:
            return ()
        missing = [transaction for transaction in kept if self._receipt(transaction) is None]
        for transaction in missing:
            try:
                self._push(transaction)
            except _OvertakenError as error:
                raise _taken(transaction) from error
        for transaction in missing:
            receipt = self._await(transaction, f"The kept transaction {transaction.nonce}")
            outcome = "is in" if receipt["status"] == 1 else "failed in"
            _log.warning("Transaction %d was sent again; it %s block %d.", transaction.nonce, outcome, _height(receipt))
        return tuple(transaction.hash for transaction in missing)

    def _check_owner(self, kept: Sequence[SentTransaction], account: Address | None) -> None:
        """Make sure that the outbox is this chain's, and this account's."""
        for transaction in kept:
            if transaction.chain_id != self._chain_id or account not in (None, transaction.sender):
                raise LedgerError(
                    f"The kept transactions are of {transaction.sender} on chain {transaction.chain_id}, "
                    f"not of {account or 'an account'} on chain {self._chain_id}.",
                    "Give each account and chain a folder of its own.",
                )

    def _forget_settled(self) -> None:
        """Remove the oldest transactions once enough blocks lie on top; the last `confirmations` always stay."""
        if not self._outbox:
            return
        kept = self._outbox.entries()
        old = kept[: max(0, len(kept) - self._outbox.confirmations)]
        groups = [old[:1], *(old[first : first + FORGET_TOGETHER] for first in range(1, len(old), FORGET_TOGETHER))]
        for group in groups:  # as a rule the oldest is not deep enough: no need to ask about the others
            if not group or not self._forget_deep(group, self._outbox):
                return

    def _forget_deep(self, group: Sequence[SentTransaction], outbox: TransactionOutbox) -> bool:
        """Remove transactions, oldest first, until one with too few blocks on top; whether there was none."""
        questions = [("eth_getTransactionReceipt", [_hex(transaction.hash)]) for transaction in group]
        *receipts, head = patiently(lambda: ask_together(self._web3, [*questions, ("eth_blockNumber", [])]))
        for transaction, answer in zip(group, receipts, strict=True):
            receipt = answer.get("result")
            if not receipt or int(head["result"], 16) - int(receipt["blockNumber"], 16) < outbox.confirmations:
                return False
            outbox.remove(transaction)
        return True

    # ---- the node -----------------------------------------------------------------------------------------------

    def _is_known(self, transaction: SentTransaction) -> bool:
        """Whether the node has this transaction, waiting or in a block."""
        try:
            patiently(lambda: self._web3.eth.get_transaction(HexBytes(transaction.hash)))
        except TransactionNotFound:
            return False
        return True

    def _receipt(self, transaction: SentTransaction) -> TxReceipt | None:
        """A mined transaction's receipt."""
        try:
            return patiently(lambda: self._web3.eth.get_transaction_receipt(HexBytes(transaction.hash)))
        except TransactionNotFound:
            return None

    def _current_fees(self) -> tuple[int, int]:
        """Gas price and tip in wei, asked for again after a while."""
        asked, price, tip = self._fees
        if time.monotonic() - asked > FEE_AGE_S or not asked:
            price, tip = int(self._web3.eth.gas_price), int(self._web3.eth.max_priority_fee)
            self._fees = (time.monotonic(), price, tip)
        return price, tip


def _taken(transaction: SentTransaction) -> LedgerError:
    """The error where somebody else's transaction has the nonce of a kept one."""
    return LedgerError(
        f"The account {transaction.sender} sent another transaction {transaction.nonce} than the one kept here.",
        "Find out who else uses the account's key; then delete that file from the outbox.",
    )


def _hex(content: bytes) -> str:
    """Bytes as JSON-RPC takes them."""
    return f"0x{content.hex()}"


def _height(receipt: TxReceipt) -> int:
    return int(receipt["blockNumber"])
