"""Sending transactions: each gets into a block and stays there, despite lost answers, restarts and reorganizations."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import requests
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3RPCError
from web3.types import TxParams, TxReceipt

from blockchain.identity import Identity
from blockchain.ledger.outbox import SentTransaction, TransactionOutbox
from fedward.errors import LedgerError
from fedward.types import Address

RECEIPT_TIMEOUT_S = 300.0
RECEIPT_POLL_S = 0.05
RESEND_S = 5.0  # a transaction that is in no block by then may have left the node's memory
SEND_PATIENCE_S = 30.0  # for a node that is being restarted
RETRY_S = 0.2
FEE_AGE_S = 10.0
NONCE_TRIES = 8
SPARE_GAS = 20_000  # what storage that others fill between estimate and block can add to a call
TEMPORARY_HTTP = (429, 502, 503, 504)

_KNOWN = ("already known", "alreadyknown", "known transaction", "already imported")
_OVERTAKEN = "nonce too low"
_TEMPORARY = ("being stopped", "txpool is full")

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class _OvertakenError(Exception):
    """Another transaction has the nonce of the one that was sent."""


class Sender:
    """Signs, sends and waits for the transactions of one connection, one after the other.

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
        3. A node that cannot be reached is tried for `SEND_PATIENCE_S`.
    """

    def __init__(self, web3: Web3, chain_id: int, outbox: TransactionOutbox | None) -> None:
        self._web3 = web3
        self._chain_id = chain_id
        self._outbox = outbox
        self._sending = threading.Lock()
        self._fees: tuple[float, int, int] = (0.0, 0, 0)

    def send(self, identity: Identity, fields: TxParams, what: str) -> TxReceipt:
        """Estimate a transaction's gas, where a refusal by the contract shows; then sign, send and wait for it.

        Raises:
            LedgerError: the transaction failed in its block, is in no block after `RECEIPT_TIMEOUT_S`, or others use
                the account.
            ResourceError: another process is sending from the outbox, or it cannot be written.
        """
        sender = Web3.to_checksum_address(identity.address)
        fields = fields | TxParams({"from": sender, "value": Web3.to_wei(0, "wei")})
        with self._sending, self._held():
            self._settle(identity.address)
            gas = self._patiently(lambda: self._web3.eth.estimate_gas(fields, "pending"))
            transaction = self._broadcast(identity, fields, gas * 5 // 4 + SPARE_GAS, what)
            receipt = self._await(transaction, what)
            self._forget_settled()
            if receipt["status"] != 1:
                self._web3.eth.call(fields, receipt["blockNumber"])  # raises with the reason, as a rule
                raise LedgerError(f"{what} failed in block {receipt['blockNumber']}.", "Look at the round and retry.")
        return receipt

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

    def _broadcast(self, identity: Identity, fields: TxParams, gas: int, what: str) -> SentTransaction:
        """Sign and send under the next nonce.

        Without an outbox, another process may use the account and take the nonce: then the next one is tried.
        """
        for _ in range(1 if self._outbox else NONCE_TRIES):
            transaction = self._sign(identity, fields, gas)
            if self._outbox:
                self._outbox.add(transaction)
            try:
                self._push(transaction)
            except _OvertakenError:
                if self._outbox:
                    self._outbox.remove(transaction)
                continue
            except Web3RPCError:
                if self._outbox and not self._is_known(transaction):
                    self._outbox.remove(transaction)  # the node refused it: it must not be sent for ever
                raise
            return transaction
        raise LedgerError(
            f"{what} could not be sent: another process keeps using the account {identity.address}.",
            "Give each process an account of its own.",
        )

    def _sign(self, identity: Identity, fields: TxParams, gas: int) -> SentTransaction:
        """Give a transaction fees and the next nonce, and sign it."""
        base_fee, tip = self._patiently(self._current_fees)
        account = Web3.to_checksum_address(identity.address)
        nonce = int(self._patiently(lambda: self._web3.eth.get_transaction_count(account, "pending")))
        kept = self._outbox.entries() if self._outbox else []
        if kept:
            nonce = max(nonce, kept[-1].nonce + 1)
        signed = identity.sign_transaction(
            {
                **{name: value for name, value in fields.items() if name != "from"},
                "type": 2,
                "chainId": self._chain_id,
                "nonce": nonce,
                "gas": gas,
                "maxFeePerGas": 2 * base_fee + tip,
                "maxPriorityFeePerGas": tip,
            }
        )
        raw = bytes(signed.raw_transaction)
        return SentTransaction(self._chain_id, identity.address, nonce, bytes(signed.hash), raw)

    def _push(self, transaction: SentTransaction) -> None:
        """Hand a transaction to the node, which may have it already.

        Raises:
            _OvertakenError: its nonce went to another transaction.
        """
        try:
            self._patiently(lambda: self._web3.eth.send_raw_transaction(transaction.raw))
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
        while len(kept) > self._outbox.confirmations:
            oldest = kept.pop(0)
            receipt = self._receipt(oldest)
            head = int(self._patiently(lambda: self._web3.eth.block_number))
            if receipt is None or head - _height(receipt) < self._outbox.confirmations:
                return
            self._outbox.remove(oldest)

    # ---- the node -----------------------------------------------------------------------------------------------

    def _is_known(self, transaction: SentTransaction) -> bool:
        """Whether the node has this transaction, waiting or in a block."""
        try:
            self._patiently(lambda: self._web3.eth.get_transaction(HexBytes(transaction.hash)))
        except TransactionNotFound:
            return False
        return True

    def _receipt(self, transaction: SentTransaction) -> TxReceipt | None:
        """A mined transaction's receipt."""
        try:
            return self._patiently(lambda: self._web3.eth.get_transaction_receipt(HexBytes(transaction.hash)))
        except TransactionNotFound:
            return None

    def _current_fees(self) -> tuple[int, int]:
        """Gas price and tip in wei, asked for again after a while."""
        asked, price, tip = self._fees
        if time.monotonic() - asked > FEE_AGE_S or not asked:
            price, tip = int(self._web3.eth.gas_price), int(self._web3.eth.max_priority_fee)
            self._fees = (time.monotonic(), price, tip)
        return price, tip

    def _patiently(self, action: Callable[[], _T]) -> _T:
        """Repeat an action for a while where the node cannot be reached, or says that it is starting."""
        deadline = time.monotonic() + SEND_PATIENCE_S
        while True:
            try:
                return action()
            except (requests.RequestException, Web3RPCError) as error:
                if not _is_temporary(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(RETRY_S)


def _is_temporary(error: Exception) -> bool:
    """Whether a failure is one that passes when a node has started."""
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in TEMPORARY_HTTP
    if isinstance(error, Web3RPCError):
        return any(words in str(error).lower() for words in _TEMPORARY)
    return isinstance(error, requests.ConnectionError)


def _taken(transaction: SentTransaction) -> LedgerError:
    """The error where somebody else's transaction has the nonce of a kept one."""
    return LedgerError(
        f"The account {transaction.sender} sent another transaction {transaction.nonce} than the one kept here.",
        "Find out who else uses the account's key; then delete that file from the outbox.",
    )


def _height(receipt: TxReceipt) -> int:
    return int(receipt["blockNumber"])
