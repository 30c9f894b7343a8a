"""Vectors shortened so that inner products stay about the same, so that a hospital need not keep its updates on disk.

A count sketch (Charikar et al. 2002, "Finding Frequent Items in Data Streams"): every coordinate goes to a drawn place,
with a drawn sign, and what comes to one place is added up. The inner product of two unit vectors is then wrong by
about one over the square root of the length.
"""

import numpy as np

from fedward.backdoor.history import Wide
from fedward.types import Vector

LENGTH = 4_096
_PURPOSE = 3  # of what is drawn from a hospital's secret; `patch_bank` has others


def sketch(values: Vector | Wide, secret: bytes, round_index: int) -> Wide:
    """A vector's sketch: float64, shape (LENGTH,); places and signs follow from the secret and the round."""
    rng = np.random.default_rng([_PURPOSE, round_index, *secret])
    places = rng.integers(LENGTH, size=len(values))
    signed = np.where(rng.integers(2, size=len(values)), values, -values).astype(np.float64)
    return np.bincount(places, signed, LENGTH).astype(np.float64)
