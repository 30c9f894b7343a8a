"""What the server keeps about shared keys: sealed shares for a while, and for good who dealt and released what.

shares/<sha256> (sealed shares, until the round is decided)  dealings/round-0001.json  releases/round-0001-updates.json

Nothing here is secret from the server: shares are sealed to hospitals, releases are encrypted under their channel key.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fedward.checked_json import Length, read_json, to_json
from fedward.errors import VerificationError
from fedward.files import make_folder, read_file, sha256, write_atomic, writing
from fedward.folders.ciphertexts import Digest
from fedward.sharing.signed import SentAnswers, SentRelease
from fedward.sharing.terms import Purpose
from fedward.types import Address

MAX_SHARE_BYTES = 1024 * 1024
_RESTORE = "Restore that file from a backup."


@dataclass(frozen=True)
class Dealings:
    """What a round's dealings were judged by.

    Attributes:
        ledger_head: 32 bytes; where the ledger stood after the last of them.
        hashes: By dealer: SHA-256 of the sealed shares, in roster order.
        answers: What hospitals answered.
    """

    ledger_head: Annotated[bytes, Length(32)]
    hashes: Mapping[Address, tuple[Digest, ...]]
    answers: tuple[SentAnswers, ...]


class ShareFolder:
    """Sealed shares, each under its SHA-256, until they are forgotten.

    They are not flushed to the disk: whatever stops the server ends the round, and no other round needs them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def store(self, sealed: bytes) -> Path:
        """Keep a sealed share."""
        make_folder(self.path)
        path = self.path / sha256(sealed).hex()
        with writing(path, flushed=False) as file:
            file.write(sealed)
        return path

    def load(self, path: Path) -> bytes:
        """A sealed share.

        Raises:
            EvidenceError: it is missing or cannot be read.
            VerificationError: it has another hash than it is named by.
        """
        content = read_file(path, MAX_SHARE_BYTES, "A sealed share", "Abort the round and continue with --resume.")
        if sha256(content).hex() != path.name:
            raise VerificationError(f"The sealed share {path.name} was changed.", "Abort the round.")
        return content

    def forget(self) -> None:
        """Remove all: no round needs them any more."""
        shutil.rmtree(self.path, ignore_errors=True)


class RoundKeyRecords:
    """Who dealt and who released what, in files of a round each; every file is whole or not there."""

    def __init__(self, path: Path) -> None:
        self._dealings = path / "dealings"
        self._releases = path / "releases"

    def save_dealings(self, round_index: int, dealings: Dealings) -> None:
        """Keep a round's dealings."""
        make_folder(self._dealings)
        write_atomic(self._dealings_file(round_index), _json(to_json(dealings)))

    def save_releases(self, round_index: int, purpose: Purpose, releases: tuple[SentRelease, ...]) -> None:
        """Keep what hospitals released for one of a round's sums."""
        make_folder(self._releases)
        write_atomic(self._releases_file(round_index, purpose), _json(to_json(releases)))

    def load_releases(self, round_index: int, purpose: Purpose) -> tuple[SentRelease, ...]:
        """What hospitals released for one of a round's sums.

        Raises:
            EvidenceError: it is missing or damaged.
        """
        what = f"The file of releases of round {round_index}"
        return read_json(tuple[SentRelease, ...], self._releases_file(round_index, purpose), what, _RESTORE)

    def _dealings_file(self, round_index: int) -> Path:
        return self._dealings / f"round-{round_index:04d}.json"

    def _releases_file(self, round_index: int, purpose: Purpose) -> Path:
        return self._releases / f"round-{round_index:04d}-{purpose.name.lower()}.json"


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
