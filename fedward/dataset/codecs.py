"""Compressed pixels -> numbers: the one door to imagecodecs. See docs/adr/0024.

A codestream says itself how large it is. That is compared with what the file's header says before anything is
decoded, so that a small file cannot unpack into all of memory.

References:
    ITU-T T.81 (JPEG), T.87 (JPEG-LS), T.800 (JPEG 2000); DICOM PS3.5, A.4 and annex G (RLE).
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.problems import UnreadableImageError

_RLE = "1.2.840.10008.1.2.5"
_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70)}
_JPEG_LS = {f"1.2.840.10008.1.2.4.{number}" for number in (80, 81)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91)}
_HTJ2K = {f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203)}
_UNREAD = {
    "1.2.840.10008.1.2.4.92": "JPEG 2000 with several components together",
    "1.2.840.10008.1.2.4.93": "JPEG 2000 with several components together",
    "1.2.840.10008.1.2.4.94": "JPIP, whose pixels lie elsewhere",
    "1.2.840.10008.1.2.4.95": "JPIP, whose pixels lie elsewhere",
    "1.2.840.10008.1.2.4.110": "JPEG XL",
    "1.2.840.10008.1.2.4.111": "JPEG XL",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "deflated frames",
} | {f"1.2.840.10008.1.2.4.{number}": "video" for number in range(100, 109)}

# Markers of JPEG and JPEG-LS that are followed by a frame's precision, height, width and components.
_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_SOF_LOSSLESS, _SOF_JPEG_LS = {0xC3, 0xC7, 0xCB, 0xCF}, 0xF7


@dataclass(frozen=True)
class Expected:
    """What a DICOM header says of a frame."""

    height: int
    width: int
    samples: int
    bits_allocated: int
    bits_stored: int
    photometric: str


@dataclass(frozen=True)
class Codestream:
    """What a codestream says of itself.

    Attributes:
        kind: jpeg, lossless (JPEG), jpeg-ls or jpeg-2000.
        transform: Of colors in JPEG, as Adobe's marker numbers them: 0 (none), 1 (YCbCr, what JFIF has always) or 2
            (YCCK); None where no marker tells. Of JPEG 2000: 1 where it undoes a transform of colors itself.
    """

    kind: str
    precision: int
    height: int
    width: int
    samples: int
    transform: int | None = None


def decode_frame(content: bytes, syntax: str, expected: Expected) -> tuple[NDArray[Any], str]:
    """Decode one frame of a DICOM file.

    Args:
        content: The frame's codestream.
        syntax: UID of the transfer syntax.
        expected: What the header says.

    Returns:
        Values, shape (height, width) or (height, width, 3); and what they are now: the header's photometric
        interpretation, or RGB or YBR_FULL where the codec changes it.

    Raises:
        UnreadableImageError: the compression is not read here, or the codestream is damaged or contradicts the header.
    """
    if syntax == _RLE:
        return _decode_rle(content, expected), expected.photometric
    if syntax not in _JPEG | _JPEG_LS | _JPEG_2000 | _HTJ2K:
        raise UnreadableImageError("its pixels are in a compression that is not read here")
    stream = describe(content)
    if (stream.height, stream.width, stream.samples) != (expected.height, expected.width, expected.samples):
        raise UnreadableImageError("its compressed pixels have another size than its header says")
    if stream.precision > expected.bits_allocated:
        raise UnreadableImageError("its compressed pixels have more bits than its header says")
    values = decode_stream(content, stream, as_stored=expected.photometric == "RGB" and stream.transform != 1)
    if values.shape[:2] != (expected.height, expected.width):
        raise UnreadableImageError("its pixels are damaged or truncated")
    return values, _photometric_after(stream, expected.photometric)


def refuse_unread(syntax: str) -> None:
    """Name a compression that is known and not read.

    Raises:
        UnreadableImageError: this is one.
    """
    if syntax in _UNREAD:
        raise UnreadableImageError(f"its pixels are in a compression that is not read here ({_UNREAD[syntax]})")


def describe(content: bytes) -> Codestream:
    """Read size, precision and kind of a codestream, decoding nothing.

    Raises:
        UnreadableImageError: it is no JPEG, JPEG-LS or JPEG 2000 codestream.
    """
    try:
        if content[:2] == b"\xff\xd8":
            return _describe_jpeg(content)
        if content[4:12] == b"jP  \r\n\x87\n":  # boxes of a .jp2 file around the codestream
            content = content[content.index(b"\xff\x4f\xff\x51") :]
        if content[:4] == b"\xff\x4f\xff\x51":
            x1, y1, x0, y0 = struct.unpack(">4I", content[8:24])
            (samples,) = struct.unpack(">H", content[40:42])
            style = content.find(b"\xff\x52\x00", 42)  # the segment COD: its seventh byte tells of the transform
            transform = content[style + 8] if 0 <= style < content.find(b"\xff\x90") else None
            return Codestream("jpeg-2000", (content[42] & 0x7F) + 1, y1 - y0, x1 - x0, samples, transform)
    except (IndexError, ValueError, struct.error) as error:
        raise UnreadableImageError("its pixels are damaged or truncated") from error
    raise UnreadableImageError("its pixels are damaged, or in another compression than its header says")


def exif_block(content: bytes) -> bytes:
    """The EXIF block of a JPEG or JPEG-LS file; empty where there is none before the pixels."""
    place = 2
    while content[place : place + 1] == b"\xff" and content[place + 1 : place + 2] not in (b"\xda", b""):
        (length,) = struct.unpack(">H", content[place + 2 : place + 4].ljust(2, b"\0"))
        if content[place + 1] == 0xE1 and content[place + 4 : place + 10] == b"Exif\0\0":
            return content[place + 4 : place + 2 + length]
        place += 2 + length
    return b""


def _describe_jpeg(content: bytes) -> Codestream:
    """Walk over the markers to the first that begins a frame."""
    place, transform = 2, None
    while True:
        while content[place] == 0xFF and content[place + 1] == 0xFF:
            place += 1
        marker = content[place + 1]
        (length,) = struct.unpack(">H", content[place + 2 : place + 4])
        body = content[place + 4 : place + 2 + length]
        if content[place] != 0xFF or length < 2:
            raise ValueError("no marker")
        if marker == 0xE0 and body[:5] == b"JFIF\0":
            transform = 1  # JFIF has no other colors, and goes before Adobe's marker, as in libjpeg
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12 and transform is None:
            transform = body[11]
        if marker in _SOF:
            precision, height, width, samples = struct.unpack(">BHHB", body[:6])
            kind = "jpeg-ls" if marker == _SOF_JPEG_LS else "lossless" if marker in _SOF_LOSSLESS else "jpeg"
            return Codestream(kind, precision, height, width, samples, transform)
        place += 2 + length


def decode_stream(content: bytes, stream: Codestream, as_stored: bool = False) -> NDArray[Any]:
    """Decode a codestream that was described.

    Args:
        content: The codestream.
        stream: Its description.
        as_stored: Of JPEG in three colors: whether the samples are RGB already, whatever JPEG supposes.

    Returns:
        Integers, shape (height, width) or (height, width, samples). JPEG's three colors come as YCbCr if they are
        stored so, else as they are.

    Raises:
        UnreadableImageError: it is damaged.
    """
    library = _library()
    try:
        if stream.kind == "jpeg-ls":
            return _array(library.jpegls_decode(content))
        if stream.kind == "jpeg-2000":
            return _array(library.jpeg2k_decode(content))
        if stream.kind == "lossless":
            return _array(_decode_lossless(library, content, stream))
        if stream.samples != 3:
            return _array(library.jpeg8_decode(content))
        space = "RGB" if as_stored or stream.transform == 0 else "YCBCR"
        return _array(library.jpeg8_decode(content, colorspace=space, outcolorspace=space))
    except MemoryError as error:
        raise UnreadableImageError("its pixels need more memory than is given to one image") from error
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise UnreadableImageError("its pixels are damaged or truncated") from error


def decode_png(content: bytes) -> NDArray[Any]:
    """All samples of a PNG with all their bits: shape (height, width) or (height, width, 2, 3 or 4).

    Raises:
        UnreadableImageError: it is damaged.
    """
    try:
        return _array(_library().png_decode(content))
    except (RuntimeError, ValueError, TypeError, OSError, MemoryError) as error:
        raise UnreadableImageError("it is damaged or truncated") from error


def decode_tiff(content: bytes) -> NDArray[Any]:
    """All samples of a TIFF's first page with all their bits: shape (height, width, samples).

    Raises:
        UnreadableImageError: it is damaged, or of a kind that is not read here.
    """
    try:
        return _array(_library().tiff_decode(content))
    except (RuntimeError, ValueError, TypeError, OSError, MemoryError, NotImplementedError) as error:
        raise UnreadableImageError("it is a TIFF that is damaged, or of a kind that is not read here") from error


def _decode_lossless(library: Any, content: bytes, stream: Codestream) -> Any:
    """JPEG Lossless, by the decoder that takes the most kinds; one that refuses is no proof of damage."""
    try:
        return library.jpeg8_decode(
            content, **({"colorspace": "RGB", "outcolorspace": "RGB"} if stream.samples == 3 else {})
        )
    except (RuntimeError, ValueError):
        return library.jpegsof3_decode(content)


def _decode_rle(content: bytes, expected: Expected) -> NDArray[Any]:
    """Segments of bytes, the most significant first, color by color."""
    size, samples = expected.bits_allocated // 8, expected.samples
    if expected.bits_allocated % 8:
        raise UnreadableImageError("it has bits allocated that run-length encoding does not allow")
    count = expected.height * expected.width
    try:
        (segments,) = struct.unpack("<I", content[:4])
        if segments != size * samples:
            raise UnreadableImageError("its compressed pixels have another size than its header says")
        starts = [*struct.unpack(f"<{segments}I", content[4 : 4 + 4 * segments]), len(content)]
        planes = np.empty((samples, count, size), dtype=np.uint8)
        for index in range(segments):
            plane, byte = divmod(index, size)
            segment = content[starts[index] : starts[index + 1]]
            planes[plane, :, size - 1 - byte] = _unpack_bits(segment, count)
    except struct.error as error:
        raise UnreadableImageError("its pixels are damaged or truncated") from error
    values = planes.view(f"<u{size}")[..., 0].reshape(samples, expected.height, expected.width)
    return values[0] if samples == 1 else np.moveaxis(values, 0, -1)


def _unpack_bits(segment: bytes, count: int) -> NDArray[np.uint8]:
    """One segment, never more of it than the image has pixels."""
    out = np.zeros(count + 1, dtype=np.uint8)  # one more: segments are padded to even length
    filled = place = 0
    view = np.frombuffer(segment, dtype=np.uint8)
    while place < len(segment) and filled < count:
        control = segment[place]
        place += 1
        if control == 128:
            continue
        length = min(257 - control if control > 128 else control + 1, count - filled)
        if control > 128:
            if place >= len(segment):
                break
            out[filled : filled + length] = view[place]
            place += 1
        else:
            literal = view[place : place + length]
            out[filled : filled + len(literal)] = literal
            if len(literal) < length:
                break
            place += control + 1
        filled += length
    if filled < count:
        raise UnreadableImageError("its pixels are damaged or truncated")
    return out[:count]


def _photometric_after(stream: Codestream, photometric: str) -> str:
    """What the values are now: JPEG 2000 undoes its own color transform; Adobe's marker tells of JPEG's."""
    if stream.samples != 3:
        return photometric
    if stream.kind == "jpeg-2000":
        return "RGB" if photometric in ("YBR_ICT", "YBR_RCT") or stream.transform == 1 else photometric
    if stream.kind == "jpeg":
        return "RGB" if stream.transform == 0 or (photometric == "RGB" and stream.transform != 1) else "YBR_FULL"
    return photometric


def _array(decoded: Any) -> NDArray[Any]:
    values: NDArray[Any] = np.asarray(decoded)
    return values


def _library() -> Any:
    """Loaded where it is first needed: most data sets need none of it."""
    import imagecodecs

    return imagecodecs
