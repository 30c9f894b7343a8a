"""JPEG, PNG, TIFF, BMP, GIF, WebP, JPEG 2000 and PNM files -> grey pixels.

Pillow reads them. Where it would cut samples of more than 8 bits, or passes over something that changes grey, the
samples are taken another way, or the file is refused with that reason.

References:
    PNG (W3C, 3rd edition), 11.3; TIFF 6.0; ITU-T T.81.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fedward.dataset import codecs, tone
from fedward.dataset.decoding import MAX_PIXELS, GreyImage, scale, stretch
from fedward.dataset.png_chunks import check_pixels, check_transfer, significant_bits
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.tiff import decode_tiff

Grey = NDArray[Any]  # uint8, or float32 in [0, 255]

# Only formats that radiographs come in; leaving out EPS and friends keeps foreign interpreters out of reach.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
# What Pillow's parsers raise for damaged files, found by fuzzing them; nothing wider, so that a bug stays a bug.
_DAMAGE = (
    OSError, EOFError, ValueError, SyntaxError, KeyError, IndexError, TypeError, OverflowError, struct.error,
    zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
_EXIF_ORIENTATION = 0x0112
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_MAGIC, _J2K_MAGIC = b"\x89PNG\r\n\x1a\n", (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")


def needs_codecs(content: bytes) -> bool:
    """Whether a file is decoded by more than Pillow: codecs that are kept in a process of their own."""
    if content[:8] == _PNG_MAGIC:
        return content[24:25] == b"\x10" and content[25:26] != b"\0"
    if content[:4] in _TIFF_MAGIC or content[:8].startswith(_J2K_MAGIC):
        return True
    return content[:3] == b"\xff\xd8\xff" and _own_codestream(content) is not None


def decode_raster(content: bytes, reserve: Callable[[int], None] = lambda _pixels: None) -> GreyImage:
    """Grey pixels of a raster file, counts of what is dropped, and counts of what was not used.

    Args:
        content: The whole file.
        reserve: Called with the number of pixels before any is decoded.

    Raises:
        UnreadableImageError: it is none of these, or damaged, too large, or something that changes grey is not read.
    """
    stream = _own_codestream(content)
    if stream is not None and stream.kind != "jpeg-2000":
        grey = _from_codestream(content, stream, reserve)
        return GreyImage(_turned(grey, _orientation_of_stream(content)))
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(f"it has more than {MAX_PIXELS:,} pixels")
            dropped = _metadata(image)
            frames = int(getattr(image, "n_frames", 1))
            if stream is not None:
                return GreyImage(_from_codestream(content, stream, reserve), dropped)
            reserve(image.width * image.height * len(image.getbands()))
            profile = image.info.get("icc_profile")
            if isinstance(profile, bytes):
                tone.check_profile(profile)
            grey = _decode(image, content)
    except UnidentifiedImageError as error:
        raise UnreadableImageError(_unknown(content)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(f"it has more than {MAX_PIXELS:,} pixels") from error
    except MemoryError as error:
        raise UnreadableImageError("its pixels need more memory than is given to one image") from error
    except _DAMAGE as error:
        raise UnreadableImageError("it is damaged or truncated") from error
    return GreyImage(grey, dropped, +Counter({"frames beyond the first": frames - 1}))


def _decode(image: Image.Image, content: bytes) -> Grey:
    """Take the way that keeps all that the format says of grey."""
    if image.format == "PNG":
        return _png(image, content)
    if image.format == "TIFF":
        grey = decode_tiff(image, content)
        if grey is not None:
            return grey
    image.load()
    upright = _upright(image)
    if upright.mode == "I" and image.format == "PPM":
        return scale(np.asarray(upright), 0.0, 65535.0)  # Pillow has brought the file's own largest value there
    if upright.mode.startswith(("I", "F")):
        return stretch(np.asarray(upright))
    return _grey(upright)


def _own_codestream(content: bytes) -> codecs.Codestream | None:
    """The codestream of a JPEG that Pillow does not read, or of a JPEG 2000 that it would change."""
    jpeg_2000 = content[:8].startswith(_J2K_MAGIC)
    if content[:3] != b"\xff\xd8\xff" and not jpeg_2000:
        return None
    try:
        stream = codecs.describe(content)
    except UnreadableImageError:
        return None  # Pillow may know better, or give the reason
    other = stream.precision != 8 or stream.kind in ("lossless", "jpeg-ls")
    return stream if other and stream.samples in (1, 3) else None


def _from_codestream(content: bytes, stream: codecs.Codestream, reserve: Callable[[int], None]) -> NDArray[np.float32]:
    """Grey of a bare codestream of any precision."""
    if stream.height * stream.width > MAX_PIXELS:
        raise UnreadableImageError(f"it has more than {MAX_PIXELS:,} pixels")
    reserve(stream.height * stream.width * stream.samples)
    values = codecs.decode_stream(content, stream)
    if values.ndim == 3 and stream.kind == "jpeg" and stream.transform != 0:
        values = values[..., 0]
    if values.ndim == 2 and stream.precision == 16:
        return stretch(values)
    offset = -float(2 ** (stream.precision - 1)) if values.dtype.kind == "i" else 0.0
    top = tone.top_of(values) if stream.precision == 16 and offset == 0.0 else float(2**stream.precision - 1)
    return scale(tone.luma(values) if values.ndim == 3 else values, offset, top)


def _png(image: Image.Image, content: bytes) -> Grey:
    """A PNG with all its bits, its transparent color and its gamma."""
    if content[12:16] != b"IHDR":
        raise UnreadableImageError("it is damaged or truncated")
    depth, kind = content[24], content[25]
    orientation = _orientation(image)
    check_transfer(content)
    check_pixels(content)
    significant = significant_bits(content)
    transparent = image.info.get("transparency")
    standard = image.info.get("srgb") is not None or "icc_profile" in image.info
    gamma = None if standard else tone.unlike_a_display(image.info.get("gamma"))
    if depth == 16 and kind != 0:
        return _turned(_deep_png(codecs.decode_png(content), transparent, gamma, significant), orientation)
    if kind != 0:
        image.load()
        upright = _upright(image)
        return _grey(upright) if gamma is None else _with_gamma(upright, gamma)
    image.load()
    values = np.asarray(image.convert("L") if image.mode == "1" else image)
    hidden = None
    if isinstance(transparent, int):
        # Pillow brings values of few bits to [0, 255], and this number along with one bit only.
        hidden = values == transparent * (255 // (2**depth - 1) if depth in (2, 4) else 1)
    grey: Grey = values.astype(np.uint8) if depth <= 8 else _sixteen(values, hidden, significant)
    if gamma is not None:
        grey = tone.shown(grey, 255.0, gamma)
    if hidden is not None:
        grey = np.where(hidden, 0, grey).astype(grey.dtype)
    return _turned(grey, orientation)


def _with_gamma(image: Image.Image, gamma: float) -> NDArray[np.float32]:
    """Colors of 8 bits through a gamma; alpha has none, and what is transparent shows black."""
    colored = np.asarray(image.convert("RGBA"))
    grey = tone.shown(colored[..., :3], 255.0, gamma)
    grey *= colored[..., 3] / np.float32(255.0)
    return grey


def _sixteen(values: NDArray[Any], hidden: NDArray[np.bool_] | None, significant: int) -> NDArray[np.float32]:
    """Sixteen bits: over the whole range where the file says that they were scaled to it, else by the range used."""
    if _was_scaled(values, significant):
        return scale(values, 0.0, 65535.0)
    seen = values if hidden is None or hidden.all() else np.where(hidden, 0, values)
    return stretch(seen)


def _was_scaled(values: NDArray[Any], significant: int) -> bool:
    """Whether a PNG's numbers fill 16 bits as its chunk sBIT demands; some writers leave 12 at the bottom."""
    return significant > 0 and (significant >= 16 or int(values.max()) >= 2**significant)


def _deep_png(samples: NDArray[Any], transparent: object, gamma: float | None, significant: int) -> NDArray[np.float32]:
    """Color or alpha of 16 bits; what is transparent shows black."""
    if samples.ndim != 3 or samples.dtype != np.uint16:
        raise UnreadableImageError("it is damaged or truncated")
    channels = samples.shape[2]
    colors, alpha = (samples[..., : channels - 1], samples[..., -1]) if channels in (2, 4) else (samples, None)
    top = 65535.0 if _was_scaled(colors, significant) else tone.top_of(colors)
    grey = tone.shown(colors, top, gamma)
    if alpha is not None:
        grey *= scale(alpha, 0.0, 65535.0) / np.float32(255.0)
    if isinstance(transparent, tuple) and colors.shape[2] == 3:
        grey[(colors == np.array(transparent, dtype=np.uint16)).all(axis=2)] = 0.0
    return grey


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or the block is damaged."""
    return _orientation_in(image.getexif)


def _orientation_of_stream(content: bytes) -> int:
    """The EXIF orientation of a JPEG that Pillow does not open, 1 where there is none or the block is damaged."""

    def load() -> Image.Exif:
        exif = Image.Exif()
        exif.load(codecs.exif_block(content))
        return exif

    return _orientation_in(load)


def _orientation_in(load: Callable[[], Image.Exif]) -> int:
    try:
        found = load().get(_EXIF_ORIENTATION, 1)
    except _DAMAGE:
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _turned(grey: Grey, orientation: int) -> Grey:
    """Pixels as the orientation says that they are to be shown."""
    if orientation >= 5:
        grey = grey.T
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    if orientation in (3, 4, 7, 8):
        grey = grey[::-1]
    return np.ascontiguousarray(grey)


def _upright(image: Image.Image) -> Image.Image:
    """Turn a photo as its EXIF orientation says; a damaged EXIF block is dropped like any other."""
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGE:
        return image


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """Grey values of an image of 8 bits in any mode; what is transparent shows black."""
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        colored = image.convert("RGBA")
        black = Image.new("RGBA", colored.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, colored).convert("RGB")
    elif image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _unknown(content: bytes) -> str:
    """Why Pillow does not know a file."""
    if content[:4] in _TIFF_MAGIC:
        return "it is a TIFF that is damaged, or of a kind that is not read here"
    if content[:2] == b"\xff\xd8" or content[:8] == _PNG_MAGIC:
        return "it is damaged or truncated"
    return "its content is no image format that is known here"


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
