"""What the lab measures alike: a cipher of codes under keys that are images, and two whose answers are known.

`Plain` sends the code as it is: every attack has to succeed. `AesGcm` is AES-256-GCM: no attack may succeed.
"""

import hashlib
from typing import ClassVar, Protocol

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

Wide = NDArray[np.float64]
Bytes = NDArray[np.uint8]

NONCE = 12  # bytes
LEVELS = 256  # of a byte


class Cipher(Protocol):
    """A cipher of images' codes."""

    @property
    def name(self) -> str:
        """In tables."""
        ...

    @property
    def about(self) -> str:
        """What it is, in one phrase."""
        ...

    @property
    def low(self) -> float:
        """Next to nothing that is sent lies below."""
        ...

    @property
    def high(self) -> float:
        """Next to nothing that is sent lies above."""
        ...

    def encrypt(self, codes: Wide, keys: Bytes, nonces: Bytes) -> Wide:
        """What is sent.

        Args:
            codes: float64, shape (n, 256), values in [0, 1].
            keys: uint8, shape (n, 32, 32): an image each.
            nonces: uint8, shape (n, 12), public; one for each message, but where an attack is about that.

        Returns:
            float64, shape (n, numbers sent).
        """
        ...

    def decrypt(self, sent: Wide, keys: Bytes, nonces: Bytes) -> Wide:
        """Codes of what was sent, shape (n, 256); rows that are refused have no numbers (NaN)."""
        ...


class Plain:
    """No cipher: the code in bytes, which a key does not change."""

    name: ClassVar[str] = "none"
    about: ClassVar[str] = "no cipher: the code in bytes"
    low, high = 0.0, LEVELS - 1.0

    def encrypt(self, codes: Wide, keys: Bytes, nonces: Bytes) -> Wide:  # noqa: ARG002 - no cipher has no key
        """See `Cipher`."""
        return to_levels(codes)

    def decrypt(self, sent: Wide, keys: Bytes, nonces: Bytes) -> Wide:  # noqa: ARG002
        """See `Cipher`."""
        return sent / (LEVELS - 1)


class AesGcm:
    """AES-256-GCM of the code in bytes; the key is the SHA-256 digest of the key image, and the tag is sent as well."""

    name: ClassVar[str] = "aes-256-gcm"
    about: ClassVar[str] = "AES-256-GCM, key: SHA-256 of the key image"
    low, high = 0.0, LEVELS - 1.0

    def encrypt(self, codes: Wide, keys: Bytes, nonces: Bytes) -> Wide:
        """See `Cipher`."""
        messages = to_levels(codes).astype(np.uint8)
        sent = [
            AESGCM(_digest(key)).encrypt(nonce.tobytes(), message.tobytes(), None)
            for message, key, nonce in zip(messages, keys, nonces, strict=True)
        ]
        return np.array([np.frombuffer(each, np.uint8) for each in sent], np.float64)

    def decrypt(self, sent: Wide, keys: Bytes, nonces: Bytes) -> Wide:
        """See `Cipher`."""
        found = np.full((len(sent), sent.shape[1] - 16), np.nan)
        for row, (message, key, nonce) in enumerate(zip(sent.astype(np.uint8), keys, nonces, strict=True)):
            try:
                opened = AESGCM(_digest(key)).decrypt(nonce.tobytes(), message.tobytes(), None)
            except InvalidTag:
                continue
            found[row] = np.frombuffer(opened, np.uint8) / (LEVELS - 1)
        return found


def to_levels(codes: Wide) -> Wide:
    """Codes in [0, 1] as whole numbers from 0 to 255."""
    return np.rint(np.clip(codes, 0.0, 1.0) * (LEVELS - 1))


def in_bytes(cipher: Cipher, sent: Wide) -> Bytes:
    """What was sent, in bytes: whole numbers as they are, others between the cipher's least and most."""
    return np.asarray(to_levels((sent - cipher.low) / (cipher.high - cipher.low)), np.uint8)


def draw_nonces(rng: np.random.Generator, count: int) -> Bytes:
    """Nonces for as many messages."""
    return rng.integers(0, LEVELS, (count, NONCE), np.uint8)


def _digest(key: Bytes) -> bytes:
    return hashlib.sha256(key.tobytes()).digest()
