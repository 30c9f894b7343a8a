"""Encrypt a release, the sum of the shares that a hospital holds of the included hospitals, under the channel key.

The channel key is known to all hospitals and not to the server. So hospitals open the round's sum, and the server does
not, though it carries every release.
"""

import hashlib
import os
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedward.errors import EncryptionError
from fedward.sharing.modular import Residues, from_bytes, to_bytes
from fedward.sharing.sizes import NONCE_BYTES, release_bytes
from fedward.sharing.terms import ReleaseTerms

CHANNEL_KEY_BYTES = 32
_FINGERPRINT = b"fedward channel key 1\n"


class ChannelKey:
    """A key of an epoch that hospitals share; at hospitals only.

    Attributes:
        fingerprint: 32 bytes; names the key on the ledger and in every commitment.

    Guarantees:
        1. `repr` shows the fingerprint only, pickling and copying raise, equality is identity.

    Limits: `to_bytes` returns the key in the clear; write it with mode 0600, or seal it.
    """

    __slots__ = ("_content", "fingerprint")

    def __init__(self, content: bytes) -> None:
        """Take 32 bytes; raises EncryptionError as `from_bytes` does."""
        if len(content) != CHANNEL_KEY_BYTES:
            raise EncryptionError(
                f"{len(content)} bytes are no channel key, which has {CHANNEL_KEY_BYTES}.",
                "Ask the consortium's dealer for the current key.",
            )
        self._content = bytes(content)
        self.fingerprint = hashlib.sha256(_FINGERPRINT + self._content).digest()

    @classmethod
    def generate(cls) -> "ChannelKey":
        """Draw a key from the operating system's randomness."""
        return cls(os.urandom(CHANNEL_KEY_BYTES))

    @classmethod
    def from_bytes(cls, content: bytes) -> "ChannelKey":
        """Read what `to_bytes` wrote.

        Raises:
            EncryptionError: there are not 32 bytes.
        """
        return cls(content)

    def to_bytes(self) -> bytes:
        """The key in the clear: 32 bytes."""
        return self._content

    def _cipher(self, terms: ReleaseTerms) -> ChaCha20Poly1305:
        """Encrypts and opens one hospital's release under these terms; another key for any others."""
        return ChaCha20Poly1305(
            HKDF(SHA256(), CHANNEL_KEY_BYTES, salt=None, info=terms.to_bytes()).derive(self._content)
        )

    def __repr__(self) -> str:
        return f"ChannelKey({self.fingerprint.hex()})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise EncryptionError(
            "A channel key cannot be pickled or copied.", "Write to_bytes() to a file of mode 0600, or seal it."
        )


def encrypt_release(residues: Residues, terms: ReleaseTerms, key: ChannelKey) -> bytes:
    """Encrypt a release.

    Args:
        residues: uint64, shape (entries,), each below q; the sum of the shares of all dealers in the set.
        terms: What it is for.
        key: Of the round's epoch.

    Returns:
        `release_bytes(entries)` bytes; other bytes each time.
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key._cipher(terms).encrypt(nonce, to_bytes(residues), terms.to_bytes())


def decrypt_release(content: bytes, terms: ReleaseTerms, key: ChannelKey, entries: int) -> Residues:
    """Open a release.

    Args:
        content: From outside; anything.
        terms: What it must be for, from the ledger.
        key: Of the round's epoch.
        entries: How many residues it must have.

    Returns:
        uint64, shape (entries,), each below q.

    Raises:
        EncryptionError: it has another size, does not open, or a number in it is not below q; nothing else, whatever
            the bytes.
    """
    remedy = "Do without it where enough others are right, and name the hospital in the ballot."
    if len(content) != release_bytes(entries):
        raise EncryptionError(
            f"The release of {terms.hospital} has {len(content):,} bytes where {release_bytes(entries):,} belong.",
            remedy,
        )
    nonce, sealed = content[:NONCE_BYTES], content[NONCE_BYTES:]
    try:
        plain = key._cipher(terms).decrypt(nonce, sealed, terms.to_bytes())
    except InvalidTag as error:
        raise EncryptionError(
            f"The release of {terms.hospital} does not open: it is for another sum, under another key, or changed.",
            remedy,
        ) from error
    try:
        return from_bytes(plain)
    except EncryptionError as error:
        raise EncryptionError(f"A number in the release of {terms.hospital} is not below the prime.", remedy) from error
