"""One file's bytes -> one grey square of uint8. What a file is, its content says, not its name."""

import contextlib
import hashlib
import logging
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000  # 8,000 x 8,000: twice the largest radiograph; more is taken for a decompression bomb
MAX_FILE_BYTES = 512 * 1024 * 1024
MIN_SIDE = 8

# Only formats that radiographs come in; leaving out EPS and friends keeps foreign interpreters out of reach.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
# What Pillow's parsers raise for damaged files, found by fuzzing them; nothing wider, so that a bug stays a bug.
_DAMAGE = (
    OSError, EOFError, ValueError, SyntaxError, KeyError, IndexError, TypeError, OverflowError, struct.error,
    zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


class UnreadableImageError(Exception):
    """A file gives no image; the message is a short reason without anything from inside the file."""


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
    """

    image: NDArray[np.uint8]
    digest: bytes
    patient: str
    is_dicom: bool
    dropped: Mapping[str, int]
    burned_in: bool


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


def decode_raster(content: bytes) -> tuple[NDArray[np.uint8] | NDArray[np.float32], Counter[str]]:
    """Grey pixels of a JPEG, PNG, TIFF, BMP, GIF, WebP, JPEG 2000 or PNM file, and counts of what is dropped.

    Returns:
        uint8, or float32 in [0, 255] where the file has more than 8 bits; shape (height, width).

    Raises:
        UnreadableImageError: it is none of these, or damaged, or too large.
    """
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(f"it has more than {MAX_PIXELS:,} pixels")
            dropped = _metadata(image)
            image.load()
            return _grey(_upright(image)), dropped
    except UnidentifiedImageError as error:
        raise UnreadableImageError("its content is no image format that is known here") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(f"it has more than {MAX_PIXELS:,} pixels") from error
    except _DAMAGE as error:
        raise UnreadableImageError("it is damaged or truncated") from error


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
    eight_bit = _round(grey)
    digest = hashlib.sha256(struct.pack("<2I", *eight_bit.shape) + eight_bit.tobytes()).digest()
    # More than 8 bits are resized before they are rounded, so that rounding happens once.
    resized = Image.fromarray(grey).resize((image_size, image_size), Image.Resampling.LANCZOS)
    return _round(np.asarray(resized)), digest


def stretch(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Bring pixels of more than 8 bits to [0, 255] by the range that they use.

    Whole numbers are divided by the smallest 2^k - 1 (k >= 8) that holds them: 12 bits in a 16-bit file fill the
    range as they should, and an 8-bit image stored as 16 bits keeps its exposure. Negative numbers are shifted up
    first. Fractions in [0, 1] are multiplied by 255, other fractions stretched from their least to their largest.

    Raises:
        UnreadableImageError: a value is not finite.
    """
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise UnreadableImageError("it holds values that are not numbers")
    low, high = float(numbers.min()), float(numbers.max())
    if np.issubdtype(values.dtype, np.integer):
        numbers -= min(low, 0.0)
        top = float(max(255, 2 ** int(high - min(low, 0.0)).bit_length() - 1))
    elif low >= 0.0 and high <= 1.0:
        top = 1.0
    else:
        numbers -= low
        top = max(high - low, 1e-12)
    scaled: NDArray[np.float32] = (numbers * (255.0 / top)).astype(np.float32)
    return scaled


def _round(grey: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey values as uint8, with what a filter overshot cut off."""
    return grey if grey.dtype == np.uint8 else np.clip(np.rint(grey), 0, 255).astype(np.uint8)  # type: ignore[return-value]


def _upright(image: Image.Image) -> Image.Image:
    """Turn a photo as its EXIF orientation says; a damaged EXIF block is dropped like any other."""
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGE:
        return image


def _grey(image: Image.Image) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Grey values of an image of any mode; what is transparent shows black."""
    if image.mode.startswith(("I", "F")):
        return stretch(np.asarray(image))
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        colored = image.convert("RGBA")
        black = Image.new("RGBA", colored.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, colored).convert("RGB")
    elif image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _metadata(image: Image.Image) -> Counter[str]:
    """Count, by kind, what stands beside the pixels."""
    counts: Counter[str] = Counter()
    try:
        counts["EXIF fields"] = len(image.getexif())
    except _DAMAGE:
        counts["EXIF fields"] = 1
    texts = getattr(image, "text", None)
    counts["text fields"] = len(texts) if isinstance(texts, dict) else 0
    for key, kind in (("comment", "text fields"), ("icc_profile", "color profiles"), ("photoshop", "Photoshop blocks")):
        counts[kind] += int(bool(image.info.get(key)))
    counts["XMP blocks"] = int(bool(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")))
    return +counts
