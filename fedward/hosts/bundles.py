"""Read bundles of code as Flower ships them, without running anything, and tell two of them apart."""

import difflib
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedward.errors import UsageError, VerificationError
from fedward.files import read_file, sha256
from fedward.hosts.approvals import MOST_BUNDLE_BYTES
from fedward.settings import Settings, digest_of, guaranteed, to_tables
from fedward.tables import Tables, flat, parse_toml

MOST_MEMBERS = 2000

_NAME = re.compile(r"\.?[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)
_MALFORMED = (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, NotImplementedError, OSError)
_REMEDY = "Ask the administrator for the bundle; do not approve this one."


@dataclass(frozen=True)
class Bundle:
    """A bundle's content.

    Attributes:
        content: The file itself.
        files: Each file's bytes, by its name.
        defaults: The settings that it brings.
    """

    content: bytes
    files: Mapping[str, bytes]
    defaults: Tables

    @classmethod
    def load(cls, path: Path) -> "Bundle":
        """Read a bundle.

        Raises:
            EvidenceError: it is missing or cannot be read.
            VerificationError: it is too large, or no archive of plain, uncompressed files with Fedward's settings.

        Guarantees:
            1. Nothing of it is run or written anywhere. No more memory is taken than twice the file's size.
        """
        content = read_file(path, MOST_BUNDLE_BYTES, "The bundle", "Name the file.", through_link=True)
        try:
            files = _files(content)
            tables: dict[str, Any] = parse_toml(files["pyproject.toml"])["tool"]["flwr"]["app"]["config"]
            return cls(content, files, flat(tables))
        except (*_MALFORMED, UsageError) as error:
            raise VerificationError(f"{path} is no bundle of Fedward: {error}.", _REMEDY) from error

    def digest(self) -> str:
        """Hexadecimal SHA-256: what an approval names."""
        return sha256(self.content).hex()

    def run_tables(self, settings: Settings) -> Tables:
        """A study's settings as this code is started with them: its own defaults where the study has none."""
        given = to_tables(settings)
        return {name: {**table, **given.get(name, {})} for name, table in self.defaults.items()}

    def settings_digest(self, settings: Settings) -> str:
        """Hexadecimal digest of a study's settings under this code.

        Raises:
            VerificationError: this code has other tables of settings.
        """
        try:
            return digest_of(guaranteed(self.run_tables(settings))).hex()
        except KeyError as error:
            raise VerificationError(f"The bundle has no table of settings {error}.", _REMEDY) from error


@dataclass(frozen=True)
class Changes:
    """How one bundle differs from another.

    Attributes:
        added, removed, changed: Names of files.
        diff: Lines of a unified diff of all of them, without line ends.
        settings: Table and key, with the values before and after; None where it is not there.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    diff: tuple[str, ...]
    settings: Mapping[str, tuple[Any, Any]]


def changes(old: Bundle | None, new: Bundle, settings: Settings) -> Changes:
    """What changes with a new bundle; all of it is new where there is no old one.

    Args:
        old: The approved one.
        new: The one to be approved.
        settings: The study's.
    """
    before, after = (old.files if old else {}), new.files
    changed = tuple(sorted(name for name in before.keys() & after.keys() if before[name] != after[name]))
    names = sorted(before.keys() ^ after.keys() | set(changed)) if old else []
    diff = [line for name in names for line in _diff(name, before.get(name), after.get(name))]
    told = _dotted(old.run_tables(settings)) if old else {}
    now = _dotted(new.run_tables(settings))
    differing = sorted(key for key in told.keys() | now.keys() if old and told.get(key) != now.get(key))
    return Changes(
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
        changed,
        tuple(diff),
        {key: (told.get(key), now.get(key)) for key in differing},
    )


def _files(content: bytes) -> dict[str, bytes]:
    """All files of an archive: as Python's reader finds them, which is also Flower's."""
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"it has {len(members):,} files")
        if sum(member.file_size for member in members) > len(content):
            raise ValueError("its files are larger than itself")
        folded = set[str]()
        for member in members:
            encrypted = member.flag_bits & 1
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size or encrypted:
                raise ValueError(f"{member.filename!a} in it is compressed or encrypted")
            if not _NAME.fullmatch(member.filename) or member.filename.lower() in folded:
                raise ValueError(f"{member.filename!a} in it is no plain name, or there twice")
            folded.add(member.filename.lower())
            files[member.filename] = archive.read(member)
    return files


def _diff(name: str, before: bytes | None, after: bytes | None) -> list[str]:
    """A unified diff of one file; of one that is not text, only that it differs."""
    try:
        old, new = ((content or b"").decode().splitlines() for content in (before, after))
    except UnicodeDecodeError:
        return [f"{name}: not a text; it differs"]
    sources = ("/dev/null" if before is None else name), ("/dev/null" if after is None else name)
    lines = list(difflib.unified_diff(old, new, *sources, lineterm=""))
    return lines or [f"{name}: differs in line ends only, or is empty"]


def _dotted(tables: Tables) -> dict[str, Any]:
    return {f"{table}.{key}": value for table, values in tables.items() for key, value in values.items()}
