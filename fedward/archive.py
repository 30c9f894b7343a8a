"""`Archive`: reads ZIP files of uncompressed members, such as bundles and `model.keras`, and trusts nothing in them.

The standard library's reader looks for what it knows and passes over the rest: bytes before the first member, two
members in one place, a name in the member's own header that differs from the directory's. Here a file has to be members
one behind the other, their directory, its end, and not one byte more. As nothing is compressed, no member can be larger
than the file.
"""

import contextlib
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fedward.errors import EvidenceError, VerificationError
from fedward.files import opened_regular

MAX_NAME = 200  # characters

_LOCAL = struct.Struct("<4s2B4HL2L2H")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_SIZES64 = struct.Struct("<2H2Q")
_LARGE = 2**31 - 1  # from here on, sizes and places stand in a field of their own
_MOST_IN_RECORD = _CENTRAL.size + MAX_NAME + 28
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)
# What `writing` in blockchain/audit/sources/archive.py writes: Unix, version 4.5, the first day that a ZIP can name.
_EXACT_MODE = (stat.S_IFREG | 0o644) << 16
_EXACT = (45, 3, 45, 0, 0, 0x21, 0, _EXACT_MODE)


@dataclass(frozen=True)
class _Member:
    """Where a member's content lies."""

    start: int
    size: int
    crc: int


class Archive:
    """Reads an archive that anybody may have made.

    Args:
        path: The file; a link may stand for it.
        most_members: The largest number of members.
        remedy: What the reader of an error can do.
        exact: Whether dates, versions and modes have to be those of a bundle, so that the same members can only
            be the same bytes.

    Raises:
        EvidenceError: it is missing, empty, no regular file, or cannot be read.
        VerificationError: it is no archive of plain, uncompressed members one behind the other.

    Guarantees:
        1. Every byte of the file belongs to one member's content, its header, the directory or the end. With `exact`,
           names and contents of the members decide every byte.
        2. Every name is made of letters, digits, `.`, `_`, `-` and `/`, stays below the folder that it would be
           unpacked in, and differs from every other by more than upper and lower case.
    """

    def __init__(self, path: Path, most_members: int, remedy: str, *, exact: bool = False) -> None:
        self._path = path
        self._remedy = remedy
        self._exact = exact
        try:
            self._file: IO[bytes] = opened_regular(path, through_link=True)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EvidenceError(f"{path} could not be read: {reason}.", remedy) from error
        with contextlib.ExitStack() as undo:
            undo.callback(self._file.close)
            with self._guarded("The archive"):
                self._size = os.fstat(self._file.fileno()).st_size
                if self._size == 0:
                    raise EvidenceError(f"{path} is empty.", remedy)
                self._members = self._listed(most_members)
            undo.pop_all()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> tuple[str, ...]:
        """All members' names, sorted."""
        return tuple(sorted(self._members))

    def size(self, name: str) -> int:
        """The number of a member's bytes; raises `EvidenceError` where there is no such member."""
        return self._member(name).size

    def read(self, name: str, most: int) -> bytes:
        """A member's content.

        Raises:
            EvidenceError: there is no such member.
            VerificationError: it is damaged, or longer than `most` bytes.
        """
        if self.size(name) > most:
            raise VerificationError(f"{name} in {self._path} is longer than {most:,} bytes.", self._remedy)
        return self.stream(name).take(most + 1)

    def stream(self, name: str) -> "MemberStream":
        """A member's content, to be read piece by piece; raises `EvidenceError` where there is no such member."""
        return MemberStream(self, name, self._member(name))

    def piece(self, name: str, start: int, count: int) -> bytes:
        """Bytes of the file; raises `VerificationError`, which names the member, where they cannot be read."""
        with self._guarded(name):
            return os.pread(self._file.fileno(), count, start)

    def damaged(self, what: str, problem: str) -> VerificationError:
        """The error that a part of this archive is damaged."""
        return VerificationError(f"{what} in {self._path} is damaged ({problem}).", self._remedy)

    def _member(self, name: str) -> _Member:
        if name not in self._members:
            raise EvidenceError(f"{self._path} has no {name}.", self._remedy)
        return self._members[name]

    # ---- the structure ------------------------------------------------------------------------------------------

    def _listed(self, most: int) -> dict[str, _Member]:
        """All members, after every byte around their contents was looked at."""
        count, start, length = self._end()
        if count > most or length > count * _MOST_IN_RECORD:
            raise VerificationError(f"{self._path} claims {count:,} members.", self._remedy)
        directory = os.pread(self._file.fileno(), length, start)
        members, folded, place, at = dict[str, _Member](), set[str](), 0, 0
        for _ in range(count):
            name, member, at = self._record(directory, at, place)
            members[name] = member
            folded.add(name.lower())
            place = member.start + member.size
        if len(folded) < count:
            raise self._malformed("two members of one name")
        if self._exact and list(members) != sorted(members):
            raise self._malformed("members in another order than that of their names")
        if at != length or place != start:
            raise self._malformed("bytes that belong to no member")
        return members

    def _end(self) -> tuple[int, int, int]:
        """Number of members, and place and length of their directory: what lies behind it is the file's end."""
        tail_at = max(0, self._size - _END.size - _LOCATOR64.size - _END64.size)
        tail = os.pread(self._file.fileno(), self._size - tail_at, tail_at)
        if len(tail) < _END.size or tail[-_END.size :][:4] != b"PK\x05\x06":
            raise VerificationError(f"{self._path} is not a bundle or model, or its end is missing.", self._remedy)
        mark, *_, count, length, start, _ = _END.unpack(tail[-_END.size :])
        end = self._size - _END.size
        if tail[:4] == b"PK\x06\x06" and len(tail) == _END.size + _LOCATOR64.size + _END64.size:
            end -= _LOCATOR64.size + _END64.size
            *_, count, length, start = _END64.unpack(tail[: _END64.size])
            needed = count > 0xFFFF or max(length, start) > _LARGE
            if not needed or tail[: -_END.size] != _large_end(count, length, start, end):
                raise self._malformed("an end that contradicts itself")
        told = min(count, 0xFFFF), min(count, 0xFFFF), min(length, 0xFFFFFFFF), min(start, 0xFFFFFFFF)
        if tail[-_END.size :] != _END.pack(mark, 0, 0, *told, 0):
            raise self._malformed("an end that contradicts itself, or a comment")
        if start + length != end:
            raise self._malformed("foreign bytes around its members")
        return count, start, length

    def _record(self, directory: bytes, at: int, place: int) -> tuple[str, _Member, int]:
        """The member of a record of the directory, whose header has to lie at `place`, and where the record ends."""
        mark, made, system, needed, system2, flags, method, time, date, crc, *rest = _CENTRAL.unpack_from(directory, at)
        packed, size, name_length, extra_length, comment, disk, internal, external, start = rest
        at += _CENTRAL.size
        raw, extra = directory[at : at + name_length], directory[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length
        name = self._name(raw)
        if mark != b"PK\x01\x02" or comment or disk or at > len(directory):
            raise self._malformed(f"a malformed record of {name}")
        if flags or method or packed != size:
            raise self._malformed(f"a compressed, encrypted or streamed member, {name}")
        size, start = self._large(name, extra, size, start)
        if start != place:
            raise self._malformed(f"foreign bytes before {name}, or members that overlap")
        mode = external >> 16
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
            raise self._malformed(f"a member that is no file, {name}")
        if self._exact and (made, system, needed, system2, time, date, internal, external) != _EXACT:
            raise self._malformed(f"a date, version or mode that no export writes, of {name}")
        return name, self._located(name, raw, place, (needed, system2, 0, 0, time, date, crc), size), at

    def _large(self, name: str, extra: bytes, size: int, start: int) -> tuple[int, int]:
        """A record's size and place, from its further field where they are large."""
        wanted = 2 * (size == 0xFFFFFFFF) + (start == 0xFFFFFFFF)
        if len(extra) != (4 + 8 * wanted if wanted else 0):
            raise self._malformed(f"a further field of {name}")
        told = struct.unpack(f"<{wanted}Q", extra[4:])
        size = told[0] if size == 0xFFFFFFFF else size
        start = told[-1] if start == 0xFFFFFFFF else start
        numbers = ([size, size] if size > _LARGE else []) + ([start] if start > _LARGE else [])
        expected = struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""
        if extra != expected:
            raise self._malformed(f"a further field of {name}")
        return size, start

    def _located(self, name: str, raw: bytes, place: int, told: tuple[int, ...], size: int) -> _Member:
        """Where a member's content begins: its own header has to say what the directory says."""
        *same, crc = told
        header = os.pread(self._file.fileno(), _LOCAL.size + len(raw) + _SIZES64.size, place)
        large = _LOCAL.pack(b"PK\x03\x04", *same, crc, 0xFFFFFFFF, 0xFFFFFFFF, len(raw), _SIZES64.size) + raw
        large += _SIZES64.pack(1, 16, size, size)
        small = _LOCAL.pack(b"PK\x03\x04", *same, crc, min(size, 0xFFFFFFFF), min(size, 0xFFFFFFFF), len(raw), 0) + raw
        for known in (large,) if self._exact else (large, small):
            if header.startswith(known):
                return _Member(place + len(known), size, crc)
        raise self._malformed(f"a header of {name} that contradicts the directory")

    def _name(self, raw: bytes) -> str:
        """A member's name, if it is a plain one."""
        name = raw.decode("ascii", errors="replace")
        if len(name) > MAX_NAME or not _NAME.fullmatch(name):
            raise self._malformed(f"a member whose name is not plain, {ascii(name)[:60]}")
        return name

    def _malformed(self, problem: str) -> VerificationError:
        return VerificationError(f"{self._path} has {problem}.", self._remedy)

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Turn what reading raises into our error."""
        try:
            yield
        except (OSError, struct.error, OverflowError) as error:
            raise self.damaged(what, str(error)) from error


class MemberStream:
    """A member's content in pieces."""

    def __init__(self, archive: Archive, name: str, member: _Member) -> None:
        self._archive = archive
        self._name = name
        self._member = member
        self._done = self._crc = 0

    def take(self, count: int) -> bytes:
        """The next bytes; fewer than asked for only at the end.

        Raises:
            VerificationError: the member is damaged; that is known once its last byte was read.
        """
        left = self._member.size - self._done
        taken = self._archive.piece(self._name, self._member.start + self._done, min(count, left))
        self._done += len(taken)
        self._crc = zlib.crc32(taken, self._crc)
        if len(taken) < min(count, left):
            raise self._archive.damaged(self._name, "it is cut short")
        if self._done == self._member.size and self._crc != self._member.crc:
            raise self._archive.damaged(self._name, "its checksum is another")
        return taken


def _large_end(count: int, length: int, start: int, at: int) -> bytes:
    """The two records before the end of an archive of many or large members."""
    end = _END64.pack(b"PK\x06\x06", _END64.size - 12, 45, 45, 0, 0, count, count, length, start)
    return end + _LOCATOR64.pack(b"PK\x06\x07", 0, at, 1)
