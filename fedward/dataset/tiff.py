"""TIFF: photometric interpretations, bits and sample formats that Pillow passes over.

References:
    TIFF 6.0; Adobe's technical notes on ExtraSamples and SampleFormat.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fedward.dataset import codecs
from fedward.dataset.decoding import scale, stretch
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.tone import luma, shown, top_of

_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 254, 258, 259, 262, 277
_ORIENTATION, _CURVE, _TRANSFER, _EXTRA, _FORMAT, _SUBSAMPLING = 274, 291, 301, 338, 339, 530
_COLORS, _INKS, _BLACK_AND_WHITE = 320, 332, 532
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_NOT_FULL = 0b101  # a reduced copy, or a mask


def decode_tiff(image: Image.Image, content: bytes) -> NDArray[np.uint8] | NDArray[np.float32] | None:
    """Grey of a TIFF's first full page, or None where Pillow's own reading of that page is right.

    Raises:
        UnreadableImageError: something in it changes grey and is not read here.
    """
    page = _seek_full_page(image)
    tags = image.tag_v2  # type: ignore[attr-defined]
    photometric = tags.get(_PHOTOMETRIC)
    bits, formats = (_numbers(tags.get(tag), default) for tag, default in ((_BITS, 1), (_FORMAT, _UNSIGNED)))
    if _CURVE in tags or _TRANSFER in tags:
        raise UnreadableImageError("it is a TIFF with a response curve or transfer function, which is not read here")
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR):
        raise UnreadableImageError("it is a TIFF of a photometric interpretation that is not read here")
    _check_inks_and_levels(tags)
    if len(set(bits)) > 1 or len(set(formats)) > 1:
        raise UnreadableImageError("it is a TIFF whose samples differ in bits or format, which is not read here")
    is_grey = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    if bits[0] <= 8 and formats[0] != _SIGNED:
        _check_subsampling(photometric, tags)
        colors = np.array(_numbers(tags.get(_COLORS), 0))
        if photometric == _PALETTE and 0 < colors.max() < 256 and len(colors) % 3 == 0:
            return _palette_of_bytes(image, colors)
        if photometric == _RGB and len(bits) == 4 and _EXTRA not in tags:  # Pillow would take the fourth for alpha
            image.load()
            return shown(np.asarray(ImageOps.exif_transpose(image))[..., :3], 255.0, None)
        return None
    if is_grey and len(bits) == 1:
        image.load()
        return _single(np.asarray(image), bits[0], formats[0], photometric == _WHITE_IS_ZERO)
    if formats[0] != _UNSIGNED or bits[0] != 16 or not (is_grey or photometric == _RGB) or page:
        raise UnreadableImageError("it is a TIFF whose samples are of a kind that is not read here")
    grey = _deep(codecs.decode_tiff(content), len(bits), is_grey, tags)
    return 255.0 - grey if photometric == _WHITE_IS_ZERO else grey


def _seek_full_page(image: Image.Image) -> int:
    """Go to the first page that is neither a reduced copy nor a mask; its number."""
    for page in range(min(int(getattr(image, "n_frames", 1)), 16)):
        image.seek(page)
        if not int(image.tag_v2.get(_SUBFILE, 0)) & _NOT_FULL:  # type: ignore[attr-defined]
            return page
    raise UnreadableImageError("it is a TIFF of nothing but reduced copies or masks")


def _single(values: NDArray[Any], bits: int, sample_format: int, inverted: bool) -> NDArray[np.float32]:
    """One sample a pixel, of more than 8 bits or with a sign."""
    if sample_format == _SIGNED and bits == 8:
        values = values.view(np.int8)
    elif sample_format == _UNSIGNED and bits == 32:
        values = values.view(np.uint32)
    exact = sample_format == _UNSIGNED and bits < 16
    grey = scale(values, 0.0, float(2**bits - 1)) if exact else stretch(values)
    return np.float32(255.0) - grey if inverted else grey


def _deep(samples: NDArray[Any], count: int, is_grey: bool, tags: Any) -> NDArray[np.float32]:
    """Color or alpha of 16 bits; what is transparent shows black."""
    colors = 1 if is_grey else 3
    if samples.ndim != 3 or samples.shape[2] != count or samples.dtype != np.uint16 or count < colors:
        raise UnreadableImageError("it is a TIFF that is damaged, or of a kind that is not read here")
    if int(tags.get(_ORIENTATION, 1)) != 1:
        raise UnreadableImageError("it is a TIFF of 16-bit color with an orientation, which is not read here")
    extra = _numbers(tags.get(_EXTRA), 0)
    chosen = samples[..., :colors]
    grey = shown(chosen, top_of(chosen), None)
    if count > colors and extra[0] == 2:  # unassociated alpha; associated alpha is multiplied in already
        grey *= scale(samples[..., colors], 0.0, 65535.0) / np.float32(255.0)
    return grey


def _palette_of_bytes(image: Image.Image, colors: NDArray[Any]) -> NDArray[np.float32]:
    """A palette whose writer took 8 bits for the 16 that TIFF has, which would all be black; libtiff does the same."""
    image.load()
    table = luma(colors.reshape(3, -1).T.astype(np.float64))
    places = np.asarray(ImageOps.exif_transpose(image))
    shown_as: NDArray[np.float32] = table[np.minimum(places, len(table) - 1)].astype(np.float32)
    return shown_as


def _check_inks_and_levels(tags: Any) -> None:
    """Refuse inks that are not cyan, magenta, yellow and black, and black or white that are not the range's ends."""
    if tags.get(_INKS, 1) != 1:
        raise UnreadableImageError("it is a TIFF of inks that are not read here")
    levels = [float(level) for level in tags.get(_BLACK_AND_WHITE, ())]
    if levels and (levels[0] != 0.0 or levels[1] not in (255.0, 65535.0)):
        raise UnreadableImageError("it is a TIFF whose black or white is not its range's end, which is not read here")


def _check_subsampling(photometric: int, tags: Any) -> None:
    """Pillow reads colors at full resolution only, where nothing compresses them."""
    if photometric == _YCBCR and tags.get(_COMPRESSION, 1) == 1 and _numbers(tags.get(_SUBSAMPLING), 2)[0] != 1:
        raise UnreadableImageError("it is a TIFF with uncompressed colors of lower resolution, which is not read here")


def _numbers(value: Any, default: int) -> Sequence[int]:
    """A tag's numbers; Pillow gives one alone without a tuple."""
    if value is None:
        return (default,)
    return tuple(value) if isinstance(value, tuple | list) else (int(value),)
