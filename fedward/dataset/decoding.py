"""What every kind of image file goes through: bytes read, values of many bits to grey, grey to a square of uint8."""

import contextlib
import hashlib
import logging
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedward.dataset.problems import UnreadableImageError

MAX_PIXELS = 64_000_000  # 8,000 x 8,000: twice the largest radiograph; more is taken for a decompression bomb
MAX_FILE_BYTES = 512 * 1024 * 1024
MIN_SIDE = 8

_LEAST_WHITE = 16.0  # no radiograph on a scale to 255 stays below

_PIXELS_AT_ONCE = 1_000_000  # bounds what steps in double precision take


@dataclass(frozen=True)
class Decoded:
    """What one file gave.

    Attributes:
        image: uint8, shape (size, size).
        digest: 32 bytes; SHA-256 of shape and grey pixels at full size: equal for copies in any lossless format.
        patient: DICOM PatientID; "" otherwise.
        is_dicom: Whether the file is DICOM.
        dropped: How many fields beside the pixels were not passed on, by kind.
        burned_in: Whether the header says that text is burned into the pixels.
        notes: Counts by kind of what of the file was not used: further frames, windows that are no numbers.
    """

    image: NDArray[np.uint8]
    digest: bytes
    patient: str
    is_dicom: bool
    dropped: Counter[str]
    burned_in: bool
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class GreyImage:
    """A file's pixels at full size, before they are squashed.

    Attributes:
        grey: uint8, or float32 in [0, 255] where the file has more than 8 bits; shape (height, width).
        dropped: How many fields beside the pixels were not passed on, by kind.
        notes: Counts by kind of what of the file was not used.
        patient: DICOM PatientID; "" otherwise.
        burned_in: Whether the header says that text is burned into the pixels.
    """

    grey: NDArray[np.uint8] | NDArray[np.float32]
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    patient: str = ""
    burned_in: bool = False


@contextlib.contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silence what decoders say about odd metadata, for they quote it; and make a bomb's warning an error.

    Process-wide while it lasts: to be entered once around all decoding, not in each thread.
    """
    loggers = [logging.getLogger(name) for name in ("pydicom", "PIL")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def read_bytes(path: Path) -> bytes:
    """A file's content, if it has one of a sane size.

    Raises:
        UnreadableImageError: it is empty, too large or cannot be opened.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise UnreadableImageError("the file is empty")
        if size > MAX_FILE_BYTES:
            raise UnreadableImageError(f"the file is larger than {MAX_FILE_BYTES // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"it cannot be opened ({error.strerror})") from error


def finish(grey: NDArray[np.uint8] | NDArray[np.float32], image_size: int) -> tuple[NDArray[np.uint8], bytes]:
    """Squash grey pixels to a square with an anti-aliasing filter, and digest what they were before.

    The aspect ratio is not kept: most of the public data was squashed upstream already, and two kinds of geometry
    in one data set would let a model learn which source an image is from.

    Args:
        grey: uint8, or float32 in [0, 255]; shape (height, width).
        image_size: Side of the square, in pixels.

    Raises:
        UnreadableImageError: a side is shorter than 8 pixels.
    """
    if min(grey.shape) < MIN_SIDE:
        raise UnreadableImageError(f"it is smaller than {MIN_SIDE} x {MIN_SIDE} pixels")
    hasher = hashlib.sha256(struct.pack("<2I", *grey.shape))
    for rows in strips(grey.shape):
        hasher.update(np.ascontiguousarray(_round(grey[rows])).data)
    # More than 8 bits are resized before they are rounded, so that rounding happens once.
    resized = Image.fromarray(grey).resize((image_size, image_size), Image.Resampling.LANCZOS)
    return _round(np.asarray(resized)), hasher.digest()


def stretch(values: NDArray[Any]) -> NDArray[np.float32]:
    """Bring pixels of more than 8 bits to [0, 255] by the range that they use.

    Whole numbers are divided by the smallest 2^k - 1 (k >= 8) that holds them: 12 bits in a 16-bit file fill the
    range as they should, and an 8-bit image stored as 16 bits keeps its exposure. Negative numbers are shifted up
    first. Fractions in [0, 1] are multiplied by 255, fractions in [0, 255] that get beyond 16 taken as they are, others
    stretched from their least to their largest: [0, 1] that a filter overshot a little would else be all black.

    Raises:
        UnreadableImageError: a value is not finite.
    """
    if values.dtype.kind == "f" and not all(np.isfinite(values[rows]).all() for rows in strips(values.shape)):
        raise UnreadableImageError("it holds values that are not numbers")
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "ui":
        offset = min(low, 0.0)
        top = float(max(255, 2 ** int(high - offset).bit_length() - 1))
    elif low >= 0.0 and high <= 1.0:
        offset, top = 0.0, 1.0
    elif low >= 0.0 and _LEAST_WHITE <= high <= 255.0:
        offset, top = 0.0, 255.0
    else:
        offset, top = low, max(high - low, 1e-12)
    return scale(values, offset, top)


def scale(values: NDArray[Any], offset: float, top: float) -> NDArray[np.float32]:
    """(values - offset) / top * 255, in double precision, a strip at a time."""
    scaled = np.empty(values.shape, dtype=np.float32)
    for rows in strips(values.shape):
        scaled[rows] = (values[rows].astype(np.float64) - offset) * (255.0 / top)
    return scaled


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Strips of whole rows, of about a million numbers each."""
    rows = max(1, _PIXELS_AT_ONCE // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], rows):
        yield slice(start, start + rows)


def _round(grey: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey values as uint8, with what a filter overshot cut off."""
    return grey if grey.dtype == np.uint8 else np.clip(np.rint(grey), 0, 255).astype(np.uint8)  # type: ignore[return-value]
