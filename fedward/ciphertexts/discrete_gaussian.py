"""Sample the discrete Gaussian distribution exactly: the errors that hide a message in a ciphertext.

Sampled by inversion of the distribution function: a uniform real number in (0, 1) is drawn bit by bit, only as far as
is needed to tell between which two values of the function it lies. Sixteen bits decide all but one in 500 numbers
(deviation 6.4), 64 all but one in 2^55; for these, further bits are drawn and compared with the function to as many
places. So the distribution is exact: it is not rounded to a table's precision.

Limits: which bytes of a table are read depends on the numbers drawn, which a process on the same processor might
observe (a cache attack).

References: Devroye 1986, "Non-Uniform Random Variate Generation", II.2 (inversion); Knuth and Yao 1976 (bit by bit).
"""

import bisect
import functools
import math
import os
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

RandomBytes = Callable[[int], bytes]

_WORD_BITS = 64
_LOW_48 = np.uint64(2**48 - 1)
_UNDECIDED = np.iinfo(np.int16).min
_GUARD_BITS = 64  # beyond the bits that are asked for, against the rounding of sums


def discrete_gaussian(count: int, deviation: Fraction, source: RandomBytes = os.urandom) -> NDArray[np.int64]:
    """Draw numbers x with a probability in proportion to exp(-x^2 / (2 * deviation^2)).

    Args:
        count: How many.
        deviation: The distribution's parameter; where above 1, its standard deviation to within 10^-8.
        source: Where random bytes come from; no setting reaches it, tests give it.

    Returns:
        int64, shape (count,).

    Guarantees:
        1. The distribution is exact: no tail is cut off, and no probability is rounded.
    """
    first = np.frombuffer(source(2 * count), "<u2")
    drawn: NDArray[np.int64] = _table(deviation)[first].astype(np.int64)
    open_places = np.flatnonzero(drawn == _UNDECIDED)
    rest = np.frombuffer(source(8 * open_places.size), "<u8") & _LOW_48
    words = first[open_places].astype(np.uint64) << np.uint64(48) | rest
    drawn[open_places] = _decide(words, deviation, source)
    return drawn


def _decide(words: NDArray[np.uint64], deviation: Fraction, source: RandomBytes) -> NDArray[np.int64]:
    """The numbers for uniform reals that begin with these 64 bits."""
    largest, borders = _borders(deviation, _WORD_BITS)
    table = np.array(borders, np.uint64)
    above = np.searchsorted(table, words, side="right")
    drawn = above.astype(np.int64) - largest
    inside = (above > 0) & (above < table.size)
    nearest = np.clip(above, 1, table.size - 1)
    # Borders are known to within a unit; a real's first 64 bits place it within another.
    clear = inside & (words - table[nearest - 1] > 1) & (table[nearest] - words > 2)
    for place in np.flatnonzero(~clear):
        drawn[place] = _resolve(int(words[place]), deviation, source)
    return drawn


def _resolve(word: int, deviation: Fraction, source: RandomBytes) -> int:
    """The number for a uniform real that begins with these 64 bits: more bits are drawn until it is decided."""
    bits = _WORD_BITS
    while True:
        bits += _WORD_BITS
        word = word << _WORD_BITS | int.from_bytes(source(8), "little")
        largest, borders = _borders(deviation, bits)
        above = bisect.bisect_right(borders, word)
        if 0 < above < len(borders) and word - borders[above - 1] > 1 and borders[above] - word > 2:
            return above - largest


@functools.cache
def _table(deviation: Fraction) -> NDArray[np.int16]:
    """The number for each beginning of 16 bits, where these decide it; `_UNDECIDED` where they do not."""
    largest, borders = _borders(deviation, _WORD_BITS)
    starts = [beginning << 48 for beginning in range(2**16)]
    table = np.full(2**16, _UNDECIDED, np.int16)
    for beginning, start in enumerate(starts):
        above = bisect.bisect_right(borders, start)
        if 0 < above < len(borders) and start - borders[above - 1] > 1 and borders[above] - start > 2**48 + 1:
            table[beginning] = above - largest
    return table


@functools.cache
def _borders(deviation: Fraction, bits: int) -> tuple[int, tuple[int, ...]]:
    """The distribution function at -largest, ..., largest - 1, times 2^bits, rounded down.

    The value x is drawn for a uniform real between the function at x - 1 and at x. The probability beyond `largest` is
    less than one unit.
    """
    largest = math.ceil(float(deviation) * math.sqrt(2 * math.log(2) * (bits + 8)))
    masses = [_mass(value, deviation, bits) for value in range(largest + 1)]
    whole = masses[0] + 2 * sum(masses[1:])
    below, borders = 0, []
    for value in range(-largest, largest):
        below += masses[abs(value)]
        borders.append((below << bits) // whole)
    return largest, tuple(borders)


def _mass(value: int, deviation: Fraction, bits: int) -> int:
    """exp(-value^2 / (2 * deviation^2)) in units of 2^-(bits + guard), by Taylor's series of its 2^-k-th power."""
    precision = bits + 2 * _GUARD_BITS
    exponent = Fraction(value * value) / (2 * deviation * deviation)
    halvings = max(0, math.ceil(math.log2(float(exponent) + 1)) + 4)
    part = (exponent.numerator << precision) // (exponent.denominator << halvings)
    term = total = 1 << precision
    for order in range(1, precision):
        term = -(term * part >> precision) // order
        if not term or term == -1:
            break
        total += term
    for _ in range(halvings):
        total = total * total >> precision
    return total >> _GUARD_BITS
