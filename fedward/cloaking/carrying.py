"""Carry a change of a classifier's small input up to the picture's own resolution, and nothing but that change.

A classifier reads a square of 64 by 64 pixels that was made of the picture by a Lanczos filter, and a change of the
square has to survive that filter. Resizing is linear, first along columns, then along rows: square = A grey B^T. So
among all changes of the picture that give a wanted change of the square there is a smallest one, A+ change B+^T, of the
pseudoinverses. It is bounded in each pixel, and what the bound and the picture's own limits took away is made up for in
further turns by the other pixels.

References:
    Penrose 1955, "A generalized inverse for matrices"; Bauschke and Borwein 1996, "On projection algorithms for solving
    convex feasibility problems" (projecting in turn onto the wanted change and onto the bounds).
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedward.cloaking.pictures import Picture
from fedward.types import Vector

_TURNS = 8
_NEAR = 0.2  # grey levels, root mean square: below what rounding the square to whole levels leaves


def carry(picture: Picture, square: Vector, most: float) -> NDArray[Any]:
    """Change a picture so that it is read as another square.

    Args:
        picture: The picture.
        square: float32, shape (size, size), in [0, 255]; what is to be read.
        most: How far a pixel's grey may move, in grey levels of 255.

    Returns:
        Stored values, shape (height, width). They show no more than `most`, and the rounding to a stored value, beside
        what they showed.
    """
    grey = picture.grey
    rows, columns = (_Resizing(side, len(square)) for side in grey.shape)
    least = np.where(picture.free, np.maximum(-most, picture.shown.min() - grey), np.float32(0))
    largest = np.where(picture.free, np.minimum(most, picture.shown.max() - grey), np.float32(0))
    wanted = square - rows.down @ grey @ columns.down.T
    change, missing = np.zeros_like(grey), wanted
    for _ in range(_TURNS):
        change += rows.up @ missing @ columns.up.T
        np.clip(change, least, largest, out=change)
        missing = wanted - rows.down @ change @ columns.down.T
        if float(np.sqrt(np.mean(missing**2))) < _NEAR:
            break
    return picture.moved(grey + change)


class _Resizing:
    """Resizing along one side as a matrix.

    Attributes:
        down: float32, shape (size, side); what the project's reading path does to a column of pixels.
        up: float32, shape (side, size); its pseudoinverse.
    """

    def __init__(self, side: int, size: int) -> None:
        self.down, self.up = _matrices(side, size)


@lru_cache(maxsize=4)  # pictures of one folder have few sizes
def _matrices(side: int, size: int) -> tuple[Vector, Vector]:
    """Resizing and its pseudoinverse, measured on the columns of a unit matrix."""
    unit = Image.fromarray(np.eye(side, dtype=np.float32))
    down = np.asarray(unit.resize((side, size), Image.Resampling.LANCZOS))
    return down, np.linalg.pinv(down.astype(np.float64)).astype(np.float32)
