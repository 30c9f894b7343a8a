"""From a coarse map of places to one of pixels: smooth, and with every place where the network saw it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.types import Vector


@dataclass(frozen=True)
class Places:
    """Where the places of a coarse map lie in the image, the same along rows and columns.

    Attributes:
        first: The pixel that the first place is centered on; between two pixels where it ends in .5.
        step: Pixels from one place to the next.
    """

    first: float
    step: int


def spread(coarse: Vector, places: Places, size: int) -> Vector:
    """Interpolate maps by cubic splines through every place (Catmull and Rom 1974), and evenly beyond the outer ones.

    A straight line between places would put the hottest pixel onto a place always; a cubic one lets it lie between two.

    Args:
        coarse: float32, shape (n, side, side).
        places: Where its places lie.
        size: Side of the image in pixels.

    Returns:
        float32, shape (n, size, size).
    """
    weights = _weights(coarse.shape[1], places, size)
    return np.asarray(weights @ coarse @ weights.T, np.float32)


def smooth(fine: Vector, deviation: float) -> Vector:
    """Mean maps over their surroundings by a Gaussian; at the border over what is inside.

    Args:
        fine: float32, shape (n, size, size).
        deviation: Of the Gaussian, in pixels.

    Returns:
        float32, same shape.
    """
    apart = np.subtract.outer(np.arange(fine.shape[1]), np.arange(fine.shape[1]))
    weights = np.exp(-((apart / deviation) ** 2) / 2)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.asarray(weights @ fine @ weights.T, np.float32)


def _weights(side: int, places: Places, size: int) -> NDArray[np.float32]:
    """How much each place counts for each row or column of pixels: shape (size, side)."""
    weights = np.zeros((size, side), np.float32)
    along = (np.arange(size) - places.first) / places.step
    before = np.floor(along).astype(np.intp)
    for place in (before - 1, before, before + 1, before + 2):
        np.add.at(weights, (np.arange(size), np.clip(place, 0, side - 1)), _cubic(np.abs(along - place)))
    return weights


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weight of a place at a distance, in places: 1 at 0, 0 at every other whole number."""
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
