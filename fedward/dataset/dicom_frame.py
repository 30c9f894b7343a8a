"""The first frame of a DICOM file as the numbers that were measured: native or compressed, bits put in place.

References:
    DICOM PS3.3, C.7.6.3 (Image Pixel); PS3.5, 8.1.1 (bits), 8.2 and A.4 (compression).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import RLELossless

from fedward.dataset import codecs
from fedward.dataset.problems import UnreadableImageError

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
_YBR = ("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_SAMPLES = dict.fromkeys((*MONOCHROME, PALETTE), 1) | dict.fromkeys(("RGB", *_YBR), 3)


@dataclass(frozen=True)
class Frame:
    """Stored values of one frame.

    Attributes:
        values: Integers or floats, shape (height, width), or (height, width, 3) in color.
        photometric: How they are meant; of colors, what they are after decompression.
        bits: Bits that a value has; 0 for floats.
        padded: Where the scanner filled the rectangle; None where nowhere.
        frames: How many the file holds.
    """

    values: NDArray[Any]
    photometric: str
    bits: int
    padded: NDArray[np.bool_] | None
    frames: int


def read_frame(header: Dataset) -> Frame:
    """Take the first frame.

    Raises:
        UnreadableImageError: the header describes no image that is read here, or the pixels are damaged.
    """
    photometric = _photometric(header)
    frames = max(1, int(header.get("NumberOfFrames") or 1))
    syntax = header.file_meta.TransferSyntaxUID
    codecs.refuse_unread(str(syntax))
    if syntax.is_compressed and syntax.is_encapsulated:
        _check_bits(header, may_shift=syntax == RLELossless)
        content = get_frame(header.PixelData, 0, number_of_frames=frames)
        raw, photometric = codecs.decode_frame(content, str(syntax), _expected(header, photometric))
    else:
        if "PixelData" in header:
            _check_bits(header, may_shift=True)
        if frames == 1 and "NumberOfFrames" in header:
            header.NumberOfFrames = 1
        raw = pixel_array(header, index=0, raw=True, correct_unused_bits=False)
    if raw.dtype.kind == "f":
        return Frame(raw, photometric, 0, _padding_of_floats(raw, header), frames)
    values = _meaningful_bits(raw, header)
    padded = _padding(raw, values, header)
    if syntax.is_compressed and syntax.is_encapsulated and syntax != RLELossless:
        _check_decoded(raw if padded is None else raw[~padded], header)
    return Frame(values, photometric, int(header.BitsStored), padded, frames)


def _photometric(header: Dataset) -> str:
    """The photometric interpretation, if it is one that is read here and fits the number of samples."""
    name = str(header.get("PhotometricInterpretation") or "").strip().upper()
    if not name:
        raise UnreadableImageError("it does not say how its pixels are meant (no photometric interpretation)")
    if name not in _SAMPLES:
        raise UnreadableImageError("its photometric interpretation is not read here")
    if int(header.SamplesPerPixel) != _SAMPLES[name]:
        raise UnreadableImageError("its number of samples a pixel contradicts its photometric interpretation")
    if str(header.get("PixelPresentation", "")).strip().upper() in ("COLOR", "MIXED", "TRUE_COLOR"):
        raise UnreadableImageError("it is grey with a supplemental palette, which is not read here")
    return name


def _check_bits(header: Dataset, may_shift: bool) -> None:
    """Refuse bits that contradict each other or have no reading here."""
    allocated, stored = int(header.BitsAllocated), int(header.BitsStored)
    high = int(header.get("HighBit", stored - 1))
    if allocated not in (1, 8, 16, 32):
        raise UnreadableImageError("its pixels have a number of bits that is not read here")
    if not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise UnreadableImageError("its bits stored, bits allocated and high bit contradict each other")
    if high != stored - 1 and not may_shift:
        raise UnreadableImageError("its high bit is not the last of the bits stored, which compression does not allow")
    if int(header.PixelRepresentation) not in (0, 1):
        raise UnreadableImageError("it does not say whether its pixels have a sign")


def _expected(header: Dataset, photometric: str) -> codecs.Expected:
    return codecs.Expected(
        height=int(header.Rows),
        width=int(header.Columns),
        samples=int(header.SamplesPerPixel),
        bits_allocated=int(header.BitsAllocated),
        bits_stored=int(header.BitsStored),
        photometric=photometric,
    )


def _meaningful_bits(raw: NDArray[Any], header: Dataset) -> NDArray[Any]:
    """Only the bits stored, with their sign; old files keep overlays in the others."""
    stored, signed = int(header.BitsStored), bool(header.PixelRepresentation)
    shift = int(header.get("HighBit", stored - 1)) + 1 - stored
    width = 8 * raw.dtype.itemsize
    if shift == 0 and stored == width and (raw.dtype.kind == "i") == signed:
        return raw
    wide = np.uint32 if width <= 32 else np.uint64
    words: NDArray[Any] = raw.view(f"u{raw.dtype.itemsize}").astype(wide)
    bits: NDArray[Any] = words >> wide(shift) & wide(2**stored - 1)
    if not signed:
        return bits
    sign = 2 ** (stored - 1)
    result: NDArray[Any] = (bits.astype(np.int64) ^ sign) - sign
    return result


def _check_decoded(raw: NDArray[Any], header: Dataset) -> None:
    """Refuse numbers from a codestream that the header's sign or bits would turn into others.

    A codestream without a sign may hold signed numbers as two's complement. Old files keep overlays in the bits above.
    """
    low, high = int(raw.min()), int(raw.max())
    if header.PixelRepresentation:
        return
    if low < 0:
        raise UnreadableImageError("its compressed pixels have a sign, and its header says that they have none")
    has_overlays = any(tag.group & 0xFF00 == 0x6000 for tag in header.keys())  # noqa: SIM118 - as in `_dropped`
    if high >= 2 ** int(header.BitsStored) and not has_overlays:
        raise UnreadableImageError("its compressed pixels use more bits than its header says are stored")


def _padding(raw: NDArray[Any], values: NDArray[Any], header: Dataset) -> NDArray[np.bool_] | None:
    """Where the values are padding. Some files pad with a number that needs more bits than are stored."""
    value, limit = (_word(header, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if value is None or values.ndim != 2:
        return None
    signed = bool(header.PixelRepresentation)
    low, high = sorted(_with_sign(word, signed) for word in (value, value if limit is None else limit))
    found = (values >= low) & (values <= high)
    if raw.dtype.itemsize == 2:
        found |= raw.view(np.uint16) == np.uint16(value)
    return found if found.any() and not found.all() else None


def _padding_of_floats(values: NDArray[Any], header: Dataset) -> NDArray[np.bool_] | None:
    keyword = "Float" if "FloatPixelData" in header else "DoubleFloat"
    value, limit = (header.get(f"{keyword}PixelPadding{part}") for part in ("Value", "RangeLimit"))
    if value is None:
        return None
    low, high = sorted((float(value), float(value if limit is None else limit)))
    found = (values >= low) & (values <= high)
    return found if found.any() and not found.all() else None


def _word(header: Dataset, keyword: str) -> int | None:
    """A value of 16 bits without its sign, whatever type the file gives it."""
    value = header.get(keyword)
    if value is None or value == "" or value == b"":
        return None
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little" if header.original_encoding[1] is not False else "big")
    return int(value) % 0x10000


def _with_sign(word: int, signed: bool) -> int:
    return word - 0x10000 if signed and word >= 0x8000 else word
