"""Write files whole or not at all, read files from outside up to a bound, hash them, and parse JSON safely.

A file is written under a random temporary name, flushed to the disk, then renamed. All of Fedward's files are written
here, because three things are easily forgotten: somebody else could guess a temporary name and put a link to another
file there; a link may lie in place of the file itself; and a new name is certain to survive a power loss only once the
folder that holds it is flushed as well.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fedward.errors import EvidenceError, ResourceError, UsageError, VerificationError

MAX_DEPTH = 64  # of nested lists and objects in JSON; ours have less than ten
MAX_LOG_BYTES = 1024**3
PART = ".part"  # how the name of what is not finished ends

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, whatever has no reader yet, such as a pipe, would be waited for.
_EXTENDED = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # some network file systems, of a folder

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKET = bytes(code for code in range(256) if code not in b"[]{}")


def write_atomic(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    Args:
        path: Where to; its folder must exist.
        content: The whole content.
        mode: Permission bits, less what the umask takes away; 0o600 for secrets.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.

    Guarantees:
        1. Those of `writing`.
    """
    with writing(path, mode) as file:
        file.write(content)


@contextmanager
def writing(path: Path, mode: int = 0o644, flushed: bool = True) -> Iterator[IO[bytes]]:
    """Write a file in pieces: it gets its name when the `with` block ends, and is removed where the block raises.

    Args:
        path: Where to; its folder must exist.
        mode: Permission bits, less what the umask takes away.
        flushed: False: the power may take content and name along; for what nobody reads again after that.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.

    Guarantees:
        1. No link is followed and no file of another name is touched: the temporary name is random and must be new,
           and a link at `path` is replaced, not written through.
        2. When the block has ended, content and name survive a power loss, where `flushed`.
    """
    temporary = f".{secrets.token_hex(16)}{PART}"
    try:
        with _folder_of(path) as folder:
            try:
                with os.fdopen(os.open(temporary, _NEW, mode, dir_fd=folder), "w+b") as file:
                    yield file
                    file.flush()
                    if flushed:
                        os.fsync(file.fileno())
                os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            if flushed:
                _sync_folder(folder)
    except OSError as error:
        raise _not_written(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder that only its owner can read, with its parents; it may be there already.

    Raises:
        ResourceError: the disk is full or the parent cannot be written.

    Guarantees:
        1. When this returns, the folder survives a power loss.
    """
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            with _folder_of(folder) as parent:
                _sync_folder(parent)
    except OSError as error:
        raise _not_written(path, error) from error


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Fill a new folder: it gets its name when the `with` block ends, and is removed where the block raises.

    Args:
        path: Where to; an empty folder there is replaced. Missing parents are made.

    Yields:
        A folder of a random name, readable by its owner only.

    Raises:
        ResourceError: the disk is full, the parent cannot be written, or something has come to lie at `path`.
    """
    unfinished = path.with_name(f".{secrets.token_hex(16)}{PART}")
    make_folder(unfinished)
    try:
        yield unfinished
        unfinished.replace(path)
        with _folder_of(path) as parent:
            _sync_folder(parent)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        ResourceError: it cannot be removed.

    Guarantees:
        1. When this returns, the file does not come back by a power loss.
    """
    try:
        with _folder_of(path) as folder:
            os.unlink(path.name, dir_fd=folder)
            _sync_folder(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResourceError(
            f"{path} could not be removed: {_reason(path, error)}.", "Remove it, or make its folder writable."
        ) from error


def append_line(path: Path, line: str) -> None:
    """Add a line to a log and flush it to the disk before returning.

    What a crash left of an earlier line is removed first, and a write that fails is taken back.

    Raises:
        ResourceError: the disk is full, the folder cannot be written, or a link or no regular file lies there.

    Guarantees:
        1. When this returns, the line and the log's name survive a power loss.
    """
    try:
        with (
            _folder_of(path) as folder,
            os.fdopen(os.open(path.name, _EXTENDED, 0o644, dir_fd=folder), "ab+") as file,
        ):
            _check_regular(file)
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            try:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(file.fileno(), whole)
                raise
            if whole == 0:
                _sync_folder(folder)
    except OSError as error:
        raise _not_written(path, error) from error


def bound_log(path: Path, most: int) -> None:
    """Move a log of more than `most` bytes aside, to `NAME.1`; whoever appends to it goes on.

    What is written just while it is moved may be lost.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    try:
        if path.stat().st_size > most:
            with writing(path.with_name(f"{path.name}.1"), 0o600) as aside, opened_regular(path) as log:
                shutil.copyfileobj(log, aside)
            os.truncate(path, 0)
    except OSError as error:
        raise _not_written(path, error) from error


def read_file(path: Path, most: int, what: str, remedy: str, *, through_link: bool = False) -> bytes:
    """Read a file that somebody else may have put there: a regular file only, and up to a bound.

    Args:
        path: Where it lies.
        most: The largest number of bytes that it may have.
        what: What to call it at the beginning of an error's sentence, such as "The trust file".
        remedy: What the reader of that error can do.
        through_link: Whether a link at `path` may stand for the file; for paths that the user typed.

    Raises:
        EvidenceError: it is missing, cannot be read, or is a link, folder, pipe or device.
        VerificationError: it has more bytes.

    Guarantees:
        1. At most `most` + 1 bytes are read, of a regular file only; no pipe is waited for. What is checked is what is
           read: the path is looked up once.
    """
    try:
        with opened_regular(path, through_link=through_link) as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise EvidenceError(f"{what} could not be read from {path}: {_reason(path, error)}.", remedy) from error
    if len(content) > most:
        raise VerificationError(f"{what} in {path} is longer than {most:,} bytes.", remedy)
    return content


def read_private(path: Path, most: int, what: str, remedy: str) -> bytes:
    """Read a file with a secret in it, which nobody but its owner may be able to read; a link may stand for it.

    Args:
        path: Where it lies.
        most: The largest number of bytes that it may have.
        what: What to call it at the beginning of an error's sentence; names the file.
        remedy: What the reader of that error can do where the file cannot be read.

    Raises:
        UsageError: it is missing, cannot be read, is a folder, pipe or device, has more bytes, or other users of the
            machine may read or write it.
    """
    try:
        with opened_regular(path, through_link=True) as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError(f"{what} is readable by other users.", f"Protect it: chmod 600 {path}")
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{what} could not be read: {_reason(path, error)}.", remedy) from error
    if len(content) > most:
        raise UsageError(f"{what} is longer than {most:,} bytes.", remedy)
    return content


def opened_regular(path: Path, *, through_link: bool = False) -> IO[bytes]:
    """Open a file for reading, if it is a regular one; no pipe is waited for.

    Args:
        path: Where it lies.
        through_link: Whether a link at `path` may stand for the file.

    Raises:
        OSError: it is missing, cannot be read, or is a link, folder, pipe or device.
        ValueError: the path has a zero byte.
    """
    file = os.fdopen(os.open(path, _READ | (0 if through_link else os.O_NOFOLLOW)), "rb")
    try:
        _check_regular(file)
    except OSError:
        file.close()
        raise
    return file


def read_lines(path: Path) -> list[str]:
    """The whole lines of a log; empty where it is not there. A line that a crash cut short is left out.

    Raises:
        EvidenceError, VerificationError: as `read_file`.
    """
    if not path.exists():
        return []
    content = read_file(path, MAX_LOG_BYTES, "The log", "Restore it from a backup.")
    return content.decode(errors="replace").split("\n")[:-1]


def sha256(content: bytes) -> bytes:
    """The 32 bytes of a content's SHA-256."""
    return hashlib.sha256(content).digest()


def merkle_root(leaves: list[bytes]) -> bytes:
    """Binary Merkle root of 32-byte leaf hashes.

    Leaves and inner nodes are hashed under different prefixes, so that no inner node can pose as a leaf
    (RFC 6962, Laurie, Langley and Kasper 2013); an odd node moves up unchanged. The number of leaves is bound
    by the length that a commitment carries beside the root.
    """
    if not leaves:
        return sha256(b"")
    level = [sha256(b"\x00" + leaf) for leaf in leaves]
    while len(level) > 1:
        pairs = [sha256(b"\x01" + left + right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def parse_json(content: bytes) -> Any:
    """Read JSON from outside, in UTF-8.

    Packages for Ethereum lift the process's recursion limit so far that `json` by itself would overflow the stack and
    end the process over a file of nothing but brackets; therefore nesting is bounded before.

    Raises:
        ValueError: it is no JSON, nested more than 64 deep, has a number that is none (NaN or infinite) or of
            thousands of digits, or names a key twice, which each reader would take in another way; nothing else,
            whatever the bytes.
    """
    depth = 0
    for bracket in _STRING.sub(b"", content).translate(None, _NO_BRACKET):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
    return json.loads(content.decode(), object_pairs_hook=_without_twins, parse_constant=_no_number)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys all differ."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is named twice")
    return fields


def _no_number(name: str) -> float:
    """Refuse the three words for numbers that JSON does not have and Python's `json` reads all the same."""
    raise ValueError(f"{name} is no number")


def resolved(path: Path) -> Path:
    """A path from the root, without links.

    Raises:
        UsageError: a link on the way leads to itself.
    """
    try:
        return path.resolve()
    except (RuntimeError, OSError) as error:  # Python 3.13 raises the second
        raise UsageError(f"A link in {path} leads to itself.", "Remove it, or name another path.") from error


@contextmanager
def _folder_of(path: Path) -> Iterator[int]:
    """The descriptor of the folder that a path lies in: what is done by it stays in that folder, wherever it moves."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_regular(file: IO[bytes]) -> None:
    """Raise OSError where an open file is a pipe, a device or a socket."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


def _sync_folder(descriptor: int) -> None:
    """Bring a folder's names to the disk, where its file system can do so."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _not_written(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"{path} could not be written: {_reason(path, error)}.",
        "Free some space, or choose a place that you can write to.",
    )


def _reason(path: Path, error: OSError | ValueError) -> str:
    """Why a file could not be used, in the system's words or better ones."""
    if not isinstance(error, OSError):
        return str(error)
    return (
        "a symbolic link lies there"
        if error.errno == errno.ELOOP and path.is_symlink()
        else error.strerror or str(error)
    )
