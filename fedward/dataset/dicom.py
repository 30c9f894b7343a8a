"""DICOM files -> grey pixels as a radiologist would see them, and the patient id; nothing else of the header."""

import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedward.dataset.decoding import MAX_FILE_BYTES, MAX_PIXELS, GreyImage
from fedward.dataset.dicom_frame import Frame, read_frame
from fedward.dataset.dicom_grey import to_grey
from fedward.dataset.problems import NotAnImageError, UnreadableImageError

MAX_NESTING = 32  # of sequences without a declared length, which are read at once; real headers have five

_META_BYTES = 4096  # the file meta group, which names the transfer syntax, is shorter
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Sequence items and their ends, where lengths are not declared: what nests without bound. In both byte orders.
_NESTING = re.compile(
    rb"(\xfe\xff\x00\xe0\xff\xff\xff\xff|\xff\xfe\xe0\x00\xff\xff\xff\xff)"
    rb"|\xfe\xff\x0d\xe0\x00\x00\x00\x00|\xff\xfe\xe0\x0d\x00\x00\x00\x00"
)
# What pydicom raises for damaged files; nothing wider, so that a bug stays a bug.
DAMAGE = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, KeyError, IndexError, TypeError,
    AttributeError, OverflowError, NotImplementedError, RuntimeError, ArithmeticError, struct.error, zlib.error,
)  # fmt: skip
# SOP classes that are no pictures, though some of them have pixels: by the beginning of their UID.
_NO_PICTURES = (
    ("1.2.840.10008.1.3.10", "an index of files (DICOMDIR)"),
    ("1.2.840.10008.5.1.4.1.1.88.", "a structured report"),
    ("1.2.840.10008.5.1.4.1.1.11.", "a presentation state"),
    ("1.2.840.10008.5.1.4.1.1.66.", "a segmentation or registration"),
    ("1.2.840.10008.5.1.4.1.1.481.", "a radiotherapy object"),
    ("1.2.840.10008.5.1.4.1.1.9.", "a waveform"),
    ("1.2.840.10008.5.1.4.1.1.104.", "a document"),
    ("1.2.840.10008.5.1.4.1.1.30", "a parametric map"),
    ("1.2.840.10008.5.1.4.1.1.67", "a mapping of values"),
    ("1.2.840.10008.5.1.4.38.", "a hanging protocol"),
)


def is_dicom(content: bytes) -> bool:
    """Whether bytes are DICOM: by the magic word, or (old files have none) by a plausible first element."""
    if content[128:132] == b"DICM":
        return True
    plausible_element = content[:2] in (b"\x02\x00", b"\x08\x00") and content[2:4] < b"\x20\x00"
    # Then a two-letter type (explicit) or a length below 65,536 (implicit) follows.
    return plausible_element and (content[4:6].isalpha() or content[6:8] == b"\0\0")


def decode_dicom(content: bytes, reserve: Callable[[int], None] = lambda _pixels: None) -> GreyImage:
    """Grey pixels of a DICOM image, its patient id, counts of what is dropped, and whether text is burned in.

    Args:
        content: The whole file.
        reserve: Called with the number of pixels before any is decoded.

    Raises:
        NotAnImageError: it is sound, and no picture.
        UnreadableImageError: it is damaged, holds no image, is too large, or something in it is not read here.
    """
    header = _open(content)
    try:
        _require_picture(header)
        pixels = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel)
        if pixels > MAX_PIXELS:
            raise UnreadableImageError(f"it has more than {MAX_PIXELS:,} pixels")
        reserve(pixels)
        frame = read_frame(header)
        grey, notes = to_grey(frame, header)
        notes["frames beyond the first"] += frame.frames - 1
        burned_in = str(header.get("BurnedInAnnotation", "")).upper() == "YES"
        return GreyImage(grey, _dropped(header), +notes, _patient(header), burned_in)
    except MemoryError as error:
        raise UnreadableImageError("its pixels need more memory than is given to one image") from error
    except DAMAGE as error:
        raise UnreadableImageError(_reason(header)) from error


def stored_values(content: bytes) -> tuple[Frame, Dataset]:
    """The stored values of an image's first frame, and the whole header: for whoever writes the image anew.

    Raises:
        NotAnImageError, UnreadableImageError: as `decode_dicom`.
    """
    header = _open(content)
    try:
        _require_picture(header)
        if int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel) > MAX_PIXELS:
            raise UnreadableImageError(f"it has more than {MAX_PIXELS:,} pixels")
        return read_frame(header), header
    except MemoryError as error:
        raise UnreadableImageError("its pixels need more memory than is given to one image") from error
    except DAMAGE as error:
        raise UnreadableImageError(_reason(header)) from error


def patient_id(content: bytes) -> str:
    """PatientID of a DICOM file, "" if it has none.

    Raises:
        UnreadableImageError: the header is damaged.
    """
    header = _open(content)
    try:
        return _patient(header)
    except DAMAGE as error:
        raise UnreadableImageError("its DICOM header is damaged") from error


def _open(content: bytes) -> Dataset:
    """Parse the header, which may neither nest nor unpack without bound."""
    if DeflatedExplicitVRLittleEndian.encode() in content[:_META_BYTES]:
        content = _inflated(content)
    _refuse_nesting(content)
    try:
        header = pydicom.dcmread(BytesIO(content), force=True)
        if "TransferSyntaxUID" not in header.file_meta:  # files without a preamble do not say it, but show it
            implicit = header.original_encoding[0]
            header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    except DAMAGE as error:
        raise UnreadableImageError("its DICOM header is damaged") from error
    return header


def _refuse_nesting(content: bytes) -> None:
    """Refuse sequences inside sequences inside sequences, before a parser descends into them."""
    depth = 0
    for match in _NESTING.finditer(content):
        depth = depth + 1 if match.group(1) else max(0, depth - 1)
        if depth > MAX_NESTING:
            raise UnreadableImageError(f"its header nests sequences more than {MAX_NESTING} deep")


def _inflated(content: bytes) -> bytes:
    """A file in the deflated transfer syntax as one that is not, of bounded size."""
    try:
        start = 144 + int.from_bytes(
            content[140:144], "little"
        )  # behind the meta group, whose first element says how long it is
        if content[128:136] != b"DICM\x02\0\0\0":
            raise UnreadableImageError("its DICOM header is damaged")
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        body = engine.decompress(content[start:], MAX_FILE_BYTES)
    except DAMAGE as error:
        raise UnreadableImageError("its DICOM header is damaged") from error
    if engine.unconsumed_tail:
        raise UnreadableImageError(f"it unpacks to more than {MAX_FILE_BYTES // 2**20} MiB")
    if not engine.eof:
        raise UnreadableImageError("it is damaged or truncated")
    return body


def _require_picture(header: Dataset) -> None:
    """Tell files that are no pictures from pictures without pixels."""
    sop_class = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    for prefix, kind in _NO_PICTURES:
        if sop_class.startswith(prefix):
            raise NotAnImageError(f"it is DICOM without a picture: {kind}")
    if "DirectoryRecordSequence" in header:
        raise NotAnImageError("it is DICOM without a picture: an index of files (DICOMDIR)")
    if not any(keyword in header for keyword in _PIXELS):
        if "Rows" in header or not sop_class or "Image Storage" in UID(sop_class).name:
            raise UnreadableImageError("it is DICOM without an image: the pixels are missing")
        raise NotAnImageError("it is DICOM without a picture")


def _patient(header: Dataset) -> str:
    return str(header.get("PatientID") or "").strip()


def _reason(header: Dataset) -> str:
    """Tell a damaged file from one whose compression has no decoder here."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    if isinstance(syntax, UID) and (syntax.is_private or not syntax.is_transfer_syntax):
        return "its DICOM pixels are damaged, or in a transfer syntax that is not known here"
    return "its DICOM pixels are damaged or truncated"


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
