"""Bundle archives: a writer of reproducible, uncompressed ZIP files, and a reader that trusts nothing in them."""

import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

from fedward import files
from fedward.errors import EvidenceError, UsageError, VerificationError

MAX_MEMBERS = 4_000_000  # 780 rounds of five hospitals with a model of seven million parameters
MAX_DIRECTORY_BYTES = 1024 * MAX_MEMBERS

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can name
_UNIX = 3
_MODE = 0o100644
_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_REMEDY = "Ask for the bundle again, or compare it with another copy."
# What `zipfile` raises over foreign bytes: RuntimeError of encryption, unknown compression and recursion.
_MALFORMED = (zipfile.BadZipFile, struct.error, RuntimeError, ValueError, LookupError, EOFError, OverflowError, OSError)


class ArchiveWriter:
    """Adds members, which must come in the order of their names."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, parts: Iterable[bytes]) -> str:
        """Write a member; returns the hexadecimal SHA-256 of its content."""
        member = zipfile.ZipInfo(name, _EPOCH)
        member.create_system = _UNIX
        member.external_attr = _MODE << 16
        digest = sha256()
        with self._archive.open(member, "w", force_zip64=True) as file:  # its length is not known before
            for part in parts:
                digest.update(part)
                file.write(part)
        return digest.hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """Write an archive under a temporary name; it is renamed once it is whole and on the disk.

    Raises:
        UsageError: there is a file of that name, or no folder for it.
        ResourceError: the disk is full or the folder cannot be written.

    Guarantees:
        1. The same members give the same bytes.
    """
    if path.exists():
        raise UsageError(f"{path} is there already.", "Choose another --out, or remove that file first.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {path.absolute().parent}.", "Make it, or choose another --out.")
    with files.writing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        yield ArchiveWriter(archive)


class Archive:
    """Reads an archive that anybody may have made.

    Args:
        path: The file.

    Raises:
        EvidenceError: it is missing, empty or cannot be read.
        VerificationError: it is no archive as `writing` makes them: damaged, compressed, encrypted, with two
            members of one name, or with more than `MAX_MEMBERS` members.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        _check_end(path)
        with self.guarded("The archive"):
            self._archive = zipfile.ZipFile(path)
        members = self._archive.infolist()
        self._members = {member.filename: member for member in members}
        problem = "two members of one name" if len(self._members) < len(members) else ""
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
                problem = "a compressed member"
            elif member.flag_bits & ~0x800:  # that bit says UTF-8
                problem = "an encrypted or streamed member"
        if problem:
            self.close()
            raise VerificationError(f"{path} has {problem}.", _REMEDY)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def names(self) -> tuple[str, ...]:
        """All members' names, sorted."""
        return tuple(sorted(self._members))

    def read(self, name: str, most: int) -> bytes:
        """A member's content.

        Raises:
            EvidenceError: there is no such member.
            VerificationError: it is damaged, or longer than `most` bytes.
        """
        with self.streaming(name) as stream:
            content = stream.take(most + 1)
        if len(content) > most:
            raise VerificationError(f"{name} in {self._path} is longer than {most:,} bytes.", _REMEDY)
        return content

    @contextmanager
    def streaming(self, name: str) -> Iterator["MemberStream"]:
        """Open a member to be read piece by piece; raises what `read` raises."""
        if name not in self._members:
            raise EvidenceError(f"{self._path} has no {name}.", "Ask for a bundle that has it.")
        with self.guarded(name):
            file = self._archive.open(self._members[name])
        with file:
            yield MemberStream(file, self, name)

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """Turn what `zipfile` raises into our error."""
        try:
            yield
        except _MALFORMED as error:
            raise VerificationError(f"{what} in {self._path} is damaged ({error}).", _REMEDY) from error


class MemberStream:
    """A member's content in pieces."""

    def __init__(self, file: IO[bytes], archive: Archive, name: str) -> None:
        self._file = file
        self._archive = archive
        self._name = name

    def take(self, count: int) -> bytes:
        """The next bytes; fewer than asked for only at the end.

        Raises:
            VerificationError: the member is damaged.
        """
        with self._archive.guarded(self._name):
            return self._file.read(count)


def _check_end(path: Path) -> None:
    """Check how many members an archive claims to have, before `zipfile` reads that many."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - _END.size - _END64_LOCATOR.size - _END64.size))
            tail = file.read(_END.size + _END64_LOCATOR.size + _END64.size)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EvidenceError(f"{path} could not be read: {reason}.", "Name a run folder or a bundle.") from error
    if not tail:
        raise EvidenceError(f"{path} is empty.", "Ask for the bundle again.")
    malformed = VerificationError(f"{path} is not a bundle, or its end is missing.", _REMEDY)
    if len(tail) < _END.size:
        raise malformed
    mark, _, _, _, count, length, offset, comment = _END.unpack(tail[-_END.size :])
    if mark != b"PK\x05\x06" or comment:
        raise malformed
    if count == 0xFFFF or length == 0xFFFFFFFF or offset == 0xFFFFFFFF:
        if len(tail) < _END.size + _END64_LOCATOR.size + _END64.size or tail[:4] != b"PK\x06\x06":
            raise malformed
        _, _, _, _, _, _, _, count, length, _ = _END64.unpack(tail[: _END64.size])
    if count > MAX_MEMBERS or length > min(size, MAX_DIRECTORY_BYTES):
        raise VerificationError(f"{path} claims {count:,} members.", _REMEDY)
