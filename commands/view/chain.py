"""A run's ledger as pages show it: blocks, transactions, and the contract's events, looked up in an index.

What is shown is what the chain says, decoded. Whether that holds is for the audit, which runs every transaction again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from blockchain.ledger.events import LedgerEvent, RoundEvent, SubmissionsClosed, read_event
from commands.view.ledger_index import LedgerIndex, named_values

_EVENT = 'SELECT topics, data, block, "transaction" FROM events'
_TRANSACTION = (
    "SELECT block, time, hash, sender, recipient, created, data, succeeded FROM transactions "
    "JOIN (SELECT number, time FROM blocks) ON number = block"
)
_WORD = 32


@dataclass(frozen=True)
class Block:
    """A block: number, hash (32 bytes), Unix time, and how many transactions it has."""

    number: int
    block_hash: bytes
    timestamp: int
    transactions: int


@dataclass(frozen=True)
class Transaction:
    """A transaction and its outcome.

    Attributes:
        block, timestamp: Its block's number and Unix time.
        transaction_hash: 32 bytes.
        sender: Who signed it, recovered.
        to: The account called; None where it creates a contract.
        created: The contract's address where it creates one.
        data: The call's input.
        succeeded: Whether it was not reverted.
    """

    block: int
    timestamp: int
    transaction_hash: bytes
    sender: str
    to: str | None
    created: str | None
    data: bytes
    succeeded: bool


class Chain:
    """What a run's ledger says at one moment, for as long as the index's lock is held.

    Args:
        index: Where it is looked up.
    """

    def __init__(self, index: LedgerIndex) -> None:
        self._index = index
        self.height = index.height

    def count_events(self) -> int:
        """How many events the ledger has."""
        return self._number("SELECT COUNT(*) FROM events")

    def count_rounds(self) -> int:
        """How many rounds were opened."""
        return self._number("SELECT COUNT(DISTINCT round) FROM events")

    def block(self, number: int) -> Block | None:
        """A block by its number; None where there is none."""
        found = self._rows("SELECT * FROM blocks WHERE number = ?", number) if 0 < number <= self.height else ()
        return next((_block(row) for row in found), None)

    def blocks(self, skip: int, most: int) -> tuple[Block, ...]:
        """Blocks, newest first."""
        rows = self._rows("SELECT * FROM blocks ORDER BY number DESC LIMIT ? OFFSET ?", most, skip)
        return tuple(_block(row) for row in rows)

    def transactions(self, block: int) -> tuple[Transaction, ...]:
        """The transactions of a block, in order."""
        return tuple(_transaction(row) for row in self._rows(f"{_TRANSACTION} WHERE block = ? ORDER BY id", block))

    def transaction(self, transaction_hash: bytes) -> Transaction | None:
        """A transaction by its hash; None where there is none."""
        rows = self._rows(f"{_TRANSACTION} WHERE hash = ? ORDER BY id LIMIT 1", transaction_hash)
        return next((_transaction(row) for row in rows), None)

    def events(self, skip: int, most: int) -> tuple[LedgerEvent, ...]:
        """Events, newest first."""
        return self._events("ORDER BY id DESC LIMIT ? OFFSET ?", most, skip)

    def events_of(self, transaction_hash: bytes) -> tuple[LedgerEvent, ...]:
        """The events that a transaction made, in order."""
        return self._events('WHERE "transaction" = ? ORDER BY id', transaction_hash)

    def round(self, index: int) -> tuple[RoundEvent, ...]:
        """The events of a round, in order."""
        found = self._events("WHERE round = ? ORDER BY id", index) if self.has_round(index) else ()
        return tuple(event for event in found if isinstance(event, RoundEvent))

    def has_round(self, index: int) -> bool:
        """Whether a round was opened."""
        return 0 <= index < 2**63 and bool(self._number("SELECT COUNT(*) FROM events WHERE round = ?", index))

    def rounds(self, skip: int, most: int) -> tuple[int, ...]:
        """Rounds that were opened, newest first."""
        query = "SELECT DISTINCT round FROM events WHERE round IS NOT NULL ORDER BY round DESC LIMIT ? OFFSET ?"
        return tuple(int(index) for (index,) in self._rows(query, most, skip))

    def parts(self) -> Iterator[tuple[str, str, bool | None, int]]:
        """Updates and votes of each hospital: the event's name, the address, whether it is for, and how many."""
        query = (
            "SELECT name, hospital, accept, COUNT(*) FROM events WHERE name IN ('UpdateCommitted', 'VoteCast') "
            "GROUP BY name, hospital, accept ORDER BY MIN(id)"
        )
        for name, hospital, accept, count in self._rows(query):
            yield name, hospital, None if accept is None else bool(accept), count

    def closed(self) -> Iterator[SubmissionsClosed]:
        """The ends of all rounds' submissions."""
        for row in self._rows(f"{_EVENT} WHERE name = 'SubmissionsClosed' ORDER BY id"):
            event = _event(row)
            if isinstance(event, SubmissionsClosed):
                yield event

    def sent_by(self, address: str) -> Iterator[tuple[int, bytes]]:
        """Block and hash of each transaction that an account sent."""
        yield from self._rows("SELECT block, hash FROM transactions WHERE sender = ? ORDER BY id", address)

    def events_that_name(self, address: str) -> Iterator[LedgerEvent]:
        """Events with an address among their arguments."""
        rows = self._rows(f"{_EVENT} JOIN holders ON event = id WHERE address = ? ORDER BY id", address)
        return (_event(row) for row in rows)

    def hashes_from(self, digits: str) -> Iterator[tuple[int, bytes | None]]:
        """Blocks and transactions whose hash begins so: the block's number, and the transaction's hash where it is one.

        Args:
            digits: Hexadecimal, lower case.
        """
        between, bounds = _between("hash", digits)
        query = (
            f"SELECT number, NULL, -1 AS place FROM blocks WHERE {between} UNION ALL "  # noqa: S608
            f"SELECT block, hash, id FROM transactions WHERE {between} ORDER BY 1, place"
        )
        return ((number, found) for number, found, _ in self._rows(query, *bounds, *bounds))

    def words_from(self, digits: str) -> Iterator[tuple[LedgerEvent, str]]:
        """Events with an argument of bytes that begins so, each with the argument's name."""
        between, bounds = _between("value", digits)
        columns = 'topics, data, block, "transaction", field'
        query = f"SELECT {columns} FROM words JOIN events ON event = id WHERE {between} ORDER BY id, field"  # noqa: S608
        for *row, field in self._rows(query, *bounds):
            event = _event(row)
            yield event, [name for name, _ in named_values(event)][field]

    def _events(self, condition: str, *values: Any) -> tuple[LedgerEvent, ...]:
        return tuple(_event(row) for row in self._rows(f"{_EVENT} {condition}", *values))

    def _rows(self, query: str, *values: Any) -> Iterator[Any]:
        return self._index.database.execute(query, values)

    def _number(self, query: str, *values: Any) -> int:
        return int(next(self._rows(query, *values))[0])


def _block(row: Any) -> Block:
    number, block_hash, time, transactions = row
    return Block(number, block_hash, int(time), transactions)


def _transaction(row: Any) -> Transaction:
    block, time, transaction_hash, sender, to, created, data, succeeded = row
    return Transaction(block, int(time), transaction_hash, sender, to, created, data, bool(succeeded))


def _event(row: Any) -> LedgerEvent:
    """An event of the index, which takes only those that can be decoded."""
    topics, data, block, transaction_hash = row
    words = tuple(topics[place : place + _WORD] for place in range(0, len(topics), _WORD))
    return cast(LedgerEvent, read_event(words, data, block, transaction_hash))


def _between(column: str, digits: str) -> tuple[str, tuple[bytes, ...]]:
    """A condition for values of bytes whose hexadecimal digits begin so, and its parameters."""
    odd = "0" * (len(digits) % 2)
    first, after = bytes.fromhex(digits + odd), int(digits, 16) + 1
    if after >> 4 * len(digits):
        return f"{column} >= ?", (first,)
    return f"{column} >= ? AND {column} < ?", (first, bytes.fromhex(f"{after:0{len(digits)}x}{odd}"))
