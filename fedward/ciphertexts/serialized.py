"""Check and add serialized ciphertexts, and check serialized keys, as bytes: without keys or an encryption library.

A chunk is a CKKS ciphertext (c0, c1) as Microsoft SEAL 4.1 writes it without compression: a header that the
parameters determine wholly, then the residues of the two polynomials modulo one 60-bit prime. So a chunk from
outside is well formed exactly when its header equals ours and every residue is below the prime, and a sum is the
sum of residues modulo the prime: exact, and the same bytes in any order. Server and auditor need no more than this.

Limits: a residue that was changed within range, or a chunk made under another key, is well formed. Hashes,
signatures and the context's fingerprint find those; the decoding's own checks find what they let through.

References: Cheon, Kim, Kim and Song 2017, "Homomorphic Encryption for Arithmetic of Approximate Numbers".
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.errors import EncryptionError, VerificationError
from fedward.files import sha256

RING_DEGREE = 4096
# One prime, SEAL's own choice: a special prime beside it serves multiplication and key switching; we do neither.
COEFFICIENT_MODULI = (1152921504606830593,)
COEFFICIENT_MODULUS_BITS = (60,)
# The community standard allows 109 bits of modulus at this degree for 128 bits of security, and 75 for 192; 60 are
# used (Albrecht et al. 2018, "Homomorphic Encryption Standard"). SEAL checks its table when a context is made.
SECURITY_BITS = 128

# SEAL names parameters by a hash.
_PARAMETERS = bytes.fromhex("6afd21c68eaea2fa8274edfa3723ade74760cc4465d33aa4aa8ca90de97960fe")
_REMEDY = "Discard these bytes and have the sender encrypt with this consortium's current context."


def _frame(body_bytes: int) -> bytes:
    """SEAL's frame: magic number, its own length, version 4.1, no compression, reserved, total length."""
    return struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 1, 0, 0, 16 + body_bytes)


@dataclass(frozen=True)
class Layout:
    """The byte format of one kind of object: what its header must say, part by part, and which residues follow.

    Attributes:
        name: What it is, for messages.
        parts: Names and bytes of the header's parts, in order.
        polynomials: Number of polynomials.
        moduli: The primes whose residues each polynomial has, in order.
    """

    name: str
    parts: tuple[tuple[str, bytes], ...]
    polynomials: int
    moduli: tuple[int, ...]

    @property
    def header_bytes(self) -> int:
        """Length of the header."""
        return sum(len(part) for _, part in self.parts)

    @property
    def total_bytes(self) -> int:
        """Length of the whole object; there is no other."""
        return self.header_bytes + 8 * self.polynomials * len(self.moduli) * RING_DEGREE

    def check(self, content: bytes) -> NDArray[np.uint64]:
        """Check bytes from outside, in time and memory bounded by the expected length.

        Args:
            content: Any bytes.

        Returns:
            The residues, a read-only view of the bytes: uint64, shape (polynomials, moduli, RING_DEGREE).

        Raises:
            EncryptionError: the length, any part of the header, or any residue is not as it must be.
        """
        if len(content) != self.total_bytes:
            raise EncryptionError(
                f"A {self.name} has {len(content)} bytes where {self.total_bytes} are expected.", _REMEDY
            )
        offset = 0
        for name, expected in self.parts:
            if content[offset : offset + len(expected)] != expected:
                raise EncryptionError(f"A {self.name} has another {name} than this consortium's.", _REMEDY)
            offset += len(expected)
        residues = np.frombuffer(content, dtype="<u8", offset=offset)
        residues = residues.reshape(self.polynomials, len(self.moduli), RING_DEGREE)
        if (residues >= np.array(self.moduli, dtype=np.uint64)[:, None]).any():
            raise EncryptionError(f"A {self.name} has a residue that is not below its prime.", _REMEDY)
        return residues

    def check_hiding(self, content: bytes) -> None:
        """Check as `check` does, and refuse a last polynomial of zeros: with it, the content stands unencrypted.

        Use it for what one party made, not for sums: two hospitals that conspire can make a sum's last polynomial zero.
        """
        if not self.check(content)[-1].any():
            raise EncryptionError(f"A {self.name} hides nothing: its last polynomial is zero.", _REMEDY)


def _array(words: int) -> bytes:
    """The frame and length that SEAL puts before an array of 64-bit words."""
    return _frame(8 + 8 * words) + struct.pack("<Q", words)


def _pair(name: str) -> Layout:
    """The format of two polynomials: a ciphertext, or a public key, which is an encryption of zero."""
    words = 2 * len(COEFFICIENT_MODULI) * RING_DEGREE
    array = _array(words)
    members = (
        ("parameter set (ring degree, modulus or level)", _PARAMETERS),
        ("form (it must be number-theoretically transformed)", b"\x01"),
        ("number of polynomials", struct.pack("<Q", 2)),
        ("ring degree", struct.pack("<Q", RING_DEGREE)),
        ("number of primes", struct.pack("<Q", len(COEFFICIENT_MODULI))),
        ("scale", struct.pack("<d", 1.0)),
        ("correction factor", struct.pack("<Q", 1)),
        ("array length", array),
    )
    frame = _frame(sum(len(part) for _, part in members) + 8 * words)
    return Layout(name, (("SEAL header", frame), *members), 2, COEFFICIENT_MODULI)


def _secret_key() -> Layout:
    """The format of one polynomial."""
    words = len(COEFFICIENT_MODULI) * RING_DEGREE
    array = _array(words)
    members = (
        ("parameter set (ring degree or modulus)", _PARAMETERS),
        ("number of coefficients", struct.pack("<Q", words)),
        ("scale", struct.pack("<d", 1.0)),
        ("array length", array),
    )
    frame = _frame(sum(len(part) for _, part in members) + 8 * words)
    return Layout("secret key", (("SEAL header", frame), *members), 1, COEFFICIENT_MODULI)


CIPHERTEXT = _pair("ciphertext")
PUBLIC_KEY = _pair("public key")
SECRET_KEY = _secret_key()


def check_stored(content: bytes, name: str) -> bytes:
    """Check that bytes from storage are the well-formed ciphertext of that name; for server, witness and audit alike.

    Args:
        content: Any bytes.
        name: The ciphertext's SHA-256 in lower-case hexadecimal, under which it is stored.

    Returns:
        The content.

    Raises:
        VerificationError: the content has another hash.
        EncryptionError: the content has that hash, and is not well formed.
    """
    digest = sha256(content).hex()
    if digest != name:
        raise VerificationError(
            f"The ciphertext {name} has the content of hash {digest}.",
            "Restore it from another copy, or from the hospital that sent it.",
        )
    CIPHERTEXT.check(content)
    return content


def check_ciphertext(chunk: bytes) -> None:
    """Refuse a chunk that no honest hospital sends. This needs no key, and does not tell which key the chunk is under.

    Raises:
        EncryptionError: length, ring degree, modulus, level, number of polynomials, form or scale is not ours, a
            residue is out of range, or the last polynomial is zero, which leaves the content unencrypted.
    """
    CIPHERTEXT.check_hiding(chunk)


def add_ciphertexts(left: bytes, right: bytes) -> bytes:
    """Add two ciphertexts without any key.

    Args:
        left: A chunk, or a sum of chunks.
        right: Another.

    Returns:
        The sum; as many bytes as each.

    Raises:
        EncryptionError: one of them is not a well-formed ciphertext of our parameters.

    Guarantees:
        1. The bytes equal those of SEAL's own addition.
        2. Any order of additions gives the same bytes.
    """
    prime = np.uint64(COEFFICIENT_MODULI[0])
    total = CIPHERTEXT.check(left) + CIPHERTEXT.check(right)  # below 2^61: no overflow
    # Where the total is below the prime, the difference wraps around to a huge number and loses.
    residues: bytes = np.minimum(total, total - prime).tobytes()
    return left[: CIPHERTEXT.header_bytes] + residues


def sum_ciphertexts(chunks: Iterable[bytes]) -> bytes:
    """Add ciphertexts one after the other: the server makes sums this way, and witness and audit repeat them.

    Args:
        chunks: All hospitals' chunks of one position, taken one at a time: an iterator that reads each chunk when asked
            keeps two in memory.

    Returns:
        The sum. A single chunk is returned unchecked; without any chunk, the sum is the empty bytes.

    Raises:
        EncryptionError: one of several is not a well-formed ciphertext of our parameters.
    """
    running = b""
    for chunk in chunks:
        running = add_ciphertexts(running, chunk) if running else chunk
    return running
