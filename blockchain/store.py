"""The chain's key-value store and its log index, in one SQLite file that survives being killed at any point."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eth.abc import AtomicWriteBatchAPI
from eth.db.atomic import AtomicDBWriteBatch
from eth.db.backends.base import BaseAtomicDB

from fedward.errors import LedgerError, ResourceError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (
  block INTEGER NOT NULL, position INTEGER NOT NULL, transaction_hash BLOB NOT NULL, transaction_index INTEGER NOT NULL,
  address BLOB NOT NULL, topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB, data BLOB NOT NULL,
  PRIMARY KEY (block, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS logs_by_topic ON logs (address, topic0, topic1, block);
"""


@dataclass(frozen=True)
class StoredLog:
    """One event as it was emitted.

    Attributes:
        block: Number of its block.
        position: Its place among the block's events.
        transaction_hash: 32 bytes.
        transaction_index: Its transaction's place in the block.
        address: 20 bytes; the contract that emitted it.
        topics: Up to four times 32 bytes.
        data: The fields that are not indexed.
    """

    block: int
    position: int
    transaction_hash: bytes
    transaction_index: int
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


class ChainStore(BaseAtomicDB):
    """py-evm's database on SQLite.

    Not safe for concurrent use: the chain above it holds one lock over all calls.

    Args:
        path: The SQLite file; made where there is none. It stays locked for other processes until `close`.

    Raises:
        ResourceError: another process has it open, or it cannot be written.
        LedgerError: the file is not a chain store.

    Guarantees:
        1. What `transaction` wrote is on the disk when it returns, all of it, or none after a crash in between.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
        except sqlite3.OperationalError as error:
            raise _unwritable(path, error) from error
        try:
            for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
        except sqlite3.OperationalError as error:
            self._database.close()
            raise _unwritable(path, error) from error
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise LedgerError(
                f"{path} is not a chain store: {error}.", "Restore it from a copy, or start with another folder."
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside reach the disk together, or, where anything raises, not at all."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise _unwritable(self._path, error) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """Undo an unfinished transaction; SQLite may have undone it by itself."""
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def add_logs(self, logs: Sequence[StoredLog]) -> None:
        """Index a block's events."""
        self._database.executemany(
            "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    log.block,
                    log.position,
                    log.transaction_hash,
                    log.transaction_index,
                    log.address,
                    *(log.topics + (None,) * (4 - len(log.topics))),
                    log.data,
                )
                for log in logs
            ],
        )

    def find_logs(
        self,
        blocks: tuple[int, int],
        addresses: Sequence[bytes],
        topics: Sequence[Sequence[bytes]],
        limit: int,
    ) -> list[StoredLog]:
        """Events in the order of the chain.

        Args:
            blocks: First and last block.
            addresses: Contracts; empty: any.
            topics: For each of up to four places the wanted values; an empty place: any, its absence included.
            limit: Most events to return.
        """
        conditions, values = ["block BETWEEN ? AND ?"], [*blocks]
        wanted = [("address", addresses), *((f"topic{place}", choices) for place, choices in enumerate(topics))]
        parameters: list[int | bytes] = list(values)
        for column, choices in wanted:
            if choices:
                conditions.append(f"{column} IN ({', '.join('?' * len(choices))})")
                parameters.extend(choices)
        rows = self._database.execute(
            f"SELECT * FROM logs WHERE {' AND '.join(conditions)} ORDER BY block, position LIMIT ?",  # noqa: S608
            [*parameters, limit],
        )
        return [
            StoredLog(block, position, transaction_hash, index, address, tuple(filter(None, topics)), data)
            for block, position, transaction_hash, index, address, *topics, data in rows
        ]

    # ---- what py-evm asks of a database -------------------------------------------------------------------------

    def __getitem__(self, key: bytes) -> bytes:
        row = self._database.execute("SELECT value FROM pairs WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value: bytes = row[0]
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO pairs VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        if self._database.execute("DELETE FROM pairs WHERE key = ?", (key,)).rowcount == 0:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        return self._database.execute("SELECT 1 FROM pairs WHERE key = ?", (key,)).fetchone() is not None

    @contextmanager
    def atomic_batch(self) -> Iterator[AtomicWriteBatchAPI]:
        """py-evm's own batches; they lie inside `transaction`."""
        with AtomicDBWriteBatch._commit_unless_raises(self) as batch:
            yield batch


def _unwritable(path: Path, error: sqlite3.OperationalError) -> ResourceError:
    """Say why SQLite cannot go on."""
    if "locked" in str(error):
        return ResourceError(f"{path} is in use by another node.", "Stop that node, or choose another folder.")
    return ResourceError(
        f"{path} could not be written: {error}.", "Free some space, or choose a folder that you can write to."
    )
