"""Exact arithmetic modulo the ciphertexts' prime q = 2^60 - 16383, on NumPy arrays of 64-bit numbers.

A product of two numbers below q has up to 120 bits, and NumPy has 64. Both factors are cut into halves of 30 bits, and
2^60 is replaced by 16383, which it equals modulo q, wherever it turns up.

Limits: timing depends on no value here, but nothing is promised for what NumPy and the processor make of that.
"""

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertexts.serialized import MODULUS as MODULUS  # for those who compute modulo it
from fedward.errors import EncryptionError

RandomBytes = Callable[[int], bytes]
Residues = NDArray[np.uint64]

RESIDUE_BYTES = 8
_REMEDY = "Ask the hospital that sent it to send it again."
_Q = np.uint64(MODULUS)
_FOLD = np.uint64(2**60 - MODULUS)  # what 2^60 is modulo q: 16383
_30, _60 = np.uint64(30), np.uint64(60)
_LOW_30, _LOW_60 = np.uint64(2**30 - 1), np.uint64(2**60 - 1)


def add(left: Residues, right: Residues) -> Residues:
    """The sums: uint64, below q, as both are."""
    total = left + right  # below 2^61
    return np.asarray(np.minimum(total, total - _Q))  # below q the difference wraps around to a huge number and loses


def subtract(left: Residues, right: Residues) -> Residues:
    """The differences: uint64, below q, as both are."""
    difference = left - right  # wraps around where it is negative
    return np.asarray(np.minimum(difference, difference + _Q))


def multiply(left: Residues, right: Residues | np.uint64) -> Residues:
    """The products: uint64, below q, as both are."""
    high_left, low_left = left >> _30, left & _LOW_30
    high_right, low_right = right >> _30, right & _LOW_30
    middle = high_left * low_right
    middle += low_left * high_right  # counts 2^30; below 2^61
    high = high_left * high_right  # counts 2^60, so it counts 16383
    middle += (high >> _30) * _FOLD  # the high half of `high` counts 2^30 * 16383
    high &= _LOW_30
    high += middle >> _30  # below 2^32
    high *= _FOLD
    middle &= _LOW_30
    middle <<= _30
    middle += high
    middle += low_left * low_right  # below 2^62
    return _reduce(middle)


def scale(values: Residues, factors: Residues | np.uint64) -> Residues:
    """The products with small factors: uint64, below q.

    Args:
        values: uint64, below q.
        factors: uint64, at most 2^30; one for each value, or one for each row.
    """
    total = _fold_2_30((values >> _30) * factors)
    total += (values & _LOW_30) * factors
    return _reduce(total)


def total(values: Residues) -> int:
    """The sum of all, modulo q: at most 2^32 of them, each below q."""
    high, low = int((values >> _30).sum()), int((values & _LOW_30).sum())
    return ((high << 30) + low) % MODULUS


def powers(base: int, count: int) -> Residues:
    """base^1 to base^count modulo q: uint64, shape (count,). By doubling: as many steps as `count` has bits."""
    found = np.array([base % MODULUS], np.uint64)
    while found.size < count:
        found = np.concatenate([found, multiply(found, found[-1:])])
    return found[:count]


def uniform(shape: tuple[int, ...], source: RandomBytes = os.urandom) -> Residues:
    """Uniform numbers below q from the operating system's randomness, by rejection: uint64, of this shape.

    No setting reaches `source`; tests give it.
    """
    found = np.zeros(0, np.uint64)
    wanted = int(np.prod(shape))
    while found.size < wanted:
        words = np.frombuffer(source(8 * (wanted - found.size)), "<u8") & _LOW_60
        found = np.concatenate([found, words[words < _Q]])
    return found.reshape(shape)


def to_bytes(values: Residues) -> bytes:
    """Numbers as little-endian 64-bit words, nothing before or after."""
    return np.ascontiguousarray(values, "<u8").tobytes()


def from_bytes(content: bytes) -> Residues:
    """Read what `to_bytes` wrote: uint64, shape (entries,), each below q.

    Raises:
        EncryptionError: the content has no whole number of words, or one is not below q; nothing else.
    """
    if len(content) % RESIDUE_BYTES:
        raise EncryptionError(f"{len(content)} bytes are no whole number of 64-bit words.", _REMEDY)
    values = np.frombuffer(content, "<u8").astype(np.uint64)
    if (values >= _Q).any():
        raise EncryptionError("A number that should be a residue is not below the prime.", _REMEDY)
    return values


def _fold_2_30(counts: Residues) -> Residues:
    """As many times 2^30 modulo q, for counts below 2^61: below 2^61, not reduced."""
    return (counts >> _30) * _FOLD + ((counts & _LOW_30) << _30)


def _reduce(value: Residues) -> Residues:
    """Any 64-bit number, modulo q."""
    folded = (value >> _60) * _FOLD + (value & _LOW_60)  # below q + 2^18, and so below 2 * q
    return np.asarray(np.minimum(folded, folded - _Q))
