"""The key board as the gateway keeps it: who may leave what there, and how large it may be."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

from fedward.ciphertexts.sealing import OVERHEAD_BYTES
from fedward.errors import EvidenceError
from fedward.files import make_folder, opened_regular, write_atomic
from fedward.folders.server import ServerFolder
from fedward.hosts.members import Admitted
from fedward.learning.server_step import MOST_MOMENTS
from fedward.types import Address

MOST_CARD_BYTES = 64 * 1024  # and of a checkpoint
MOST_KEY_BYTES = 256 * 1024
MOST_EPOCH = 9999

_WEIGHT_BYTES = 4  # of a float32
_EPOCH = re.compile(r"epoch-([0-9]{4})")


class BoardRefusalError(Exception):
    """A hospital may not leave this here.

    Args:
        status: HTTP's.
        sentence: Why.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class ServerBoard:
    """Reads and writes the server's key board for hospitals.

    Args:
        folder: The server's.

    Guarantees:
        1. A card or checkpoint is left by its own hospital only. What is sealed is replaced by nobody but who left it
           first: a dealer that was interrupted seals anew, and nobody else can put something else in its place.
        2. Names are made of addresses of admitted hospitals and of small numbers: no request reaches another folder.
    """

    def __init__(self, folder: ServerFolder) -> None:
        self._server = folder
        self._board = folder.keys
        self._lock = threading.Lock()

    def load_card(self, owner: Address) -> bytes | None:
        """A hospital's card; None where there is none."""
        return _loaded(lambda: self._board.load_card(owner))

    def load_checkpoint(self, owner: Address) -> bytes | None:
        """A hospital's last checkpoint; None where there is none."""
        return _loaded(lambda: self._board.load_checkpoint(owner))

    def load_sealed_key(self, epoch: int, recipient: Address) -> bytes | None:
        """A sealed key; None where there is none."""
        return _loaded(lambda: self._board.load_sealed_key(epoch, recipient))

    def load_model(self, recipient: Address) -> bytes | None:
        """A sealed model; None where there is none. Raises as `most_model_bytes` does."""
        most = self.most_model_bytes()
        return _loaded(lambda: self._board.load_model(recipient, most))

    def most_model_bytes(self) -> int:
        """The largest sealed model of this study: weights and moments.

        Raises:
            EvidenceError: the study's record is missing or damaged.
        """
        return self._server.load_record().parameters * _WEIGHT_BYTES * (1 + MOST_MOMENTS) + OVERHEAD_BYTES

    def save_card(self, author: Admitted, owner: Address, content: bytes) -> None:
        """Leave a card.

        Raises:
            BoardRefusalError: it is another hospital's.
            ResourceError: the disk is full.
        """
        _check_own(author, owner)
        with self._lock:
            self._board.save_card(owner, content)

    def save_checkpoint(self, author: Admitted, owner: Address, content: bytes) -> None:
        """Leave a checkpoint; raises as `save_card`."""
        _check_own(author, owner)
        with self._lock:
            self._board.save_checkpoint(owner, content)

    def save_sealed_key(self, author: Admitted, epoch: int, recipient: Address, content: bytes) -> None:
        """Leave a sealed key.

        Raises:
            BoardRefusalError: another hospital left one first, or the epoch is not the latest or the next.
            ResourceError: the disk is full.
        """
        with self._lock:
            if epoch > self._latest_epoch() + 1:
                raise BoardRefusalError(409, f"There is no key of epoch {epoch - 1} yet.")
            self._claim(f"epoch-{epoch:04d}-{recipient}", author, self.load_sealed_key(epoch, recipient), content)
            self._board.save_sealed_key(epoch, recipient, content)

    def save_model(self, author: Admitted, recipient: Address, content: bytes) -> None:
        """Leave a sealed model.

        Raises:
            BoardRefusalError: another hospital left one first.
            ResourceError: the disk is full.
        """
        with self._lock:
            self._claim(f"model-{recipient}", author, self.load_model(recipient), content)
            self._board.save_model(recipient, content)

    def _claim(self, slot: str, author: Admitted, present: bytes | None, content: bytes) -> None:
        """Write down who leaves something first in a place of the board, or refuse whoever comes second."""
        if present == content:
            return
        path = self._board.path / "authors" / slot
        first = _author(path)
        if first is None and present is None:
            make_folder(path.parent)
            write_atomic(path, author.address.encode())
        elif first != author.address:
            raise BoardRefusalError(409, "Another hospital left something else here before; the administrator decides.")

    def _latest_epoch(self) -> int:
        """The latest epoch of which a key was left; 0 where there is none."""
        found = (_EPOCH.fullmatch(path.name) for path in self._board.path.glob("epoch-*"))
        return max((int(match[1]) for match in found if match), default=0)


def _check_own(author: Admitted, owner: Address) -> None:
    """Let a hospital leave in a place of its own only."""
    if author.address != owner:
        raise BoardRefusalError(403, "A hospital leaves no card or checkpoint but its own.")


def _author(path: Path) -> str | None:
    """Who left something first; None where nobody did."""
    try:
        with opened_regular(path) as file:
            return file.read(100).decode()
    except FileNotFoundError:
        return None


def _loaded(load: Callable[[], bytes]) -> bytes | None:
    try:
        return load()
    except EvidenceError:
        return None
