"""Files that are whole or not there: written to a temporary name, flushed to the disk, then renamed."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from fedward.errors import ResourceError

MAX_DEPTH = 64  # of nested lists and objects in JSON; ours have less than ten

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKET = bytes(code for code in range(256) if code not in b"[]{}")


def write_atomic(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    Args:
        path: Where to; its folder must exist.
        content: The whole content.
        mode: Permission bits; 0o600 for secrets.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _not_written(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder that only its owner can read, with its parents; it may be there already.

    Raises:
        ResourceError: the disk is full or the parent cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _not_written(path, error) from error


def append_line(path: Path, line: str) -> None:
    """Add a line to a log and flush it to the disk before returning.

    What a crash left of an earlier line is removed first, and a write that fails is taken back.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    try:
        with path.open("ab+") as file:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            try:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(path, whole)
                raise
    except OSError as error:
        raise _not_written(path, error) from error


def read_lines(path: Path) -> list[str]:
    """The whole lines of a log; empty where it is not there. A line that a crash cut short is left out."""
    if not path.exists():
        return []
    return path.read_bytes().decode(errors="replace").split("\n")[:-1]


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
        ValueError: it is no JSON, nested more than 64 deep, or names a key twice, which each reader would take in
            another way; nothing else, whatever the bytes.
    """
    depth = 0
    for bracket in _STRING.sub(b"", content).translate(None, _NO_BRACKET):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
    return json.loads(content.decode(), object_pairs_hook=_without_twins)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys all differ."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is named twice")
    return fields


def _not_written(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"{path} could not be written: {error.strerror or error}.", "Free some space or choose another --out."
    )
