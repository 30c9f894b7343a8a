"""What changes how stored numbers become grey, one row each: the right values worked out by hand, or the reason.

The pixels of most rows are a ramp that begins and ends with known values, so that each expected value is a line of
arithmetic in the row itself, and not the program's own.
"""

# ruff: noqa: E501 - tables, a row a line

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image, ImageCms, TiffImagePlugin
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from sample_images import dicom

from fedward.dataset.dicom import decode_dicom
from fedward.dataset.problems import NotAnImageError, UnreadableImageError
from fedward.dataset.rasters import decode_raster

SIDE = 16
RAMP = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)  # 0 to 255
TWELVE = (RAMP * 16 + 15).astype(np.uint16)  # 15 to 4095
RANGE12 = (TWELVE - 15.0) / 4080 * 255  # without a window: its own range
UNIT12 = TWELVE / 4095 * 255


def coded(name: str, pixels: np.ndarray, **options: Any) -> bytes:
    """Pixels in one of imagecodecs' encodings."""
    return bytes(getattr(imagecodecs, f"{name}_encode")(pixels, **options))


def table(
    entries: list[int], first: int, bits: int, count: int | None = None, as_bytes: bytes | None = None
) -> Dataset:
    item = Dataset()
    item.add_new(
        "LUTDescriptor", "SS" if first < 0 else "US", [(len(entries) if count is None else count), first, bits]
    )
    if as_bytes is None:
        item.add_new("LUTData", "US", entries)
    else:
        item.add_new("LUTData", "OW", as_bytes)
    return item


def group(name: str, **fields: Any) -> Sequence:
    outer, inner = Dataset(), Dataset()
    for key, value in fields.items():
        setattr(inner, key, value)
    setattr(outer, name, Sequence([inner]))
    return Sequence([outer])


def squared(values: np.ndarray) -> list[int]:
    return [round(4095 * (k / 4095) ** 2) for k in values]


def palettes(red: list[int], green: list[int], blue: list[int], bits: int, first: int = 0) -> dict[str, Any]:
    fields: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, entries in (("Red", red), ("Green", green), ("Blue", blue)):
        fields[f"{name}PaletteColorLookupTableDescriptor"] = [len(entries) % 65536, first, bits]
        fields[f"{name}PaletteColorLookupTableData"] = struct.pack(f"<{len(entries)}H", *entries)
    return fields


def compressed(content: bytes, syntax: str, **changes: Any) -> bytes:
    fields = {"BitsStored": 12, "HighBit": 11, "WindowCenter": "2048", "WindowWidth": "4096"} | changes
    header = pydicom.dcmread(BytesIO(dicom(TWELVE, **fields)))
    header.file_meta.TransferSyntaxUID = "1.2.826.0.1.3680043.10.1"  # private: written without being looked into
    header.PixelData = encapsulate([content])
    header["PixelData"].VR = "OB"
    header["PixelData"].is_undefined_length = True
    buffer = BytesIO()
    header.save_as(buffer, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return buffer.getvalue().replace(b"1.2.826.0.1.3680043.10.1", syntax.encode().ljust(24, b"\0"), 1)


def color(pixels: np.ndarray, photometric: str, **fields: Any) -> bytes:
    return dicom(
        pixels, PhotometricInterpretation=photometric, SamplesPerPixel=3, Rows=SIDE, Columns=SIDE,
        **({"PlanarConfiguration": 0} | fields),
    )  # fmt: skip


WINDOW = {"WindowCenter": "2048", "WindowWidth": "4096"}
LINEAR = np.clip((TWELVE - 2047.5) / 4095 + 0.5, 0, 1) * 255
TWELVE_BITS = {"BitsStored": 12, "HighBit": 11}
J2K = "1.2.840.10008.1.2.4.90"
NO_WINDOW = {"WindowCenter": "", "WindowWidth": "", "BitsStored": 16, "HighBit": 15}
COLORS = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
RGB8 = np.dstack([RAMP, RAMP[::-1], RAMP.T]).astype(np.uint8)
LUMA8 = 0.299 * RGB8[..., 0] + 0.587 * RGB8[..., 1] + 0.114 * RGB8[..., 2]
SIGNED = (RAMP - 128).astype(np.int16)
INSIDE = np.zeros((SIDE, SIDE), bool)
INSIDE[3:12, 4:10] = True  # rows 4 to 12 and columns 5 to 10, counted from 1

# DICOM: title, file, grey in [0, 255].
DICOM: list[tuple[str, bytes, np.ndarray]] = [
    ("own range", dicom(TWELVE, **TWELVE_BITS), RANGE12),
    ("window", dicom(TWELVE, **TWELVE_BITS, **WINDOW), LINEAR),
    ("window, exact", dicom(TWELVE, **WINDOW, VOILUTFunction="LINEAR_EXACT"), np.clip((TWELVE - 2048.0) / 4096 + 0.5, 0, 1) * 255),
    ("exact, narrower than one", dicom(SIGNED, WindowCenter="0.25", WindowWidth="0.5", VOILUTFunction="LINEAR_EXACT"), (SIGNED > 0) * 255.0),
    ("sigmoid", dicom(TWELVE, **WINDOW, VOILUTFunction="SIGMOID "), 255 / (1 + np.exp(-4 * (TWELVE - 2048.0) / 4096))),
    ("linear narrower than one is no window", dicom(TWELVE, WindowCenter="5", WindowWidth="0.5"), RANGE12),
    ("the first window that is one", dicom(TWELVE, WindowCenter=["7", "2048"], WindowWidth=["0", "4096"]), LINEAR),
    ("empty window", dicom(TWELVE, WindowCenter="", WindowWidth=""), RANGE12),
    ("rescale", dicom(TWELVE, RescaleSlope="2", RescaleIntercept="-100", WindowCenter="3996", WindowWidth="8192"), np.clip((TWELVE * 2.0 - 100 - 3995.5) / 8191 + 0.5, 0, 1) * 255),
    ("negative slope turns over", dicom(TWELVE, RescaleSlope="-1", RescaleIntercept="0"), 255 - RANGE12),
    ("empty rescale is none", dicom(TWELVE, RescaleSlope="", RescaleIntercept=""), RANGE12),
    ("MONOCHROME1", dicom(TWELVE, PhotometricInterpretation="MONOCHROME1", **WINDOW), 255 - LINEAR),
    ("presentation inverse", dicom(TWELVE, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"), 255 - RANGE12),
    ("presentation identity", dicom(TWELVE, PresentationLUTShape="IDENTITY"), RANGE12),
    ("signed", dicom(SIGNED), (SIGNED + 128.0)),
    ("12 bits signed", dicom((SIGNED.astype(np.uint16) & 0xFFF), BitsStored=12, HighBit=11, PixelRepresentation=1), SIGNED + 128.0),
    ("overlay bits above", dicom(TWELVE | 0x8000, **TWELVE_BITS), RANGE12),
    ("high bit at the top", dicom(TWELVE << 4 | 0xF, BitsStored=12, HighBit=15), RANGE12),
    ("8 bits", dicom(RAMP.astype(np.uint8)), RAMP * 1.0),
    ("1 bit", dicom(np.packbits(RAMP >= 128, axis=1, bitorder="little"), BitsAllocated=1, BitsStored=1, HighBit=0, Rows=SIDE, Columns=SIDE), (RAMP >= 128) * 255.0),
    ("32 bits", dicom(RAMP.astype(np.uint32) * 2**24), RAMP * 1.0),
    ("modality LUT of 12 bits", dicom(TWELVE, ModalityLUTSequence=[table(list(range(4096)), 0, 12)]), RANGE12),
    ("modality LUT, then window", dicom(TWELVE, ModalityLUTSequence=[table(squared(np.arange(4096)), 0, 16)], WindowCenter="2048", WindowWidth="4096"), np.clip((np.rint(4095 * (TWELVE / 4095) ** 2) - 2047.5) / 4095 + 0.5, 0, 1) * 255),
    ("modality LUT of 65,536 entries", dicom(RAMP.astype(np.uint16) * 257, ModalityLUTSequence=[table([], 0, 16, count=0, as_bytes=np.arange(65535, -1, -1).astype("<u2").tobytes())]), 255.0 - RAMP),
    ("modality LUT, first value below zero", dicom(SIGNED, ModalityLUTSequence=[table([k * k for k in range(256)], -128, 16)]), (RAMP / 255) ** 2 * 255),
    ("VOI LUT narrower than declared", dicom(TWELVE, VOILUTSequence=[table(list(range(4096)), 0, 16)]), UNIT12),
    ("VOI LUT as declared", dicom(TWELVE, VOILUTSequence=[table(squared(np.arange(4096)), 0, 12)]), (np.rint(4095 * (TWELVE / 4095) ** 2)) / 4095 * 255),
    ("VOI LUT wider than declared", dicom(TWELVE, VOILUTSequence=[table(list(range(4096)), 0, 8)]), UNIT12),
    ("VOI LUT before the window", dicom(TWELVE, VOILUTSequence=[table(list(range(4095, -1, -1)), 0, 12)], **WINDOW), 255 - UNIT12),
    ("VOI LUT of a part, the ends held", dicom(RAMP.astype(np.uint8), VOILUTSequence=[table([0, 255], 128, 8)]), (RAMP >= 129) * 255.0),
    ("VOI LUT from -128", dicom(SIGNED, VOILUTSequence=[table(list(range(256)), -128, 8)]), RAMP * 1.0),
    ("VOI LUT from -128, the sign lost", dicom(SIGNED, VOILUTSequence=[table(list(range(256)), 65408, 8)]), RAMP * 1.0),
    ("VOI LUT, two entries a word", dicom(RAMP.astype(np.uint8), VOILUTSequence=[table([0] * 256, 0, 8, as_bytes=bytes(range(255, -1, -1)))]), 255.0 - RAMP),
    ("VOI LUT with MONOCHROME1", dicom(TWELVE, PhotometricInterpretation="MONOCHROME1", VOILUTSequence=[table(list(range(4096)), 0, 12)]), 255 - UNIT12),
    ("VOI LUT of modality values", dicom(TWELVE, RescaleSlope="1", RescaleIntercept="-1000", VOILUTSequence=[table(list(range(4096)), -1000, 12)]), UNIT12),
    ("padding", dicom(np.where(RAMP < 16, 60000, TWELVE).astype(np.uint16), PixelPaddingValue=60000), np.where(RAMP < 16, 0, (TWELVE - 271.0) / (4095 - 271) * 255)),
    ("padding of MONOCHROME1", dicom(np.where(RAMP < 16, 0, TWELVE).astype(np.uint16), PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0), np.where(RAMP < 16, 0, 255 - (TWELVE - 271.0) / (4095 - 271) * 255)),
    ("range of padding", dicom(np.where(RAMP < 16, 60000 + RAMP, TWELVE).astype(np.uint16), PixelPaddingValue=60000, PixelPaddingRangeLimit=60020), np.where(RAMP < 16, 0, (TWELVE - 271.0) / (4095 - 271) * 255)),
    ("padding below zero", dicom(np.where(RAMP < 16, -2000, SIGNED).astype(np.int16), PixelPaddingValue=-2000), np.where(RAMP < 16, 0, (SIGNED + 112.0) / 239 * 255)),
    ("padding of more bits than stored", dicom(np.where(RAMP < 16, 63536, TWELVE).astype(np.uint16), **TWELVE_BITS, PixelPaddingValue=63536), np.where(RAMP < 16, 0, (TWELVE - 271.0) / (4095 - 271) * 255)),
    ("RGB", color(RGB8, "RGB"), LUMA8),
    ("RGB by planes", color(np.moveaxis(RGB8, -1, 0), "RGB", PlanarConfiguration=1), LUMA8),
    ("RGB of 12 bits", color(RGB8.astype(np.uint16) * 16, "RGB", BitsStored=12, HighBit=11), LUMA8 * 16 / 4095 * 255),
    ("YBR full", color(RGB8, "YBR_FULL"), RGB8[..., 0] * 1.0),
    ("YBR full, 4:2:2", color(np.stack([RAMP[:, ::2], RAMP[:, 1::2], RAMP[:, ::2] * 0 + 128, RAMP[:, ::2] * 0 + 128], axis=-1).astype(np.uint8), "YBR_FULL_422"), RAMP * 1.0),
    ("palette", dicom(RAMP.astype(np.uint8), **palettes(list(range(256)), [0] * 256, [255] * 256, 8)), 0.299 * RAMP + 0.114 * 255),
    ("palette of 16 bits", dicom(RAMP.astype(np.uint8), **palettes([k * 257 for k in range(256)], [k * 257 for k in range(256)], [k * 257 for k in range(256)], 16)), RAMP * 1.0),
    ("palette narrower than declared", dicom(RAMP.astype(np.uint8), **palettes(list(range(256)), list(range(256)), list(range(256)), 16)), RAMP * 1.0),
    ("palette from 128 on", dicom(RAMP.astype(np.uint8), **palettes([0, 255], [0, 255], [0, 255], 8, first=128)), (RAMP >= 129) * 255.0),
    ("shared functional groups", dicom(TWELVE, NumberOfFrames=1, SharedFunctionalGroupsSequence=group("FrameVOILUTSequence", WindowCenter="2048", WindowWidth="4096")), LINEAR),
    ("the frame's own group first", dicom(TWELVE, NumberOfFrames=1, WindowCenter="9", WindowWidth="9", PerFrameFunctionalGroupsSequence=group("FrameVOILUTSequence", WindowCenter="2048", WindowWidth="4096")), LINEAR),
    ("rescale in a functional group", dicom(TWELVE, NumberOfFrames=1, SharedFunctionalGroupsSequence=group("PixelValueTransformationSequence", RescaleSlope="-1", RescaleIntercept="0")), 255 - RANGE12),
    ("first of two frames", dicom(np.stack([TWELVE, TWELVE[::-1]]), NumberOfFrames=2), RANGE12),
    ("rectangular shutter", dicom(TWELVE, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=5, ShutterRightVerticalEdge=10, ShutterUpperHorizontalEdge=4, ShutterLowerHorizontalEdge=12), np.where(INSIDE, RANGE12, 0)),
    ("shutter of a given grey", dicom(TWELVE, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=5, ShutterRightVerticalEdge=10, ShutterUpperHorizontalEdge=4, ShutterLowerHorizontalEdge=12, ShutterPresentationValue=65535), np.where(INSIDE, RANGE12, 255)),
    ("circular shutter", dicom(TWELVE, ShutterShape="CIRCULAR", CenterOfCircularShutter=[8, 8], RadiusOfCircularShutter=4), np.where(np.hypot(*(np.indices((SIDE, SIDE)) + 1 - 8)) <= 4, RANGE12, 0)),
    ("polygonal shutter", dicom(TWELVE, ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[4, 5, 4, 10, 12, 10, 12, 5]), np.where(INSIDE, RANGE12, 0)),
    ("JPEG Lossless", compressed(coded("jpeg8", TWELVE, lossless=True, bitspersample=12), "1.2.840.10008.1.2.4.70"), LINEAR),
    ("JPEG Lossless, 16 bits declared inside", compressed(coded("jpeg8", TWELVE, lossless=True, bitspersample=16), "1.2.840.10008.1.2.4.57"), LINEAR),
    ("JPEG-LS", compressed(coded("jpegls", TWELVE), "1.2.840.10008.1.2.4.80"), LINEAR),
    ("JPEG 2000, signed inside and in the header", compressed(coded("jpeg2k", SIGNED, level=0, reversible=True, codecformat="j2k"), J2K, **NO_WINDOW, PixelRepresentation=1), RAMP * 1.0),
    ("JPEG 2000, signed in the header, two's complement inside", compressed(coded("jpeg2k", SIGNED.view(np.uint16), level=0, reversible=True, codecformat="j2k"), J2K, **NO_WINDOW, PixelRepresentation=1), RAMP * 1.0),
    ("JPEG 2000, padded with more bits than stored", compressed(coded("jpeg2k", np.where(RAMP < 16, 63536, TWELVE).astype(np.uint16), level=0, reversible=True, codecformat="j2k"), J2K, WindowCenter="", WindowWidth="", PixelPaddingValue=63536), np.where(RAMP < 16, 0, (TWELVE - 271.0) / (4095 - 271) * 255)),
    ("JPEG 2000 that undoes a transform of colors, said to be YBR", compressed(coded("jpeg2k", RGB8, level=0, reversible=True, codecformat="j2k"), J2K, **COLORS, PhotometricInterpretation="YBR_FULL"), LUMA8),
    ("JPEG 2000", compressed(coded("jpeg2k", TWELVE, level=0, reversible=True, codecformat="j2k"), "1.2.840.10008.1.2.4.90"), LINEAR),
    ("HTJ2K", compressed(coded("htj2k", TWELVE, reversible=True), "1.2.840.10008.1.2.4.201"), LINEAR),
]  # fmt: skip

# DICOM that is refused: title, file, the reason.
REFUSED: list[tuple[str, bytes, str]] = [
    ("no photometric interpretation", dicom(TWELVE, PhotometricInterpretation=None), "no photometric interpretation"),
    ("HSV", color(RGB8, "HSV"), "photometric interpretation is not read"),
    ("ARGB", dicom(np.dstack([RGB8, RAMP]).astype(np.uint8), PhotometricInterpretation="ARGB", SamplesPerPixel=4, Rows=16, Columns=16), "photometric"),
    ("grey in three samples", color(RGB8, "MONOCHROME2"), "contradicts its photometric"),
    ("inverse of MONOCHROME2", dicom(TWELVE, PresentationLUTShape="INVERSE"), "presentation LUT shape contradicts"),
    ("presentation LUT", dicom(TWELVE, PresentationLUTSequence=[table([0, 255], 0, 8)]), "presentation LUT"),
    ("supplemental palette", dicom(TWELVE, PixelPresentation="COLOR"), "supplemental palette"),
    ("unknown VOI function", dicom(TWELVE, **WINDOW, VOILUTFunction="LOGARITHM"), "VOI LUT function"),
    ("slope of zero", dicom(TWELVE, RescaleSlope="0", RescaleIntercept="1"), "slope is zero"),
    ("VOI LUT cut short", dicom(TWELVE, VOILUTSequence=[table([1, 2, 3], 0, 12, count=4096)]), "shorter than its descriptor"),
    ("VOI LUT of 20 bits", dicom(TWELVE, VOILUTSequence=[table([1, 2, 3], 0, 20)]), "impossible bits"),
    ("12 bits allocated", dicom(TWELVE, BitsAllocated=12, BitsStored=12, HighBit=11), "number of bits that is not read"),
    ("more stored than allocated", dicom(TWELVE, BitsStored=17, HighBit=16), "contradict each other"),
    ("shutter from a bitmap", dicom(TWELVE, ShutterShape="BITMAP"), "shutter of a shape"),
    ("compressed size lies", compressed(coded("jpegls", TWELVE[:8]), "1.2.840.10008.1.2.4.80"), "another size"),
    ("a sign inside that the header denies", compressed(coded("jpeg2k", SIGNED, level=0, reversible=True, codecformat="j2k"), J2K, **NO_WINDOW), "have a sign"),
    ("more bits inside than stored, JPEG 2000", compressed(coded("jpeg2k", TWELVE * 8, level=0, reversible=True, codecformat="j2k"), J2K), "more bits than its header"),
    ("more bits inside than stored, JPEG Lossless", compressed(coded("jpeg8", TWELVE * 8, lossless=True, bitspersample=16), "1.2.840.10008.1.2.4.70"), "more bits than its header"),
    ("JPEG XL", compressed(b"\xff\x0a" + b"\0" * 40, "1.2.840.10008.1.2.4.110"), "JPEG XL"),
    ("video", compressed(b"\0" * 40, "1.2.840.10008.1.2.4.102"), "video"),
    ("codestream of another kind", compressed(b"\x89PNG" + b"\0" * 40, "1.2.840.10008.1.2.4.70"), "another compression"),
]  # fmt: skip

NO_PICTURES = {
    "structured report": "1.2.840.10008.5.1.4.1.1.88.67", "presentation state": "1.2.840.10008.5.1.4.1.1.11.1",
    "radiotherapy": "1.2.840.10008.5.1.4.1.1.481.3", "waveform": "1.2.840.10008.5.1.4.1.1.9.1.1",
    "segmentation": "1.2.840.10008.5.1.4.1.1.66.4", "document": "1.2.840.10008.5.1.4.1.1.104.1",
    "DICOMDIR": "1.2.840.10008.1.3.10",
}  # fmt: skip


def ids(rows: list[tuple[Any, ...]]) -> list[str]:
    return [row[0] for row in rows]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("_title", "content", "expected"), DICOM, ids=ids(DICOM))
def test_dicom_shows_what_the_standard_says(_title: str, content: bytes, expected: np.ndarray) -> None:
    assert np.allclose(decode_dicom(content).grey, expected, atol=0.02)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("_title", "content", "reason"), REFUSED, ids=ids(REFUSED))
def test_dicom_that_is_not_understood_is_refused_with_the_reason(_title: str, content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode_dicom(content)


@pytest.mark.filterwarnings("ignore")
def test_the_colors_of_jfif_are_ybr_whatever_the_header_says() -> None:
    """As libjpeg and pydicom read them: taken for RGB, reds and blues would look grey, and grey green."""
    colors = np.stack([smooth(), np.full((SIDE, SIDE), 90), np.full((SIDE, SIDE), 160)], axis=2).astype(np.uint8)
    jpeg = saved(Image.fromarray(colors), "JPEG", quality=98, subsampling=0)
    content = compressed(jpeg, "1.2.840.10008.1.2.4.50", **COLORS, PhotometricInterpretation="RGB")
    assert np.abs(decode_dicom(content).grey - colors @ [0.299, 0.587, 0.114]).max() <= 6


@pytest.mark.parametrize(("words", "sop_class"), NO_PICTURES.items())
def test_what_is_no_picture_is_no_damage(words: str, sop_class: str) -> None:
    with pytest.raises(NotAnImageError, match=words):
        decode_dicom(dicom(TWELVE, sop_class, PixelData=None))


@pytest.mark.parametrize("text", [b"2048,5", b"NaN ", b"auto", b"  ", b"inf ", b"1e999 ", b"0x10"])
@pytest.mark.filterwarnings("ignore")
def test_windows_that_are_no_numbers_leave_the_own_range(text: bytes) -> None:
    content = dicom(TWELVE, WindowCenter="12345678", WindowWidth="87654321")
    for old in (b"12345678", b"87654321"):
        content = content.replace(old, text.ljust(8))
    found = decode_dicom(content)
    assert np.allclose(found.grey, RANGE12, atol=0.02)
    assert bool(found.notes) == bool(text.strip())


# ---- raster files ------------------------------------------------------------------------------------------------


def png(depth: int, kind: int, rows: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written chunk by chunk; rows: uint8, shape (height, bytes a row)."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    body = b"".join(b"\0" + row.tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">2I5B", SIDE, SIDE, depth, kind, 0, 0, 0))
    rest = b"".join(chunk(*pair) for pair in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + rest + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def big(values: np.ndarray) -> np.ndarray:
    """Values of 16 bits as rows of bytes."""
    return np.ascontiguousarray(values.astype(">u2")).view(np.uint8).reshape(SIDE, -1)


def tiff(pixels: np.ndarray, **tags: Any) -> bytes:
    """A TIFF written field by field: one strip, not compressed."""
    bits, samples = pixels.dtype.itemsize * 8, 1 if pixels.ndim == 2 else pixels.shape[2]
    sample_format = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    fields: dict[int, Any] = {
        256: SIDE, 257: SIDE, 258: (bits,) * samples, 259: 1, 262: 1 if samples < 3 else 2, 273: 0, 277: samples,
        278: SIDE, 279: pixels.nbytes, 339: (sample_format,) * samples,
    } | {int(key[1:]): value for key, value in tags.items()}  # fmt: skip
    directory, extra = b"", b""
    start = 8 + 2 + 12 * len(fields) + 4
    for tag, value in sorted(fields.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        body = struct.pack(f"<{len(numbers)}{'I' if tag in (273, 279) else 'H'}", *numbers)
        kind = 4 if tag in (273, 279) else 3
        if tag == 273:
            body = b"????"
        if len(body) > 4:
            directory += struct.pack("<HHII", tag, kind, len(numbers), start + len(extra))
            extra += body
        else:
            directory += struct.pack("<HHI", tag, kind, len(numbers)) + body.ljust(4, b"\0")
    directory = directory.replace(b"????", struct.pack("<I", start + len(extra)))
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + directory + b"\0" * 4 + extra + pixels.tobytes()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pages(*images: Image.Image, subfile: int = 0) -> bytes:
    buffer = BytesIO()
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[254] = subfile
    for image in images[1:]:
        image.encoderinfo = {"tiffinfo": TiffImagePlugin.ImageFileDirectory_v2()}
    images[0].save(buffer, "TIFF", save_all=True, append_images=images[1:], tiffinfo=info)
    return buffer.getvalue()


BYTES = RAMP.astype(np.uint8)
DEEP = BYTES.astype(np.uint16) * 257
FOUR = (RAMP // 16).astype(np.uint8)
HALF = np.full((SIDE, SIDE), 32768, np.uint16)
LINEAR_LIGHT = (RAMP / 255) ** (1 / 2.2) * 255
INT8 = (RAMP - 128).astype(np.int8)
FLOATS = (RAMP / 255).astype(np.float32)


def pack4(values: np.ndarray) -> np.ndarray:
    return (values[:, ::2] << 4 | values[:, 1::2]).astype(np.uint8)


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG of any kind with an EXIF block behind its first marker."""
    block = _turned(orientation).tobytes()
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


RASTERS: list[tuple[str, bytes, np.ndarray]] = [
    ("PNG 1 bit", png(1, 0, np.packbits(RAMP >= 128, axis=1)), (RAMP >= 128) * 255.0),
    ("PNG 2 bits", png(2, 0, np.packbits(np.unpackbits((RAMP // 64).astype(np.uint8)[..., None], axis=2)[..., 6:].reshape(SIDE, -1), axis=1)), RAMP // 64 * 85.0),
    ("PNG 4 bits", png(4, 0, pack4(FOUR)), FOUR * 17.0),
    ("PNG 4 bits, a grey transparent", png(4, 0, pack4(FOUR), (b"tRNS", b"\0\x0f")), np.where(FOUR == 15, 0, FOUR * 17.0)),
    ("PNG 1 bit, white transparent", png(1, 0, np.packbits(RAMP >= 128, axis=1), (b"tRNS", b"\0\x01")), RAMP * 0.0),
    ("PNG 8 bits, a grey transparent", png(8, 0, BYTES, (b"tRNS", b"\0\xff")), np.where(RAMP == 255, 0, RAMP * 1.0)),
    ("PNG 16 bits", png(16, 0, big(DEEP)), RAMP * 1.0),
    ("PNG 12 bits in 16", png(16, 0, big(TWELVE)), UNIT12),
    ("PNG 16 bits, dark, of 16 significant", png(16, 0, big(BYTES), (b"sBIT", b"\x10")), RAMP / 257),
    ("PNG 16 bits, a grey transparent", png(16, 0, big(DEEP), (b"tRNS", b"\xff\xff")), np.where(RAMP == 255, 0, RAMP * 1.0)),
    ("PNG 16-bit color", png(16, 2, big(np.repeat(DEEP, 3, axis=1))), RAMP * 1.0),
    ("PNG 12 bits in 16-bit color", png(16, 2, big(np.repeat(TWELVE, 3, axis=1))), UNIT12),
    ("PNG 16-bit color, a color transparent", png(16, 2, big(np.repeat(DEEP, 3, axis=1)), (b"tRNS", b"\xff\xff" * 3)), np.where(RAMP == 255, 0, RAMP * 1.0)),
    ("PNG 16-bit grey and alpha", png(16, 4, big(np.stack([DEEP, HALF], axis=2).reshape(SIDE, -1))), RAMP * 32768 / 65535),
    ("PNG 16-bit color and alpha", png(16, 6, big(np.stack([DEEP, DEEP, DEEP, HALF], axis=2).reshape(SIDE, -1))), RAMP * 32768 / 65535),
    ("PNG palette", png(8, 3, BYTES, (b"PLTE", bytes(k for value in range(255, -1, -1) for k in (value,) * 3))), 255.0 - RAMP),
    ("PNG palette, an entry transparent", png(8, 3, BYTES, (b"PLTE", bytes(k for value in range(255, -1, -1) for k in (value,) * 3)), (b"tRNS", b"\0")), np.where(RAMP == 0, 0, 255.0 - RAMP)),
    ("PNG gamma of a display", png(8, 0, BYTES, (b"gAMA", struct.pack(">I", 45455))), RAMP * 1.0),
    ("PNG linear light", png(8, 0, BYTES, (b"gAMA", struct.pack(">I", 100000))), LINEAR_LIGHT),
    ("PNG linear light, 16 bits", png(16, 0, big(DEEP), (b"gAMA", struct.pack(">I", 100000))), LINEAR_LIGHT),
    ("PNG linear light, color", png(8, 2, np.repeat(BYTES, 3, axis=1), (b"gAMA", struct.pack(">I", 100000))), LINEAR_LIGHT),
    ("PNG sRGB before gamma", png(8, 0, BYTES, (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100000))), RAMP * 1.0),
    ("PNG interlaced", coded("png", BYTES), RAMP * 1.0),
    ("PNG colors, dark, of 16 significant", png(16, 2, big(np.repeat(BYTES.astype(np.uint16), 3, axis=1)), (b"sBIT", b"\x10" * 3)), RAMP / 257),
    ("PNG 12 significant bits, left at the bottom of 16", png(16, 0, big(TWELVE), (b"sBIT", b"\x0c")), UNIT12),
    ("PNG linear light and alpha", png(8, 6, np.dstack([BYTES, BYTES, BYTES, BYTES * 0 + 128]).reshape(SIDE, -1), (b"gAMA", struct.pack(">I", 100000))), LINEAR_LIGHT * 128 / 255),
    ("PNG linear light, a color transparent", png(8, 2, np.repeat(BYTES, 3, axis=1), (b"gAMA", struct.pack(">I", 100000)), (b"tRNS", b"\0\xff" * 3)), np.where(RAMP == 255, 0, LINEAR_LIGHT)),
    ("PNG linear light, palette with alpha", png(8, 3, BYTES, (b"gAMA", struct.pack(">I", 100000)), (b"PLTE", bytes(k for value in range(256) for k in (value,) * 3)), (b"tRNS", b"\x80" * 256)), LINEAR_LIGHT * 128 / 255),
    ("PNG of sRGB, by code points", png(8, 0, BYTES, (b"cICP", b"\x01\x0d\0\x01")), RAMP * 1.0),
    ("TIFF palette of 8 bits", tiff(BYTES, t262=3, t320=tuple(255 - k for k in range(256)) * 3), 255.0 - RAMP),
    ("TIFF color, a fourth sample of unsaid meaning", tiff(np.dstack([RGB8, BYTES * 0])), LUMA8),
    ("TIFF white is zero, 8 bits", tiff(BYTES, t262=0), 255.0 - RAMP),
    ("TIFF white is zero, 16 bits", tiff(DEEP, t262=0), 255.0 - RAMP),
    ("TIFF white is zero, floats", tiff(FLOATS, t262=0), 255.0 - RAMP),
    ("TIFF 16 bits", tiff(DEEP), RAMP * 1.0),
    ("TIFF signed, 8 bits", tiff(INT8), RAMP * 1.0),
    ("TIFF signed, 16 bits", tiff(SIGNED), RAMP * 1.0),
    ("TIFF 32 bits", tiff(RAMP.astype(np.uint32) * 16843009), RAMP * 1.0),
    ("TIFF floats", tiff(FLOATS), RAMP * 1.0),
    ("TIFF floats up to 255", tiff(RAMP.astype(np.float32)), RAMP * 1.0),
    ("TIFF color", tiff(RGB8), LUMA8),
    ("TIFF 16-bit color", tiff(RGB8.astype(np.uint16) * 257), LUMA8),
    ("TIFF 12 bits in 16-bit color", tiff(np.dstack([TWELVE] * 3)), UNIT12),
    ("TIFF 16-bit color and alpha", tiff(np.dstack([DEEP, DEEP, DEEP, HALF]), t338=2), RAMP * 32768 / 65535),
    ("TIFF orientation", tiff(BYTES, t274=3), RAMP[::-1, ::-1] * 1.0),
    ("TIFF, a reduced copy first", pages(Image.fromarray(BYTES[::-1].copy()), Image.fromarray(BYTES), subfile=1), RAMP * 1.0),
    ("TIFF of two pages", pages(Image.fromarray(BYTES), Image.fromarray(BYTES[::-1].copy())), RAMP * 1.0),
    ("PGM of 12 bits", b"P5 16 16 4095\n" + (TWELVE // 2).astype(">u2").tobytes(), TWELVE // 2 / 4095 * 255),
    ("PGM in letters", b"P2 16 16 255\n" + b" ".join(str(k).encode() for k in RAMP.ravel()) + b"\n", RAMP * 1.0),
    ("JPEG Lossless", coded("jpeg8", TWELVE, lossless=True, bitspersample=12), UNIT12),
    ("JPEG-LS", coded("jpegls", BYTES), RAMP * 1.0),
    ("JPEG Lossless turned by EXIF", with_exif(coded("jpeg8", TWELVE, lossless=True, bitspersample=12), 6), np.rot90(UNIT12, -1)),
    ("JPEG-LS turned by EXIF", with_exif(coded("jpegls", BYTES), 3), RAMP[::-1, ::-1] * 1.0),
    ("JPEG-LS, 12 bits in 16-bit color", coded("jpegls", np.dstack([TWELVE] * 3)), UNIT12),
    ("JPEG 2000, 12 bits in 16-bit color", coded("jpeg2k", np.dstack([TWELVE] * 3), level=0, reversible=True), UNIT12),
    ("JPEG 2000 signed, 16 bits", coded("jpeg2k", SIGNED, level=0, reversible=True), RAMP * 1.0),
    ("JPEG 2000 of 16 bits", coded("jpeg2k", DEEP, level=0, reversible=True), RAMP * 1.0),
    ("JPEG 2000 of 12 bits", coded("jpeg2k", TWELVE, level=0, reversible=True, bitspersample=12), UNIT12),
    ("BMP", saved(Image.fromarray(BYTES), "BMP"), RAMP * 1.0),
    ("GIF", saved(Image.fromarray(BYTES), "GIF"), RAMP * 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("_title", "content", "expected"), RASTERS, ids=ids(RASTERS))
def test_rasters_show_what_their_format_says(_title: str, content: bytes, expected: np.ndarray) -> None:
    tolerance = 1.01 if expected.dtype.kind == "f" and ("color" in _title or "palette" in _title) else 0.51
    assert np.abs(decode_raster(content).grey.astype(float) - expected).max() <= tolerance


def smooth() -> np.ndarray:
    return np.asarray(Image.fromarray(RAMP[::5, ::5].astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


LOSSY: list[tuple[str, Callable[[], bytes], Callable[[], np.ndarray]]] = [
    ("JPEG CMYK", lambda: saved(Image.fromarray(smooth()).convert("CMYK"), "JPEG", quality=98), smooth),
    ("JPEG of 12 bits", lambda: coded("jpeg8", (smooth().astype(np.uint16) * 16 + 8), bitspersample=12, level=98), smooth),
    ("JPEG of 12 bits turned by EXIF", lambda: with_exif(coded("jpeg8", (smooth().astype(np.uint16) * 16 + 8), bitspersample=12, level=98), 6), lambda: np.rot90(smooth(), -1)),
    ("JPEG turned by EXIF", lambda: saved(Image.fromarray(smooth()), "JPEG", quality=98, exif=_turned(8)), lambda: np.rot90(smooth())),
    ("JPEG mirrored by EXIF", lambda: saved(Image.fromarray(smooth()), "JPEG", quality=98, exif=_turned(2)), lambda: smooth()[:, ::-1]),
    ("WebP", lambda: saved(Image.fromarray(smooth()), "WEBP", quality=98), smooth),
]  # fmt: skip


@pytest.mark.parametrize(("_title", "content", "expected"), LOSSY, ids=ids(LOSSY))
def test_lossy_rasters_come_close(
    _title: str, content: Callable[[], bytes], expected: Callable[[], np.ndarray]
) -> None:
    assert np.abs(decode_raster(content()).grey.astype(float) - expected()).max() <= 6


def lab() -> bytes:
    return tiff(RGB8, t262=8)


def linear_profile() -> bytes:
    """An RGB profile whose curves are straight: linear light."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack(">I", profile[128:132])
    for index in range(count):
        name, offset, _ = struct.unpack(">4sII", profile[132 + 12 * index : 144 + 12 * index])
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            profile[offset : offset + 12] = b"curv" + b"\0" * 8
    return bytes(profile)


def turned_over(content: bytes) -> bytes:
    """A PNG with one bit of its pixels changed, and the chunk's checksum with it: decoders see that last, if at all."""
    start = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[start - 4 : start])
    body = bytearray(content[start : start + 4 + length])
    body[-1] ^= 1  # of the checksum of what was compressed
    return content[:start] + body + struct.pack(">I", zlib.crc32(body)) + content[start + 8 + length :]


REFUSED_RASTERS: list[tuple[str, bytes, str]] = [
    ("TIFF CIELab", lab(), "photometric interpretation that is not read"),
    ("TIFF mask", tiff(BYTES, t262=4), "of a kind that is not read"),
    ("TIFF of raw sensor data", tiff(DEEP, t262=32803), "TIFF"),
    ("TIFF with a grey response curve", tiff(BYTES, t291=tuple(range(256))), "response curve"),
    ("TIFF with colors at half resolution", tiff(RGB8, t262=6), "lower resolution"),
    ("TIFF of nothing but reduced copies", tiff(BYTES, t254=1), "reduced copies"),
    ("TIFF of floats in color", tiff(np.dstack([FLOATS] * 3)), "TIFF"),
    ("linear profile in JPEG", saved(Image.fromarray(RGB8), "JPEG", icc_profile=linear_profile()), "tone curve"),
    ("linear profile in PNG", saved(Image.fromarray(RGB8), "PNG", icc_profile=linear_profile()), "tone curve"),
    ("TIFF whose black is 16", tiff(RGB8, t262=6, t530=(1, 1), t532=(16, 235, 128, 240, 128, 240)), "black or white"),
    ("TIFF of other inks", tiff(np.dstack([RGB8, BYTES]), t262=5, t332=2), "inks"),
    ("PNG for HDR", png(8, 2, np.repeat(BYTES, 3, axis=1), (b"cICP", b"\x09\x10\0\x01")), "transfer function"),
    ("PNG of linear light, by code points", png(8, 0, BYTES, (b"cICP", b"\x01\x08\0\x01")), "transfer function"),
    ("PNG of a narrow range", png(8, 0, BYTES, (b"cICP", b"\x01\x0d\0\0")), "range"),
    ("PNG of too few rows", png(8, 0, BYTES[:8]), "damaged or truncated"),
    ("PNG of too few rows, 16 bits", png(16, 0, big(DEEP)[:8]), "damaged or truncated"),
    ("PNG of too few rows, 1 bit", png(1, 0, np.packbits(RAMP >= 128, axis=1)[:8]), "damaged or truncated"),
    ("PNG with a bit turned over", turned_over(saved(Image.fromarray(BYTES), "PNG")), "damaged or truncated"),
    ("damaged deep PNG", png(16, 2, big(np.repeat(DEEP, 3, axis=1)))[:-60], "damaged"),
    ("JPEG-LS cut short", coded("jpegls", BYTES)[:-90], "damaged"),
]  # fmt: skip


@pytest.mark.parametrize(("_title", "content", "reason"), REFUSED_RASTERS, ids=ids(REFUSED_RASTERS))
def test_rasters_that_are_not_understood_are_refused_with_the_reason(_title: str, content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode_raster(content)


def test_a_usual_profile_changes_nothing() -> None:
    usual = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain, with_profile = (saved(Image.fromarray(RGB8), "PNG", **extra) for extra in ({}, {"icc_profile": usual}))
    assert np.array_equal(decode_raster(plain).grey, decode_raster(with_profile).grey)


def test_further_frames_are_counted() -> None:
    two = pages(Image.fromarray(BYTES), Image.fromarray(BYTES[::-1].copy()))
    assert decode_raster(two).notes == {"frames beyond the first": 1}
    assert decode_dicom(dicom(np.stack([TWELVE] * 3), NumberOfFrames=3)).notes == {"frames beyond the first": 2}
