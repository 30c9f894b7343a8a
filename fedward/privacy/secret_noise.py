"""Secret randomness for differential privacy: Poisson sampling and Gaussian noise from the operating system's bytes.

A seed that anybody could learn, or a generator whose state follows from its output, would undo the guarantee: whoever
knows the noise subtracts it. The system's generator costs 60 milliseconds for the noise of a million coordinates, so
nothing between it and the noise has to be trusted. No setting reaches the `source` argument; tests give it.

Floating-point samplers leave traces of what they were added to in the low-order bits (Mironov 2012, "On Significance
of the Least Significant Bits for Differential Privacy"). Therefore value and noise are both rounded to one public grid
first, and added as whole numbers: see `noised` and docs/adr/0011.
"""

import math
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RandomBytes = Callable[[int], bytes]
Wide = NDArray[np.float64]

GRID_BITS = 24  # the grid's step is at most 2^-24 of the noise's deviation, and of the clip norm
_CHUNK = 1 << 20  # coordinates of noise drawn at a time: memory stays bounded


def sample(units: int, rate: float, source: RandomBytes = os.urandom) -> NDArray[np.intp]:
    """Poisson sampling: each unit is in or out by itself.

    Args:
        units: How many there are.
        rate: Probability of each, in (0, 1].
        source: Where random bytes come from.

    Returns:
        Indices of the units that are in, ascending.

    Guarantees:
        1. Each is in independently, with a probability of at most `rate` and at most 2^-64 below it.
    """
    words = np.frombuffer(source(8 * units), np.uint64)
    threshold = int(rate * 2.0**64)
    chosen = np.ones(units, np.bool_) if threshold >= 2**64 else words < np.uint64(threshold)
    return np.flatnonzero(chosen)


def gaussian(count: int, source: RandomBytes = os.urandom) -> Wide:
    """Standard normal numbers (Box and Muller 1958), from 106 random bits a pair.

    Args:
        count: How many.
        source: Where random bytes come from.

    Returns:
        float64, shape (count,). None is beyond 8.6: tails of a probability of 10^-17 are missing.
    """
    pairs = -(-count // 2)
    words = np.frombuffer(source(16 * pairs), np.uint64) >> np.uint64(11)
    uniform = (words.astype(np.float64) + 1.0) * 2.0**-53  # in (0, 1]: its logarithm is finite
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:pairs])), 2.0 * math.pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def grid_step(clip_norm: float, noise_multiplier: float) -> float:
    """The public grid's step: a power of two, so that multiples of it are exact in float64."""
    return 2.0 ** math.floor(math.log2(min(1.0, noise_multiplier) * clip_norm) - GRID_BITS)


def room_for_rounding(clip_norm: float, noise_multiplier: float, coordinates: int) -> float:
    """Largest L2 norm of a contribution before rounding, so that two sums differ by the clip norm at most after it.

    Rounding two sums to the grid moves each coordinate of their difference by a step at most. The result is never below
    half of the clip norm: it would be with 10^13 coordinates only, which fit no memory.
    """
    moved = grid_step(clip_norm, noise_multiplier) * math.sqrt(coordinates)
    return max(clip_norm / 2, clip_norm - moved) * (1 - 1e-12)


def noised(value: Wide, clip_norm: float, noise_multiplier: float, source: RandomBytes = os.urandom) -> Wide:
    """Round to the public grid and add Gaussian noise rounded to the same grid.

    Args:
        value: float64; a sum of contributions, each at most `room_for_rounding` long. Its coordinates are below
            2^28 clip norms.
        clip_norm: Bound on how far two neighboring values are apart after rounding.
        noise_multiplier: Deviation of the noise over the clip norm, above 0.
        source: Where random bytes come from.

    Guarantees:
        1. What comes out is the Gaussian mechanism of deviation `noise_multiplier * clip_norm`, rounded to the grid:
           rounding after an exact multiple of the step is added is the same as rounding before, so it is mere
           post-processing, and every output lies on the same grid whatever the value.
        2. Every coordinate has noise of its own.

    Limits:
        The rounded noise follows the rounded normal distribution as closely as double precision gives the normal
        distribution itself: it is cut off at 8.6 deviations, and the borders of the grid's cells are misplaced by about
        2^-26 of a cell.
    """
    step, deviation = grid_step(clip_norm, noise_multiplier), noise_multiplier * clip_norm
    wholes = np.rint(value / step)
    for start in range(0, value.size, _CHUNK):
        part = wholes[start : start + _CHUNK]
        part += np.rint(gaussian(part.size, source) * (deviation / step))
    return np.asarray(wholes * step, np.float64)
