"""Check and add ciphertexts as bytes: without keys or an encryption library.

A ciphertext (chunk) is one polynomial of the ring modulo a 60-bit prime, in number-theoretic form: RING_DEGREE residues
of eight bytes each, least byte first, and nothing else. The other half of an RLWE ciphertext, the public polynomial,
follows from the round and the chunk's place (`fedward.ciphertexts.public_polynomials`) and is not sent. So bytes from
outside are well formed exactly when they are as long and every residue is below the prime. A sum of ciphertexts is the
sum of residues modulo the prime: exact, and the same bytes in any order. Server and auditor need no more than this.

Limits: a residue that was changed within range, or a chunk made under another key, is well formed. Hashes and
signatures find the one; the decoding's own checks find that a sum holds the other.

References: Cheon, Kim, Kim and Song 2017, "Homomorphic Encryption for Arithmetic of Approximate Numbers".
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fedward.errors import EncryptionError, VerificationError
from fedward.files import sha256

RING_DEGREE = 4096
# One prime, SEAL's own choice: a special prime beside it serves multiplication and key switching; we do neither.
MODULUS = 1152921504606830593
MODULUS_BITS = 60
CHUNK_BYTES = 8 * RING_DEGREE
# The community standard allows 109 bits of modulus at this degree for 128 bits of security, and 75 for 192; 60 are
# used (Albrecht et al. 2018, "Homomorphic Encryption Standard"). SEAL checks its table when a context is made.
SECURITY_BITS = 128

_REMEDY = "Discard these bytes and have the sender encrypt again."


def residues_of(chunk: bytes) -> NDArray[np.uint64]:
    """Check a ciphertext from outside, in time and memory bounded by the expected length.

    Args:
        chunk: Any bytes.

    Returns:
        The residues, a read-only view of the bytes: uint64, shape (RING_DEGREE,), each below the prime.

    Raises:
        EncryptionError: the length is another, or a residue is not below the prime.
    """
    if len(chunk) != CHUNK_BYTES:
        raise EncryptionError(f"A ciphertext has {len(chunk)} bytes where {CHUNK_BYTES} are expected.", _REMEDY)
    residues = np.frombuffer(chunk, dtype="<u8")
    if (residues >= np.uint64(MODULUS)).any():
        raise EncryptionError("A ciphertext has a residue that is not below its prime.", _REMEDY)
    return residues


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
    check_ciphertext(content)
    return content


def check_ciphertext(chunk: bytes) -> None:
    """Refuse a chunk that no honest hospital sends. This needs no key, and does not tell which key the chunk is under.

    Raises:
        EncryptionError: its length is another, or a residue is out of range.
    """
    residues_of(chunk)


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
        1. Any order of additions gives the same bytes.
    """
    total = residues_of(left) + residues_of(right)  # below 2^61: no overflow
    # Where the total is below the prime, the difference wraps around to a huge number and loses.
    residues: bytes = np.minimum(total, total - np.uint64(MODULUS)).tobytes()
    return residues


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
