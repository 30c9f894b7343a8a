"""Keyed digests of the images that a hospital trained on, so that these are known again wherever their files lie.

They are of the gray images at the model's size: the same picture in another file, folder or lossless format has the
same digest. They are kept with the model at the hospital, for as long as the model is used, also where the images are
not. Who has the digests without the key, which lies in a file of its own, cannot try pictures against them.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from fedward.checked_json import Length, checked_json, read_json, to_json
from fedward.errors import EvidenceError
from fedward.files import read_file, write_atomic

DIGESTS, KEY = "trained-images.json", "trained-images.key"
PRIVATE = 0o600

_BYTES = 16
_KEY_BYTES = 32
_REMEDY = "Restore it from a backup."


@dataclass(frozen=True)
class _DigestsForm:
    """`trained-images.json`."""

    format_version: Literal[1]
    digests: tuple[Annotated[bytes, Length(_BYTES)], ...]


@dataclass(frozen=True)
class _KeyForm:
    """`trained-images.key`."""

    key: Annotated[bytes, Length(_KEY_BYTES)]


def note_trained(folder: Path, images: NDArray[np.uint8]) -> None:
    """Add images to those that the model of a hospital was trained on; nothing is written where all are there.

    Args:
        folder: Where the hospital keeps its model.
        images: uint8, shape (n, height, width).

    Raises:
        EvidenceError: what is there is damaged.
        ResourceError: the folder cannot be written.

    Guarantees:
        1. Both files are of mode 0600, and neither has a picture in it.
    """
    if not (folder / KEY).exists():
        write_atomic(folder / KEY, _json(_KeyForm(secrets.token_bytes(_KEY_BYTES))), PRIVATE)
    key, known = _read_key(folder), _read_digests(folder) if has_trained(folder) else set()
    found = known | {_digest(image, key) for image in images}
    if found != known or not has_trained(folder):
        write_atomic(folder / DIGESTS, _json(_DigestsForm(1, tuple(sorted(found)))), PRIVATE)


def has_trained(folder: Path) -> bool:
    """Whether a folder has digests of the images that its model was trained on."""
    return (folder / DIGESTS).exists()


def which_trained(folder: Path, images: Iterable[NDArray[np.uint8]]) -> list[bool]:
    """For each image, whether the model of the folder was trained on it.

    Raises:
        EvidenceError, VerificationError: digests or key are missing, damaged or too large.
    """
    key, known = _read_key(folder), _read_digests(folder)
    return [_digest(image, key) in known for image in images]


def _digest(image: NDArray[np.uint8], key: bytes) -> bytes:
    return hashlib.blake2b(image.tobytes(), key=key, digest_size=_BYTES).digest()


def _read_key(folder: Path) -> bytes:
    content = read_file(folder / KEY, 1024, "The key of the trained images", _REMEDY)
    return checked_json(_KeyForm, content, f"The key in {folder / KEY}", EvidenceError, _REMEDY).key


def _read_digests(folder: Path) -> set[bytes]:
    return set(read_json(_DigestsForm, folder / DIGESTS, "The list of trained images", _REMEDY).digests)


def _json(value: object) -> bytes:
    return json.dumps(to_json(value)).encode()
