"""Executed blocks: transactions with outcome and logs, which all later steps of an audit read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from eth_utils.address import to_canonical_address

from blockchain.ledger.events import LedgerEvent, read_event
from fedward.types import Address


@dataclass(frozen=True)
class Log:
    """One event as emitted: 20 bytes of address, topics of 32 bytes, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class ExecutedTransaction:
    """A transaction and its outcome.

    Attributes:
        block, timestamp: Its block's number and Unix time.
        position: Its place in the block.
        transaction_hash: 32 bytes.
        chain_id: The chain that it was signed for; None: it is not replay-protected.
        sender: Who signed it, recovered.
        to: The account called; None where it creates a contract.
        created: The contract's address where it creates one.
        data: The call's input.
        succeeded: Whether it was not reverted.
        logs: Its events.
    """

    block: int
    timestamp: int
    position: int
    transaction_hash: bytes
    chain_id: int | None
    sender: Address
    to: Address | None
    created: Address | None
    data: bytes
    succeeded: bool
    logs: tuple[Log, ...]


@dataclass(frozen=True)
class ExecutedBlock:
    """A block whose header was read: number, hash (32 bytes), Unix time, transactions in order."""

    number: int
    block_hash: bytes
    timestamp: int
    transactions: tuple[ExecutedTransaction, ...]


def ledger_events(blocks: Iterable[ExecutedBlock], contract: Address) -> Iterator[LedgerEvent]:
    """The contract's own events, in the order of the chain; OpenZeppelin's are skipped.

    Raises:
        VerificationError: an event is malformed.
    """
    own = to_canonical_address(contract)
    for block in blocks:
        for transaction in block.transactions:
            for log in transaction.logs:
                if log.address != own:
                    continue
                event = read_event(log.topics, log.data, block.number, transaction.transaction_hash)
                if event is not None:
                    yield event
