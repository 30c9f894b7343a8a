"""The key board: the public place where hospitals and dealer leave cards, sealed keys and sealed models.

Nothing secret is on it: everything there is public, or sealed to one hospital.

FOLDER/  cards/<address>.card  epoch-0001/<address>.sealed  models/<address>.sealed

Whoever keeps the board can lose, withhold or replace files, and can do nothing else: every reader checks signatures.
"""

from pathlib import Path
from typing import Protocol

from fedward.files import make_folder, read_file, write_atomic
from fedward.types import Address

MAX_FILE_BYTES = 8 * 1024 * 1024


class KeyBoard(Protocol):
    """Where hospitals leave and find what is meant for each other: a folder today, another place later.

    What is loaded is checked for nothing but its size. Loading raises `EvidenceError` where nothing is there or it
    cannot be read, and `VerificationError` where it is larger than any that was ever left; leaving raises
    `ResourceError` where the board cannot be written.
    """

    def save_card(self, hospital: Address, content: bytes) -> None:
        """Leave a hospital's signed sealing key."""

    def load_card(self, hospital: Address) -> bytes:
        """A hospital's signed sealing key."""

    def save_sealed_key(self, key_epoch: int, hospital: Address, content: bytes) -> None:
        """Leave a sealed key for a hospital."""

    def load_sealed_key(self, key_epoch: int, hospital: Address) -> bytes:
        """A hospital's sealed key."""

    def save_model(self, hospital: Address, content: bytes) -> None:
        """Leave a sealed model for a hospital that joins."""

    def load_model(self, hospital: Address, limit: int) -> bytes:
        """A hospital's sealed model, of at most so many bytes."""


class KeyBoardFolder:
    """A `KeyBoard` in a folder; every file is whole or not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save_card(self, hospital: Address, content: bytes) -> None:
        """Leave a hospital's signed sealing key."""
        self._save(self._card(hospital), content)

    def load_card(self, hospital: Address) -> bytes:
        """A hospital's signed sealing key; raises as `load_sealed_key` does."""
        what = f"The sealing key of {hospital}"
        return read_file(self._card(hospital), MAX_FILE_BYTES, what, "Ask that hospital for its card.")

    def save_sealed_key(self, key_epoch: int, hospital: Address, content: bytes) -> None:
        """Leave a sealed key for a hospital."""
        self._save(self._epoch(key_epoch) / f"{hospital}.sealed", content)

    def load_sealed_key(self, key_epoch: int, hospital: Address) -> bytes:
        """A hospital's sealed key; nothing about it is checked but its size.

        Raises:
            EvidenceError: there is none, or it cannot be read.
            VerificationError: it is larger than any that was ever left here.
        """
        path = self._epoch(key_epoch) / f"{hospital}.sealed"
        what = f"The key of epoch {key_epoch} for {hospital}"
        return read_file(path, MAX_FILE_BYTES, what, "Ask the dealer to seal it.")

    def save_model(self, hospital: Address, content: bytes) -> None:
        """Leave a sealed model for a hospital that joins."""
        self._save(self._model(hospital), content)

    def load_model(self, hospital: Address, limit: int) -> bytes:
        """A hospital's sealed model, of at most so many bytes; raises as `load_sealed_key` does."""
        remedy = "Ask another hospital to hand the model over."
        return read_file(self._model(hospital), limit, f"The model for {hospital}", remedy)

    def save_checkpoint(self, hospital: Address, content: bytes) -> None:
        """Leave a hospital's last checkpoint for the others to compare with what they are shown."""
        self._save(self._checkpoint(hospital), content)

    def load_checkpoint(self, hospital: Address) -> bytes:
        """A hospital's last checkpoint; raises as `load_sealed_key` does."""
        what, remedy = f"The checkpoint of {hospital}", "It comes with that hospital's next round."
        return read_file(self._checkpoint(hospital), MAX_FILE_BYTES, what, remedy)

    def _checkpoint(self, hospital: Address) -> Path:
        return self.path / "checkpoints" / f"{hospital}.json"

    def _model(self, hospital: Address) -> Path:
        return self.path / "models" / f"{hospital}.sealed"

    def _card(self, hospital: Address) -> Path:
        return self.path / "cards" / f"{hospital}.card"

    def _epoch(self, key_epoch: int) -> Path:
        return self.path / f"epoch-{key_epoch:04d}"

    def _save(self, path: Path, content: bytes) -> None:
        make_folder(path.parent)
        write_atomic(path, content)
