"""Originals that travel beside their cloaked images: encrypted by ChaCha20-Poly1305 under one fresh key a folder.

A nonce is the number in the file's name, so that no two files of a folder share one; and no key is used for two
folders. Folder and name are authenticated, so that no original takes another's place.
"""

import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fedward.cloaking.reader_file import FOLDER_BYTES
from fedward.errors import EncryptionError, VerificationError

KEY_BYTES = 32
SUFFIX = ".sealed"

_MAGIC = b"fedward sealed original 1\n"
_NONCE_BYTES = 12


def seal_original(content: bytes, key: bytes, folder: bytes, name: str) -> bytes:
    """Encrypt an original.

    Args:
        content: The whole file.
        key: 32 random bytes, drawn for this folder and used for no other.
        folder: 16 bytes; the folder's name in its reader file.
        name: The cloaked image's name, which no other file of the folder has.
    """
    return _MAGIC + ChaCha20Poly1305(key).encrypt(_nonce(name), content, _bound(folder, name))


def open_original(sealed: bytes, key: bytes, folder: bytes, name: str) -> bytes:
    """Decrypt what `seal_original` encrypted: bit for bit the file that it was.

    Raises:
        VerificationError: it is damaged, or another image's or folder's.
        EncryptionError: the key is none.
    """
    if len(key) != KEY_BYTES:
        raise EncryptionError("The reader file has no key for originals.", "Ask the sender to protect with --lossless.")
    try:
        return ChaCha20Poly1305(key).decrypt(_nonce(name), sealed.removeprefix(_MAGIC), _bound(folder, name))
    except InvalidTag as error:
        raise VerificationError(
            f"The original of {name} is damaged.", "Ask the sender for the folder again."
        ) from error


def sealed_name(name: str) -> str:
    """The file with an image's original: `0001.sealed` for `0001.dcm`."""
    return name.rpartition(".")[0] + SUFFIX


def _nonce(name: str) -> bytes:
    """The number in a name, as bytes."""
    return int(re.sub(r"\D", "", name.rpartition(".")[0])).to_bytes(_NONCE_BYTES, "big")


def _bound(folder: bytes, name: str) -> bytes:
    """What is authenticated with the content: lengths are fixed but for the name, which stands last."""
    if len(folder) != FOLDER_BYTES:
        raise EncryptionError("A folder is named by 16 bytes.", "Protect the images again.")
    return _MAGIC + folder + name.encode()
