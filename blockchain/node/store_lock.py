"""Whether a node holds a store: SQLite's lock tells, and nothing is written to find out."""

import sqlite3
from pathlib import Path

from fedward.errors import ResourceError


def is_in_use(path: Path) -> bool:
    """Whether a node holds a store; False where there is none, or it cannot be read."""
    try:
        check_unused(path)
    except ResourceError:
        return path.exists()
    return False


def check_unused(path: Path) -> None:
    """Check that no node holds a store, this process's own included.

    A node holds SQLite's exclusive lock, and SQLite reports that lock first. The check asks for exclusive locking of a
    file with a write-ahead log, opened for reading: SQLite refuses that next, for lack of the right to write, before it
    makes any file. So every other answer means that the file is free.
    """
    try:
        probe = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=0.1)
    except sqlite3.OperationalError as error:
        raise ResourceError(f"{path} could not be read: {error}.", "Check who may read it.") from error
    try:
        probe.execute("PRAGMA locking_mode = EXCLUSIVE")
        probe.execute("PRAGMA schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise ResourceError(f"{path} is in use by a node.", "Stop it, or use --rpc.") from error
    finally:
        probe.close()
