"""Whether a node holds a store: SQLite's lock tells, and nothing is written to find out."""

import sqlite3
from pathlib import Path

from fedward.errors import ResourceError


def is_in_use(path: Path) -> bool:
    """Whether a node holds a store; False where there is none, or it cannot be read."""
    try:
        return path.is_file() and _is_held(path)  # SQLite would wait for a pipe
    except sqlite3.OperationalError:
        return False


def check_unused(path: Path) -> None:
    """Check that no node holds a store, this process's own included.

    Raises:
        ResourceError: one does, or the store cannot be read.
    """
    try:
        held = _is_held(path)
    except sqlite3.OperationalError as error:
        raise ResourceError(f"{path} could not be read: {error}.", "Check who may read it.") from error
    if held:
        raise ResourceError(f"{path} is in use by a node.", "Stop it, or use --rpc.")


def _is_held(path: Path) -> bool:
    """Whether a node holds a store; raises `sqlite3.OperationalError` where it cannot be opened.

    A node holds SQLite's exclusive lock, and SQLite reports that lock first. The check asks for exclusive locking of a
    file with a write-ahead log, opened for reading: SQLite refuses that next, for lack of the right to write, before it
    makes any file. So every other answer means that the file is free.
    """
    probe = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=0.1)
    try:
        probe.execute("PRAGMA locking_mode = EXCLUSIVE")
        probe.execute("PRAGMA schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        return "locked" in str(error)
    finally:
        probe.close()
    return False
