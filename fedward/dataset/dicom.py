"""DICOM files -> grey pixels as a radiologist would see them, and the patient id; nothing else of the header.

References:
    DICOM PS3.3, C.11.1 (modality LUT: rescale), C.11.2 (VOI LUT: window), C.7.6.3 (photometric interpretation).
"""

import struct
import zlib
from collections import Counter
from io import BytesIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedward.dataset.decoding import MAX_PIXELS, UnreadableImageError

_META_BYTES = 4096  # the file meta group, which names the transfer syntax, is shorter

# What pydicom raises for damaged files; nothing wider, so that a bug stays a bug.
_DAMAGE = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, KeyError, IndexError, TypeError,
    AttributeError, OverflowError, NotImplementedError, RuntimeError, ArithmeticError, struct.error, zlib.error,
)  # fmt: skip


def is_dicom(content: bytes) -> bool:
    """Whether bytes are DICOM: by the magic word, or (old files have none) by a plausible first element."""
    if content[128:132] == b"DICM":
        return True
    plausible_element = content[:2] in (b"\x02\x00", b"\x08\x00") and content[2:4] < b"\x20\x00"
    # Then a two-letter type (explicit) or a length below 65,536 (implicit) follows.
    return plausible_element and (content[4:6].isalpha() or content[6:8] == b"\0\0")


def decode_dicom(content: bytes) -> tuple[NDArray[np.float32], str, Counter[str], bool]:
    """Grey pixels of a DICOM image, its patient id, counts of what is dropped, and whether text is burned in.

    Rescale slope and intercept, then the window (or VOI LUT) are applied; without a window the image's own range
    is. MONOCHROME1 is inverted, so that white is dense in every file. Of several frames the first is taken.

    Returns:
        float32, shape (height, width), in [0, 255]; PatientID ("" if absent); counts by kind; burned-in flag.

    Raises:
        UnreadableImageError: it is damaged, holds no image, is too large, or compressed in a way not read here.
    """
    header = _open(content)
    if "PixelData" not in header:
        raise UnreadableImageError("it is DICOM without an image")
    try:
        frames = int(header.get("NumberOfFrames") or 1)
        if int(header.Rows) * int(header.Columns) * max(frames, 1) * int(header.SamplesPerPixel) > 3 * MAX_PIXELS:
            raise UnreadableImageError(f"it has more than {MAX_PIXELS:,} pixels")
        grey = _grey(header)
        burned_in = str(header.get("BurnedInAnnotation", "")).upper() == "YES"
        return grey, _patient(header), _dropped(header), burned_in
    except _DAMAGE as error:
        raise UnreadableImageError(_reason(header)) from error


def patient_id(content: bytes) -> str:
    """PatientID of a DICOM file, "" if it has none.

    Raises:
        UnreadableImageError: the header is damaged.
    """
    header = _open(content)
    try:
        return _patient(header)
    except _DAMAGE as error:
        raise UnreadableImageError("its DICOM header is damaged") from error


def _open(content: bytes) -> Dataset:
    """Parse the header; the deflated syntax is refused before it can unpack into all of memory."""
    if DeflatedExplicitVRLittleEndian.encode() in content[:_META_BYTES]:
        raise UnreadableImageError("it is DICOM in the deflated transfer syntax, which is not read here")
    try:
        return pydicom.dcmread(BytesIO(content), force=True)
    except _DAMAGE as error:
        raise UnreadableImageError("its DICOM header is damaged") from error


def _patient(header: Dataset) -> str:
    return str(header.get("PatientID") or "").strip()


def _reason(header: Dataset) -> str:
    """Tell a damaged file from one whose compression has no decoder here."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    if isinstance(syntax, UID) and syntax.is_transfer_syntax and syntax.is_compressed:
        known = "" if syntax.is_private or syntax.name == syntax else f" ({syntax.name})"
        return f"its DICOM pixels are damaged or in a compression that is not read here{known}"
    return "its DICOM pixels are damaged or truncated"


def _grey(header: Dataset) -> NDArray[np.float32]:
    """First frame in [0, 255], dense is white."""
    if "TransferSyntaxUID" not in header.file_meta:  # files without a preamble do not say it, but show it
        implicit = header.original_encoding[0]
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    frame = pixel_array(header, index=0)
    photometric = str(header.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        frame = apply_color_lut(frame, header)
    if frame.ndim == 3:
        top = float(np.iinfo(frame.dtype).max)
        luma: NDArray[np.float32] = (frame[..., :3] @ np.array([0.299, 0.587, 0.114]) * (255.0 / top)).astype(
            np.float32
        )
        return luma
    unit = _window(frame, header)
    if photometric == "MONOCHROME1":
        unit = 1.0 - unit
    return (unit * 255.0).astype(np.float32)


def _window(frame: NDArray[np.generic], header: Dataset) -> NDArray[np.float64]:
    """Stored values -> [0, 1] through modality LUT and VOI LUT, or the used range where the file has no window."""
    values = np.asarray(apply_modality_lut(frame, header), dtype=np.float64)
    if not np.isfinite(values).all():
        raise UnreadableImageError("it holds values that are not numbers")
    if header.get("VOILUTSequence"):
        bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
        looked_up = np.asarray(apply_voi(values.astype(np.int64), header), dtype=np.float64)
        unit: NDArray[np.float64] = np.clip(looked_up / (2**bits - 1), 0.0, 1.0)
        return unit
    center, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    if center is not None and width is not None and width >= 1:
        return _apply_window(values, center, width, str(header.get("VOILUTFunction", "LINEAR")).upper())
    used = frame != header.PixelPaddingValue if "PixelPaddingValue" in header else np.ones(frame.shape, dtype=bool)
    if not used.any():
        used = np.ones(frame.shape, dtype=bool)
    low, high = float(values[used].min()), float(values[used].max())
    return np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)


def _apply_window(values: NDArray[np.float64], center: float, width: float, function: str) -> NDArray[np.float64]:
    """The three VOI functions of PS3.3 C.11.2.1."""
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -60.0, 60.0)))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _first(value: object) -> float | None:
    """The first of one or several numbers (files may bring several windows)."""
    if value is None or value == "":
        return None
    if isinstance(value, pydicom.multival.MultiValue):
        return float(value[0]) if len(value) else None
    return float(value)  # type: ignore[arg-type]


def _dropped(header: Dataset) -> Counter[str]:
    """Count the header's elements by kind."""
    counts: Counter[str] = Counter()
    for tag in header.keys():  # noqa: SIM118 - iterating the dataset itself would parse every value
        if tag.group == 0x7FE0:
            continue
        if tag.is_private:
            counts["DICOM private fields"] += 1
        elif tag.group == 0x0010:
            counts["DICOM patient fields"] += 1
        else:
            counts["DICOM other header fields"] += 1
    return counts
