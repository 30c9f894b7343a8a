"""A hospital's files that show images, sealed on its disk: AES-256-GCM under a key that only its keystore gives.

With `image-encryption.method` set, nothing that a person could look at lies on a hospital's disk in the clear
(docs/adr/0038). A sealed file is a line that says what it is, a salt, and the content in pieces. Each file has a key of
its own, derived from the hospital's and the salt. In it a piece's nonce is its place, with a mark on the last one: so
no nonce serves twice, and pieces that are cut off, moved or taken from another file do not open.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedward.errors import DataError
from fedward.files import opened_regular, writing
from fedward.types import HospitalId

KEY_BYTES = 32
PIECE_BYTES = 16 * 2**20  # the library seals less than 2 GiB at once, and a partition may have more

_FIRST_LINE = b"fedward sealed file 1\n"
_SALT_BYTES, _TAG_BYTES = 32, 16
_PURPOSE = b"Fedward: one sealed file of a hospital, version 1"
_REMEDY = "Restore the hospital's folder, with its keys, from one backup; or enroll again."


@dataclass(frozen=True)
class ImageKey:
    """Seals and opens the files of one hospital.

    Attributes:
        hospital: Its name; a file that was sealed under another does not open.
        secret: 32 bytes from its keystore; not in `repr`.
    """

    hospital: HospitalId
    secret: bytes = field(repr=False)


def write_sealed(path: Path, content: bytes | memoryview, key: ImageKey) -> None:
    """Write a sealed file, readable by its owner only; other bytes each time.

    Args:
        path: Where to; the file's name is sealed in, so that no file can be taken for another.
        content: What is not to be seen.
        key: The hospital's.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.

    Guarantees:
        1. Nothing of the content reaches the disk in the clear, no temporary file either.
        2. No two pieces, of whatever files, are sealed under the same key and nonce.
    """
    salt, view = secrets.token_bytes(_SALT_BYTES), memoryview(content)
    cipher, about = _cipher(key, salt), _about(key, path)
    pieces = max(1, -(-len(view) // PIECE_BYTES))
    with writing(path, 0o600) as file:
        file.write(_FIRST_LINE + salt)
        for index in range(pieces):
            piece = view[index * PIECE_BYTES : (index + 1) * PIECE_BYTES]
            file.write(cipher.encrypt(_nonce(index, index == pieces - 1), piece, about))


def read_sealed(path: Path, key: ImageKey) -> bytearray:
    """The content of a sealed file.

    Raises:
        OSError: the file is missing or cannot be read.
        DataError: it is damaged, cut short, no sealed file, or sealed by another hospital, for another name, or under
            another key.
    """
    content = bytearray()
    with opened_regular(path, through_link=True) as file:
        if file.read(len(_FIRST_LINE)) != _FIRST_LINE:
            raise _unopened(path)
        cipher, about = _cipher(key, file.read(_SALT_BYTES)), _about(key, path)
        try:
            for index, (piece, last) in zip(count(), _pieces(file), strict=False):
                content += cipher.decrypt(_nonce(index, last), piece, about)
        except InvalidTag as error:
            raise _unopened(path) from error
    return content


def _pieces(file: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The sealed pieces that follow in a file, each with whether it is the last; there is one at least."""
    piece = file.read(PIECE_BYTES + _TAG_BYTES)
    while True:
        following = file.read(PIECE_BYTES + _TAG_BYTES)
        yield piece, not following
        if not following:
            return
        piece = following


def _cipher(key: ImageKey, salt: bytes) -> AESGCM:
    """The cipher of one file."""
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=_PURPOSE).derive(key.secret))


def _about(key: ImageKey, path: Path) -> bytes:
    """What is sealed in beside the content: whose file it is, and which."""
    return json.dumps([key.hospital, path.name]).encode()


def _nonce(index: int, last: bool) -> bytes:
    """12 bytes: a piece's place, and whether it is the last."""
    return index.to_bytes(11, "big") + bytes([last])


def _unopened(path: Path) -> DataError:
    return DataError(f"{path} does not open: it is damaged, or sealed under another hospital's name or key.", _REMEDY)
