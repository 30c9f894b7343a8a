"""A grey picture at its own resolution and depth: its stored values, what each shows, and how to write it again.

What values show is not computed here. It is measured by the project's own reading path, on a picture that has every
value once; so whatever that path does to grey (windows, tables, inversion, ranges) is turned over exactly.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.decoding import finish
from fedward.dataset.dicom import decode_dicom, is_dicom
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.rasters import decode_raster
from fedward.types import Vector

# What a written file is: the anonymous original, a cloaked one, or one that a reader restored.
Role = Literal["original", "cloaked", "restored"]
TOLERANCE = 0.01  # grey levels of 255 by which a picture that is written again may show otherwise

_WIDTH = 256  # of the picture that has every value once


class Form(ABC):
    """How a picture's values become a file: all of it but the values.

    Attributes:
        suffix: How the file's name ends.
    """

    suffix: ClassVar[str]

    @abstractmethod
    def write(self, values: NDArray[Any], role: Role) -> bytes:
        """The bytes of a file with these values; nothing in it names a person or the source."""

    @abstractmethod
    def bare(self) -> "Form":
        """The same without what depends on a pixel's place or marks single values: shutters and padding."""


@dataclass(frozen=True)
class Picture:
    """A picture that can be changed and written again.

    Attributes:
        values: Stored values, shape (height, width), of the type that the file has.
        form: How values are written.
        low: The least stored value that shows a gray of the picture.
        shown: float32, shape (n,); grey in [0, 255] of each stored value from `low` on, rising or falling.
        grey: float32, shape (height, width), in [0, 255]; what the picture shows.
        free: bool, shape (height, width); where a change of the value shows as `shown` says. Elsewhere values stay:
            padding, what a shutter hides, what a window cuts off, and one pixel each of the least and the largest
            value, which decide how all others show.
    """

    values: NDArray[Any] = field(repr=False)
    form: Form = field(repr=False)
    low: int
    shown: Vector = field(repr=False)
    grey: Vector = field(repr=False)
    free: NDArray[np.bool_] = field(repr=False)

    def shows(self, values: NDArray[Any]) -> Vector:
        """What values of `moved` show: float32, shape (height, width), in [0, 255]."""
        places = np.clip(values.astype(np.int64) - self.low, 0, len(self.shown) - 1)
        return np.where(self.free, self.shown[places], self.grey)

    def moved(self, grey: Vector) -> NDArray[Any]:
        """The stored values that show a grey picture best, where values are free.

        Args:
            grey: float32, shape (height, width).

        Returns:
            Values of the picture's type and shape, none beyond its own least and largest.
        """
        falling = self.shown[0] > self.shown[-1]
        rising = self.shown[::-1] if falling else self.shown
        places = np.searchsorted((rising[1:] + rising[:-1]) / 2, grey)
        places = len(rising) - 1 - places if falling else places
        return np.where(self.free, places + self.low, self.values).astype(self.values.dtype)

    def write(self, values: NDArray[Any], role: Role) -> bytes:
        """A file of the picture's form with these values."""
        return self.form.write(values, role)


def grey_of(content: bytes) -> NDArray[Any]:
    """Grey at full size, as the project reads a file: shape (height, width), in [0, 255].

    Raises:
        UnreadableImageError: it gives no image.
    """
    return (decode_dicom(content) if is_dicom(content) else decode_raster(content)).grey


def square_of(content: bytes, image_size: int) -> NDArray[np.uint8]:
    """A classifier's input, as the project reads a file: uint8, shape (image_size, image_size).

    Raises:
        UnreadableImageError: it gives no image.
    """
    return finish(grey_of(content), image_size)[0]


def picture_of(
    values: NDArray[Any], form: Form, grey: NDArray[Any], padded: NDArray[np.bool_] | None = None
) -> Picture:
    """Measure what a picture's values show.

    Args:
        values: Stored values, shape (height, width).
        form: How they are written.
        grey: What the source shows, same shape.
        padded: Where the values are padding; None: nowhere.

    Raises:
        UnreadableImageError: the picture cannot be changed and written so that it reads as it does now.
    """
    inside = np.ones(values.shape, np.bool_) if padded is None else ~padded
    used = values[inside]
    low, high = (int(used.min()), int(used.max())) if used.size else (0, 0)
    if low == high:
        raise UnreadableImageError("it shows a single value, so there is nothing to change")
    again = grey_of(form.write(values, "cloaked"))
    if again.shape != grey.shape or np.abs(again.astype(np.float32) - grey).max() > TOLERANCE:
        raise UnreadableImageError("something in its header changes grey and cannot be kept without a risk of names")
    bare = form.bare()
    shown = _measured(bare, low, high, values.dtype)
    steps = np.diff(shown)
    if not ((steps >= 0).all() or (steps <= 0).all()):
        raise UnreadableImageError("its values do not rise or fall with what they show")
    places = np.clip(values.astype(np.int64) - low, 0, high - low)
    free = inside & (np.abs(shown[places] - grey) <= TOLERANCE) & ~_cut_off(shown)[places]
    if bare != form:  # what is hidden by its place may show by chance what its value would: ask with another value
        mirrored = np.where(inside, low + high - values.astype(np.int64), values).astype(values.dtype)
        free &= np.abs(shown[::-1][places] - grey_of(form.write(mirrored, "cloaked"))) <= TOLERANCE
    for extreme in (low, high):
        free.flat[int(np.argmax(inside & (values == extreme)))] = False
    if not free.any():
        raise UnreadableImageError("none of its pixels can be changed")
    return Picture(values, form, low, shown, grey.astype(np.float32), free)


def _measured(form: Form, low: int, high: int, kind: Any) -> Vector:
    """What each value shows, by a picture that has them all."""
    count = high - low + 1
    rows = -(-count // _WIDTH)
    every = np.minimum(np.arange(rows * _WIDTH) + low, high).astype(kind).reshape(rows, _WIDTH)
    return grey_of(form.write(every, "cloaked")).astype(np.float32).ravel()[:count]


def _cut_off(shown: Vector) -> NDArray[np.bool_]:
    """Which values a window cuts off: they show as the least or largest does, and so do others."""
    found = np.zeros(shown.shape, np.bool_)
    for end in (shown.min(), shown.max()):
        there = shown == end
        if there.sum() > 1:
            found |= there
    return found
