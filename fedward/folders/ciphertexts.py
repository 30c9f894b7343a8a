"""Store and read ciphertexts by their SHA-256, and the list of those that make up a round's aggregate and updates.

FOLDER/  <sha256>  round-0001.json (which ciphertexts make up the round's aggregate and each update, in order)

Whoever adds updates again, as witness or auditor, reads through the Protocol `CiphertextSource` and checks every byte.
The source is a folder today, and may be another place later.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from fedward.checked_json import Matching, read_json, to_json
from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.files import make_folder, read_file, remove_file, sha256, write_atomic
from fedward.types import Address

Digest = Annotated[str, Matching("[0-9a-f]{64}", "a SHA-256 in lower-case hexadecimal")]  # and so a safe file name

_RESTORE = "Restore that folder."


@dataclass(frozen=True)
class RoundFiles:
    """Which ciphertexts make up a round, by the hexadecimal SHA-256 that each is stored under, in order.

    Attributes:
        aggregate: Ciphertexts of the recorded sum.
        updates: Ciphertexts of each submitted update, as far as the run lists them.
    """

    aggregate: tuple[Digest, ...]
    updates: Mapping[Address, tuple[Digest, ...]]


class CiphertextSource(Protocol):
    """Where ciphertexts come from. Its readers trust nothing: they compare all that they read with the ledger."""

    def round_files(self, round_index: int) -> RoundFiles:
        """Which ciphertexts make up a round; every name is a SHA-256 in lower-case hexadecimal.

        Raises:
            EvidenceError, VerificationError: the list is missing or damaged.
        """

    def chunk(self, name: str) -> bytes:
        """The bytes that are stored under a hash; the caller compares them with it.

        However many bytes are stored, no more than a ciphertext has, and one, are read.

        Raises:
            EvidenceError, VerificationError: nothing is stored under this hash, or it cannot be a ciphertext.
        """


class CiphertextFolder:
    """A `CiphertextSource` in a folder, which also stores ciphertexts; every file is whole or not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def store(self, chunk: bytes) -> Path:
        """Keep a ciphertext under its SHA-256; the same bytes are kept once."""
        path = self.path / sha256(chunk).hex()
        if not path.exists():
            make_folder(self.path)
            write_atomic(path, chunk)
        return path

    def save_round(
        self, round_index: int, aggregate: Sequence[Path], updates: Mapping[Address, Sequence[Path]]
    ) -> None:
        """Write down which ciphertexts make up a round, for hospitals that were away, and for auditors."""
        names = {address: tuple(path.name for path in paths) for address, paths in updates.items()}
        content = RoundFiles(tuple(path.name for path in aggregate), names)
        write_atomic(self._round_file(round_index), json.dumps(to_json(content), indent=1).encode())

    def load_aggregate(self, round_index: int) -> tuple[bytes, ...]:
        """The ciphertexts of a round's aggregate.

        Raises:
            EvidenceError: one of them is missing.
        """
        what = f"The aggregate of round {round_index}"
        files = read_json(RoundFiles, self._round_file(round_index), what, _RESTORE)
        return tuple(read_file(self.path / name, CHUNK_BYTES, what, _RESTORE) for name in files.aggregate)

    def rounds(self) -> tuple[int, ...]:
        """The rounds whose ciphertexts are listed, in order."""
        found = (path.stem.removeprefix("round-") for path in self.path.glob("round-*.json"))
        return tuple(sorted(int(name) for name in found if name.isdecimal()))

    def prune(self, keep: int) -> tuple[int, int]:
        """Remove the single updates of all rounds but the last. Sums stay, for hospitals that were away.

        An audit of such a round says that evidence is missing: nobody can add its updates again.

        Args:
            keep: Of how many of the last rounds updates are kept.

        Returns:
            How many ciphertexts were removed, and how many bytes these had.

        Raises:
            EvidenceError: the list of a round is damaged. Nothing was removed.
            ResourceError: a file cannot be removed.
        """
        files = {index: self.round_files(index) for index in self.rounds()}
        before = max(files, default=0) - keep + 1
        kept = {name for one in files.values() for name in one.aggregate}
        kept |= {
            name for index, one in files.items() if index >= before for part in one.updates.values() for name in part
        }
        old = {name for index, one in files.items() if index < before for part in one.updates.values() for name in part}
        gone = [path for path in (self.path / name for name in sorted(old - kept)) if path.exists()]
        size = sum(path.stat().st_size for path in gone)
        for path in gone:
            remove_file(path)
        return len(gone), size

    def round_files(self, round_index: int) -> RoundFiles:
        """See `CiphertextSource`.

        Raises:
            EvidenceError: the list is missing or damaged.
        """
        what = f"The list of ciphertexts of round {round_index}"
        return read_json(RoundFiles, self._round_file(round_index), what, _RESTORE)

    def chunk(self, name: str) -> bytes:
        """See `CiphertextSource`.

        Raises:
            EvidenceError: it is missing or cannot be read.
            VerificationError: it is longer than a ciphertext.
        """
        return read_file(self.path / name, CHUNK_BYTES, "The ciphertext", _RESTORE)

    def _round_file(self, round_index: int) -> Path:
        return self.path / f"round-{round_index:04d}.json"
