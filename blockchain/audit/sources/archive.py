"""Bundle archives: a writer of reproducible, uncompressed ZIP files, which `fedward.archive` reads."""

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from fedward import files
from fedward.errors import UsageError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can name
_UNIX = 3
_MODE = 0o100644


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
