"""An index of one run's ledger in a private temporary database: what pages ask for is looked up, and memory is flat.

SQLite makes the database for an empty name: a file that no other program can open, for it is unlinked at once, and
that is gone with this process however it ends. Only what the cache has no room for is written to it.
"""

import dataclasses
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from blockchain.audit.history import ExecutedBlock
from blockchain.ledger.events import LedgerEvent, RoundEvent, VoteCast, read_event
from fedward.errors import ResourceError
from fedward.types import Address

_CACHE_KIB = 8 * 1024
_LARGEST = 8 * 1024**3  # bytes; a ledger whose index has more is not shown
_SCHEMA = """
CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, time TEXT NOT NULL, transactions INTEGER NOT NULL);
CREATE INDEX blocks_by_hash ON blocks (hash);
CREATE TABLE transactions (
  id INTEGER PRIMARY KEY, block INTEGER NOT NULL, hash BLOB NOT NULL, sender TEXT NOT NULL COLLATE NOCASE,
  recipient TEXT, created TEXT, data BLOB NOT NULL, succeeded INTEGER NOT NULL
);
CREATE INDEX transactions_by_block ON transactions (block);
CREATE INDEX transactions_by_hash ON transactions (hash);
CREATE INDEX transactions_by_sender ON transactions (sender);
CREATE TABLE events (
  id INTEGER PRIMARY KEY, block INTEGER NOT NULL, "transaction" BLOB NOT NULL, name TEXT NOT NULL, round INTEGER,
  hospital TEXT, accept INTEGER, topics BLOB NOT NULL, data BLOB NOT NULL
);
CREATE INDEX events_by_transaction ON events ("transaction");
CREATE INDEX events_by_round ON events (round, id);
CREATE INDEX events_by_name ON events (name, hospital, accept);
CREATE TABLE words (
  value BLOB NOT NULL, event INTEGER NOT NULL, field INTEGER NOT NULL, PRIMARY KEY (value, event, field)
) WITHOUT ROWID;
CREATE TABLE holders (
  address TEXT NOT NULL COLLATE NOCASE, event INTEGER NOT NULL, PRIMARY KEY (address, event)
) WITHOUT ROWID;
"""
_TABLES = ("blocks", "transactions", "events", "words", "holders")
_VALUES = "INSERT INTO {} VALUES ({})"


class LedgerIndex:
    """The index of one ledger. Whoever reads or writes holds `lock`, so that a page is of one moment.

    Args:
        contract: Whose events are indexed.

    Attributes:
        lock: Held by whoever uses `database`.
        database: The tables above.
        height: Number of the last block that is in it; 0: none.
        last_hash: That block's hash; empty where there is none.
    """

    def __init__(self, contract: Address) -> None:
        self.lock = threading.RLock()
        self.height, self.last_hash = 0, b""
        self._contract = bytes.fromhex(contract[2:])
        self.database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in (f"cache_size = -{_CACHE_KIB}", "synchronous = OFF", "temp_store = FILE"):
            self.database.execute(f"PRAGMA {setting}")
        (page_bytes,) = self.database.execute("PRAGMA page_size").fetchone()
        self.database.execute(f"PRAGMA max_page_count = {_LARGEST // page_bytes}")
        self.database.executescript(_SCHEMA)

    def close(self) -> None:
        """Forget everything; nobody may use it any more."""
        with self.lock:
            self.database.close()

    def clear(self) -> None:
        """Take all blocks out."""
        with self.lock, self._written():
            for table in _TABLES:
                self.database.execute(f"DELETE FROM {table}")  # noqa: S608  names from above
            self.height, self.last_hash = 0, b""

    def add(self, blocks: Iterable[ExecutedBlock]) -> None:
        """Add the blocks that follow the last one; all of them or, where anything raises, none.

        Raises:
            VerificationError: an event of the contract is malformed.
            ResourceError: there is no room for the index.
        """
        with self.lock:
            height, last_hash = self.height, self.last_hash
            with self._written():
                for block in blocks:
                    height, last_hash = height + 1, block.block_hash
                    self._add_block(height, block)
            self.height, self.last_hash = height, last_hash

    def _add_block(self, number: int, block: ExecutedBlock) -> None:
        self._insert("blocks", (number, block.block_hash, str(block.timestamp), len(block.transactions)))
        for item in block.transactions:
            self._insert(
                "transactions",
                (None, number, item.transaction_hash, item.sender, item.to, item.created, item.data, item.succeeded),
            )
            for log in item.logs:
                own = log.address == self._contract
                event = read_event(log.topics, log.data, number, item.transaction_hash) if own else None
                if event is not None:
                    self._add_event(event, b"".join(log.topics), log.data)

    def _add_event(self, event: LedgerEvent, topics: bytes, data: bytes) -> None:
        round_index = event.round_index if isinstance(event, RoundEvent) else None
        accept = event.accept if isinstance(event, VoteCast) else None
        hospital = getattr(event, "hospital", None)
        row = (None, event.block, event.transaction_hash, event.name, round_index, hospital, accept, topics, data)
        place = self._insert("events", row)
        for field, (name, value) in enumerate(named_values(event)):
            if isinstance(value, bytes) and name != "transaction_hash":
                self._insert("words", (value, place, field))
            elif isinstance(value, str):
                self.database.execute("INSERT OR IGNORE INTO holders VALUES (?, ?)", (value, place))

    def _insert(self, table: str, row: tuple[object, ...]) -> int:
        return int(self.database.execute(_VALUES.format(table, ", ".join("?" * len(row))), row).lastrowid or 0)

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Everything inside is written, or nothing of it."""
        try:
            self.database.execute("BEGIN")
            yield
            self.database.execute("COMMIT")
        except sqlite3.Error as error:
            raise ResourceError(
                f"The ledger's index could not be written: {error}.", "Free some space in TMPDIR."
            ) from error
        finally:
            if self.database.in_transaction:  # what was not committed
                self.database.execute("ROLLBACK")


def named_values(event: LedgerEvent) -> Iterator[tuple[str, object]]:
    """An event's attributes with their values, in order: their places are how the index names them."""
    return ((field.name, getattr(event, field.name)) for field in dataclasses.fields(event))
