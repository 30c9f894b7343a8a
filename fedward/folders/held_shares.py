"""What a hospital keeps of a round's shared keys while the round runs: shares, what it answered, what it released.

FOLDER/round-0001/  dealt.npy  shares.npz  answers.json  release-updates.json  release-counts.json

All of it is readable by its owner only, and gone once a later round has begun.
"""

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from fedward.checked_json import Length, read_json, to_json
from fedward.errors import EvidenceError, VerificationError
from fedward.files import make_folder, sha256, write_atomic
from fedward.sharing.modular import Residues
from fedward.sharing.terms import ReleaseTerms
from fedward.types import SentAnswers, SentRelease

PRIVATE = 0o600
_RESTORE = "Restore it from a backup, or wait for the next round."


@dataclass(frozen=True)
class _Released:
    """A release, with the SHA-256 of the terms that it was given for."""

    terms: Annotated[bytes, Length(32)]
    sent: SentRelease


class HeldShares:
    """Reads and writes what belongs to rounds' shared keys; every file is whole or not there.

    Guarantees:
        1. For each round and purpose one release is kept, and it is on the disk before it is returned. A release for
           other terms is refused from then on, also after a crash, as long as the round's files are there; when they are
           gone, so are the shares that another release would need.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep_dealt(self, round_index: int, shares: Residues) -> None:
        """Keep the shares that this hospital deals, until it has stated what others must answer about them."""
        buffer = io.BytesIO()
        np.save(buffer, shares, allow_pickle=False)
        self._write(round_index, "dealt.npy", buffer.getvalue())

    def dealt(self, round_index: int) -> Residues | None:
        """The shares that this hospital dealt: uint64, shape (hospitals, width); None where it has dealt none."""
        path = self._folder(round_index) / "dealt.npy"
        return np.load(io.BytesIO(_read(path)), allow_pickle=False) if path.exists() else None

    def forget_dealt(self, round_index: int) -> None:
        """Remove the shares that this hospital dealt."""
        (self._folder(round_index) / "dealt.npy").unlink(missing_ok=True)

    def keep_shares(self, round_index: int, shares: Mapping[int, Residues]) -> None:
        """Keep the shares that others dealt to this hospital, by the dealer's place on the roster."""
        buffer = io.BytesIO()
        arrays = {str(place): share for place, share in shares.items()}
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self._write(round_index, "shares.npz", buffer.getvalue())

    def shares(self, round_index: int) -> dict[int, Residues]:
        """The shares that others dealt to this hospital, by place; none where it kept none.

        Raises:
            EvidenceError: the file is damaged.
        """
        path = self._folder(round_index) / "shares.npz"
        if not path.exists():
            return {}
        try:
            with np.load(io.BytesIO(_read(path)), allow_pickle=False) as arrays:
                return {int(place): arrays[place] for place in arrays}
        except (OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
            raise EvidenceError(f"{path} is damaged ({error}).", _RESTORE) from error

    def keep_answers(self, round_index: int, sent: SentAnswers) -> None:
        """Keep what this hospital answers, before the answers leave."""
        self._write(round_index, "answers.json", json.dumps(to_json(sent)).encode())

    def answers(self, round_index: int) -> SentAnswers | None:
        """What this hospital answered in a round; None before it has."""
        path = self._folder(round_index) / "answers.json"
        return read_json(SentAnswers, path, "The record of answers", _RESTORE) if path.exists() else None

    def release(self, terms: ReleaseTerms) -> SentRelease | None:
        """What this hospital released under these terms; None where it has released nothing for this purpose yet.

        Raises:
            VerificationError: it has released its part for another set, sum or moment of the ledger.
            EvidenceError: the file is damaged.
        """
        path = self._release_file(terms)
        if not path.exists():
            return None
        kept = read_json(_Released, path, "The record of a release", _RESTORE)
        if kept.terms != sha256(terms.to_bytes()):
            raise VerificationError(
                f"For round {terms.round_index} this hospital has released its part of another sum's key already.",
                "Release nothing more: the difference of two sums would show single hospitals' updates.",
            )
        return kept.sent

    def keep_release(self, terms: ReleaseTerms, sent: SentRelease) -> SentRelease:
        """Write a release down before it leaves; returns what is on the disk.

        Raises:
            VerificationError: as `release`.
        """
        earlier = self.release(terms)
        if earlier:
            return earlier
        kept = _Released(sha256(terms.to_bytes()), sent)
        self._write(terms.round_index, self._release_file(terms).name, json.dumps(to_json(kept)).encode())
        return sent

    def forget_before(self, round_index: int) -> None:
        """Remove everything of earlier rounds: nobody may ask for it any more."""
        for folder in self._path.glob("round-*"):
            if folder.name < self._folder(round_index).name:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, round_index: int) -> Path:
        return self._path / f"round-{round_index:06d}"

    def _release_file(self, terms: ReleaseTerms) -> Path:
        return self._folder(terms.round_index) / f"release-{terms.purpose.name.lower()}.json"

    def _write(self, round_index: int, name: str, content: bytes) -> None:
        make_folder(self._folder(round_index))
        write_atomic(self._folder(round_index) / name, content, PRIVATE)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read ({error}).", _RESTORE) from error
