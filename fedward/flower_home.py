"""The temporary folder of a simulation's processes: for its owner only, short enough for sockets, removed after."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedward.errors import ResourceError

PREFIX = "fedward-"
LOCK = ".held"  # locked for as long as the process lives that made the folder, however it ends
SOCKET_PATH_BYTES = 103  # 107 on Linux
# What Ray adds: a folder by time and process, and the longest name of a socket in it.
RAY_PATH_BYTES = len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")


@contextmanager
def flower_home(on_left_over: Callable[[Path], None]) -> Iterator[Path]:
    """Make a folder and remove it when the `with` block ends; first remove those that this user's dead processes left.

    Args:
        on_left_over: Called with each folder that a dead process left, before it is removed.

    Raises:
        ResourceError: no folder for temporary files is short enough and can be written.

    Guarantees:
        1. Nobody but the folder's owner can reach into it, whatever is made in it.
        2. A folder is removed only if it is this user's and the process that made it has ended.
    """
    places = _places()
    for place in places:
        for left_over in _left_overs(place):
            on_left_over(left_over)
            shutil.rmtree(left_over, ignore_errors=True)
    home = _make(places)
    try:
        with _held(home):
            yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _places() -> list[Path]:
    """Folders for temporary files, the user's choice first."""
    named = [tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/var/tmp"]  # noqa: S108
    return [Path(place) for place in dict.fromkeys(named) if place and Path(place).is_absolute()]


def _make(places: list[Path]) -> Path:
    """Make a folder in the first place where it can be made and Ray's sockets fit."""
    reasons = []
    for place in places:
        longest = len(os.fsencode(place)) + len(f"/{PREFIX}12345678") + RAY_PATH_BYTES
        if longest > SOCKET_PATH_BYTES:
            reasons.append(f"{place} is {longest - SOCKET_PATH_BYTES} bytes too long for sockets")
            continue
        try:
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        except OSError as error:
            reasons.append(f"{place}: {error.strerror}")
    raise ResourceError(
        f"There is no place for the sockets of a simulation: {'; '.join(reasons)}.", "Set TMPDIR to a shorter folder."
    )


@contextmanager
def _held(home: Path) -> Iterator[None]:
    """Hold a folder's lock file, which gets its name only once it is locked."""
    new = home / f"{LOCK}.new"
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        new.rename(home / LOCK)
        yield
    finally:
        os.close(descriptor)


def _left_overs(place: Path) -> Iterator[Path]:
    """Folders in a place that are this user's and that nobody holds any more."""
    with contextlib.suppress(OSError):
        for folder in sorted(place.glob(f"{PREFIX}*")):
            if _is_left_over(folder):
                yield folder


def _is_left_over(folder: Path) -> bool:
    """Whether a folder was made here by a process of this user that has ended."""
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            return False
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
