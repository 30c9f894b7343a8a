"""Public polynomials follow from round and place, are uniform, and have no residue that is not below the prime."""

import hashlib

import numpy as np
import pytest

from fedward.ciphertexts import public_polynomials as module
from fedward.ciphertexts.public_polynomials import public_polynomial
from fedward.ciphertexts.serialized import MODULUS, RING_DEGREE

SEED = bytes(range(32))


def test_the_same_for_everybody_and_another_for_each_place_and_seed() -> None:
    one = public_polynomial(SEED, 0)
    assert np.array_equal(one, public_polynomial(SEED, 0))
    assert not np.array_equal(one, public_polynomial(SEED, 1))
    assert not np.array_equal(one, public_polynomial(SEED[::-1], 0))


def test_it_is_read_from_shake_256_in_order() -> None:
    """By hand: the definition, one word at a time."""
    stream = hashlib.shake_256(b"fedward public polynomial 2\n" + (3).to_bytes(8, "little") + SEED).digest(8 * 5000)
    words = [int.from_bytes(stream[8 * place : 8 * place + 8], "little") % 2**60 for place in range(5000)]
    expected = [word for word in words if word < MODULUS][:RING_DEGREE]
    assert public_polynomial(SEED, 3).tolist() == expected


def test_words_that_are_not_below_the_prime_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """So seldom in earnest (one word in 2^46) that a prime of half the size stands in for it."""
    monkeypatch.setattr(module, "_Q", np.uint64(2**59))
    assert public_polynomial(SEED, 0).size == RING_DEGREE
    assert public_polynomial(SEED, 0).max() < 2**59


def test_residues_fill_their_range() -> None:
    drawn = np.concatenate([public_polynomial(SEED, place) for place in range(16)]) / MODULUS
    assert np.histogram(drawn, 16, (0, 1))[0] == pytest.approx(4096, abs=6 * np.sqrt(4096))
