"""`ChainStore`: the chain's key-value store and its log index, in one SQLite file that survives a kill at any point."""

import contextlib
import functools
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from eth.abc import AtomicWriteBatchAPI
from eth.db.atomic import AtomicDBWriteBatch
from eth.db.backends.base import BaseAtomicDB

from blockchain.node.store_lock import check_unused
from fedward.errors import EvidenceError, LedgerError, ResourceError, VerificationError
from fedward.files import opened_regular

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (
  block INTEGER NOT NULL, position INTEGER NOT NULL, transaction_hash BLOB NOT NULL, transaction_index INTEGER NOT NULL,
  address BLOB NOT NULL, topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB, data BLOB NOT NULL,
  PRIMARY KEY (block, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS logs_by_topic ON logs (address, topic0, topic1, block);
"""

LARGEST_INTEGER = 2**63 - 1  # that SQLite can compare
MOST_LOG_BYTES = 16 * 1024 * 1024  # of the data of all events of one answer
LARGEST_VALUE = 64 * 1024 * 1024  # bytes; a longer value in a file from outside is not read
LARGEST_STORE = 64 * 1024**3  # bytes

_SCHEMA_ROWS = "SELECT type, name, tbl_name, sql FROM sqlite_master"
# Steps of SQLite's machine in all that is asked of one store from outside: some for each byte, and some for any.
_STEPS_OF_BYTE, _STEPS_OF_ANY, _STEPS_BETWEEN = 50, 50_000_000, 10_000
_PIECE = 1024 * 1024


class TooManyLogsError(Exception):
    """More events match a query than one answer may hold."""


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


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """A copy of a store that no node holds, and of what a killed node left in its log, for as long as it is needed.

    Args:
        path: The store's file.

    Raises:
        ResourceError: it cannot be read, or there is no room for the copy.
    """
    with tempfile.TemporaryDirectory(prefix="fedward-") as scratch:
        try:
            for file in (path, path.with_name(f"{path.name}-wal")):
                length = _size(file)
                if length is not None:
                    _copy(file, Path(scratch) / file.name, length)
        except OSError as error:
            raise ResourceError(
                f"{path} could not be copied for reading: {error.strerror}.", "Free some space in TMPDIR."
            ) from error
        yield Path(scratch) / path.name


class ChainStore(BaseAtomicDB):
    """py-evm's database on SQLite.

    Single reads and writes may come from any thread. The store does not keep several of them together: `EmbeddedChain`
    holds one lock while it builds a block, and while it reads several values that may change.

    Args:
        path: The SQLite file; made where there is none. It is locked for other processes until `close`.

    Raises:
        ResourceError: another process has it open, or it cannot be written.
        LedgerError: the file is not a chain store.

    Guarantees:
        1. When `transaction` returns, everything that was written inside it is on the disk; after a crash before that,
           nothing of it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
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

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator["ChainStore"]:
        """Open a store that no node holds, and write nothing into it or beside it; writes raise.

        What a killed node left in its write-ahead log is read as well, from a copy of the two files, because SQLite
        would otherwise write the log into the original.

        Raises:
            EvidenceError: there is no such file.
            ResourceError: a node holds the store, it cannot be read, or there is no room for the copy.
            VerificationError: it is not a chain store.
        """
        size = _size(path)
        if size is None:
            raise EvidenceError(
                f"The ledger's store {path} is missing, or is no regular file.", "Restore it from a copy, or use --rpc."
            )
        check_unused(path)
        log = path.with_name(f"{path.name}-wal")
        log_size = _size(log) or 0
        if size + log_size > LARGEST_STORE:
            raise VerificationError(f"{path} is larger than {LARGEST_STORE:,} bytes.", "Restore it from a copy.")
        with contextlib.ExitStack() as stack:
            left_over = log_size > 0
            # Without a log, a file that nobody writes is read where it is: SQLite then makes no files beside it.
            address = (
                stack.enter_context(copied(path)).as_uri() if left_over else f"{path.absolute().as_uri()}?immutable=1"
            )
            store = cls.__new__(cls)
            store._path = path
            store._lock = threading.RLock()
            store._database = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            try:
                store._distrust(size + log_size)
                yield store
            finally:
                store.close()

    def _distrust(self, size: int) -> None:
        """Bound what a file from outside can make SQLite do, and check that it has our tables and nothing else.

        A view can stand for a table and count without end; so can a tree of pages that leads back into itself.

        Args:
            size: Of the file, in bytes.
        """
        steps = _STEPS_OF_ANY + _STEPS_OF_BYTE * size
        self._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
        self._database.set_progress_handler(_Countdown(steps), _STEPS_BETWEEN)
        try:
            for setting in ("query_only = ON", "trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
                self._database.execute(f"PRAGMA {setting}")
            found = self._database.execute(f"{_SCHEMA_ROWS} LIMIT 100").fetchall()
            if sorted(found) != _expected_schema():
                raise VerificationError(
                    f"{self._path} is not a chain store: it has other tables, views or triggers.",
                    "Restore it from a copy.",
                )
            self._database.execute("SELECT key, value FROM pairs LIMIT 1").fetchone()
        except (sqlite3.Error, TypeError) as error:  # TypeError: names that are no texts cannot be sorted
            raise VerificationError(
                f"{self._path} is not a chain store: {error}.", "Restore it from a copy."
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything inside to the disk together, or, where anything raises, nothing of it."""
        try:
            self._execute("BEGIN IMMEDIATE")
            yield
            self._execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise _unwritable(self._path, error) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """Undo an unfinished transaction; SQLite may have undone it by itself."""
        if self._database.in_transaction:
            self._execute("ROLLBACK")

    def _execute(self, statement: str) -> None:
        with self._lock:
            self._database.execute(statement)

    def add_logs(self, logs: Sequence[StoredLog]) -> None:
        """Index a block's events."""
        rows = [
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
        ]
        with self._lock:
            self._database.executemany("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def find_logs(
        self,
        blocks: tuple[int, int],
        addresses: Sequence[bytes],
        topics: Sequence[Sequence[bytes]],
        limit: int,
    ) -> list[StoredLog]:
        """Events in the order of the chain.

        Args:
            blocks: First and last block, whole numbers of any size.
            addresses: Contracts whose events are wanted; empty: any.
            topics: For each of up to four places the wanted values; an empty place: any value, or no topic there.
            limit: Most events to return.

        Raises:
            TooManyLogsError: more events match, or they hold more than `MOST_LOG_BYTES`.
        """
        conditions, values = ["block BETWEEN ? AND ?"], [min(number, LARGEST_INTEGER) for number in blocks]
        wanted = [("address", addresses), *((f"topic{place}", choices) for place, choices in enumerate(topics))]
        parameters: list[int | bytes] = list(values)
        for column, choices in wanted:
            if choices:
                conditions.append(f"{column} IN ({', '.join('?' * len(choices))})")
                parameters.extend(choices)
        query = f"SELECT * FROM logs WHERE {' AND '.join(conditions)} ORDER BY block, position LIMIT ?"  # noqa: S608
        found, size = list[StoredLog](), 0
        with self._lock, closing(self._database.execute(query, [*parameters, limit + 1])) as rows:
            for block, position, transaction_hash, index, address, *places, data in rows:
                size += len(data)
                if len(found) == limit or size > MOST_LOG_BYTES:
                    raise TooManyLogsError(f"more than {limit} events or {MOST_LOG_BYTES} bytes match")
                present = tuple(topic for topic in places if topic)
                found.append(StoredLog(block, position, transaction_hash, index, address, present, data))
        return found

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys with their values.

        Raises:
            VerificationError: the table gives more than the file can hold, or a key twice, so it is no table of pairs.
        """
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        most, size, before = sum(_size(file) or 0 for file in files), 0, None
        with self._lock, closing(self._database.execute("SELECT key, value FROM pairs ORDER BY key")) as rows:
            for key, value in rows:
                if not (isinstance(key, bytes) and isinstance(value, bytes)):
                    raise VerificationError(f"{self._path} has values of other types.", "Restore it from a copy.")
                size += len(key) + len(value) + 1
                if size > most or (before is not None and key <= before):
                    raise VerificationError(f"{self._path} tells more than it holds.", "Restore it from a copy.")
                before = key
                yield key, value

    # ---- what py-evm asks of a database -------------------------------------------------------------------------

    def __getitem__(self, key: bytes) -> bytes:
        with self._lock:
            row = self._database.execute("SELECT value FROM pairs WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value = row[0]
        if not isinstance(value, bytes):
            raise TypeError("a value that is no bytes")
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO pairs VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        with self._lock:
            deleted = self._database.execute("DELETE FROM pairs WHERE key = ?", (key,)).rowcount
        if deleted == 0:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        with self._lock:
            return self._database.execute("SELECT 1 FROM pairs WHERE key = ?", (key,)).fetchone() is not None

    @contextmanager
    def atomic_batch(self) -> Iterator[AtomicWriteBatchAPI]:
        """py-evm's own batches of writes, which lie inside `transaction`."""
        with AtomicDBWriteBatch._commit_unless_raises(self) as batch:
            yield batch


class _Countdown:
    """Told by SQLite after every so many steps; ends the statement once there were too many."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def __call__(self) -> int:
        self._left -= _STEPS_BETWEEN
        return int(self._left < 0)


@functools.cache
def _expected_schema() -> list[tuple[object, ...]]:
    """The rows of SQLite's own table of tables, in a store as `ChainStore` makes it."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(_SCHEMA)
        return sorted(database.execute(_SCHEMA_ROWS).fetchall())


def _size(path: Path) -> int | None:
    """A regular file's size; None where there is none: no link is followed, and no pipe waited for."""
    try:
        with opened_regular(path) as file:
            return os.fstat(file.fileno()).st_size
    except OSError:
        return None


def _copy(source: Path, target: Path, length: int) -> None:
    """Copy so many bytes of a regular file."""
    with opened_regular(source) as file, target.open("xb") as copy:
        while length > 0 and (piece := file.read(min(length, _PIECE))):
            copy.write(piece)
            length -= len(piece)


def _unwritable(path: Path, error: sqlite3.OperationalError) -> ResourceError:
    """Say why SQLite cannot go on."""
    if "locked" in str(error):
        return ResourceError(f"{path} is in use by another node.", "Stop that node, or choose another folder.")
    if "readonly" in str(error) or "unable to open" in str(error):
        return ResourceError(
            f"{path} cannot be written: {error}.", "Copy the folder to where you may write, and name the copy."
        )
    return ResourceError(
        f"{path} could not be written: {error}.", "Free some space, or choose a folder that you can write to."
    )
