"""Ciphertexts by their hashes, and which of them make up a round: how they are read, and the folder that keeps them.

FOLDER/  <sha256>  round-0001.json (which ciphertexts make up the round's aggregate and each update, in order)

Whoever adds updates again, as witness or auditor, reads through `CiphertextSource` and checks every byte: a folder
today, another way of fetching them later.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedward.ciphertexts.serialized import CIPHERTEXT
from fedward.errors import EvidenceError
from fedward.files import make_folder, parse_json, sha256, write_atomic
from fedward.types import Address

_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class RoundFiles:
    """Which ciphertexts make up a round, by the hexadecimal SHA-256 that each is stored under, in order.

    Attributes:
        aggregate: The recorded sum's.
        updates: Each submitted update's, as far as the run lists them.
    """

    aggregate: tuple[str, ...]
    updates: Mapping[Address, tuple[str, ...]]


class CiphertextSource(Protocol):
    """Where ciphertexts come from. Nothing that it gives is believed: what is read is compared with the ledger."""

    def round_files(self, round_index: int) -> RoundFiles:
        """Which ciphertexts make up a round; every name is a SHA-256 in lower-case hexadecimal.

        Raises:
            EvidenceError, VerificationError: this is not known, or what is known is damaged.
        """

    def chunk(self, name: str) -> bytes:
        """The ciphertext that is stored under a hash, which may be another's; no more bytes than one has, and one.

        Raises:
            EvidenceError, VerificationError: it is not here, or cannot be one.
        """


class CiphertextFolder:
    """Keeps and gives ciphertexts; every file is whole or not there."""

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
        """Write down which ciphertexts make up a round: what an absent hospital, and an auditor, will ask for."""
        names = {address: [path.name for path in paths] for address, paths in updates.items()}
        content = {"aggregate": [path.name for path in aggregate], "updates": names}
        write_atomic(self._round_file(round_index), json.dumps(content, indent=1).encode())

    def load_aggregate(self, round_index: int) -> tuple[bytes, ...]:
        """The ciphertexts of a round's aggregate.

        Raises:
            EvidenceError: one of them is missing.
        """
        try:
            names = parse_json(self._round_file(round_index).read_bytes())["aggregate"]
            return tuple((self.path / name).read_bytes() for name in names)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvidenceError(
                f"The aggregate of round {round_index} is missing from {self.path}.", "Restore that folder."
            ) from error

    def round_files(self, round_index: int) -> RoundFiles:
        """See `CiphertextSource`.

        Raises:
            EvidenceError: this is not known, or a name is none of a ciphertext.
        """
        path = self._round_file(round_index)
        try:
            fields = parse_json(path.read_bytes())
            aggregate = tuple(fields["aggregate"])
            updates = {Address(address): tuple(names) for address, names in fields["updates"].items()}
            damaged = not all(_HASH.fullmatch(name) for names in (aggregate, *updates.values()) for name in names)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvidenceError(f"{path} is missing or damaged.", "Restore that file from a backup.") from error
        if damaged:
            raise EvidenceError(f"{path} names something else than hashes.", "Restore that file from a backup.")
        return RoundFiles(aggregate, updates)

    def chunk(self, name: str) -> bytes:
        """See `CiphertextSource`.

        Raises:
            EvidenceError: it is missing or cannot be read.
        """
        path = self.path / name
        try:
            with path.open("rb") as file:
                return file.read(CIPHERTEXT.total_bytes + 1)
        except OSError as error:
            raise EvidenceError(
                f"The ciphertext {path} could not be read: {error.strerror or error}.", "Restore that folder."
            ) from error

    def _round_file(self, round_index: int) -> Path:
        return self.path / f"round-{round_index:04d}.json"
