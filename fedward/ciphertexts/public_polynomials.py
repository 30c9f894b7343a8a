"""Derive a round's public polynomials: uniform in the ring, and the same for everybody who knows the round.

Each ciphertext of a round is made with a polynomial of its own. Nobody chooses it: it is read from SHAKE-256 over the
round and the ciphertext's place, by rejection, so that no residue is likelier than another. Residues are in
number-theoretic form, where a uniform polynomial is uniform too.

Reference: NIST FIPS 202 (SHAKE-256); its use for public matrices is that of NIST FIPS 203 (ML-KEM), section 4.2.2.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertexts.serialized import MODULUS, RING_DEGREE
from fedward.types import Address

_Q = np.uint64(MODULUS)
_LOW_60 = np.uint64(2**60 - 1)
# Another number for each way of laying numbers into ciphertexts: hospitals of unlike versions add up to noise. With 1,
# numbers were encoded into slots.
_DOMAIN = b"fedward public polynomial 2\n"
# Words beyond the ring's degree that are read at once: with a probability below 2^-350 more must be read.
_SPARE = 8


def public_polynomial(seed: bytes, place: int) -> NDArray[np.uint64]:
    """The polynomial of one ciphertext.

    Args:
        seed: Bytes of any number that name the round and what is encrypted in it; other bytes are another seed.
        place: The ciphertext's place in the update, from 0.

    Returns:
        uint64, shape (RING_DEGREE,), each below the prime.

    Guarantees:
        1. The polynomial follows from seed and place alone, and looks as uniform as SHAKE-256's output does.
    """
    stream = hashlib.shake_256(_DOMAIN + place.to_bytes(8, "little") + seed)
    wanted = RING_DEGREE + _SPARE
    while True:
        words = np.frombuffer(stream.digest(8 * wanted), "<u8") & _LOW_60
        residues = words[words < _Q]
        if residues.size >= RING_DEGREE:
            return residues[:RING_DEGREE]
        wanted *= 2


def round_seed(chain_id: int, contract: Address, round_index: int, opening_head: bytes, purpose: str) -> bytes:
    """The seed of what is encrypted in one round for one purpose; everybody who reads the ledger makes the same.

    Args:
        chain_id: Of the ledger's chain.
        contract: The ledger.
        round_index: From 1.
        opening_head: 32 bytes; the ledger's running hash right after the round was opened.
        purpose: What is encrypted; each purpose has polynomials of its own.
    """
    ledger = chain_id.to_bytes(32, "big") + bytes.fromhex(contract.removeprefix("0x"))
    return ledger + round_index.to_bytes(8, "big") + opening_head + purpose.encode()
