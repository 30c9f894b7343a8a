"""Every kind of raster file to grey, and every kind of damage to a reason."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from sample_images import encoded, picture

from fedward.dataset.decoding import finish, stretch
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.rasters import decode_raster
from fedward.dataset.reading import decode

PICTURE = picture(1)


def grey_of(content: bytes) -> np.ndarray:
    return np.asarray(decode_raster(content).grey, dtype=np.float64)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_lossless_formats_give_the_very_pixels(kind: str) -> None:
    assert np.array_equal(grey_of(encoded(PICTURE, kind)), PICTURE)


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("WEBP", "RGB"), ("JPEG2000", "L")]
)
def test_lossy_formats_and_color_modes_come_close(kind: str, mode: str) -> None:
    assert (
        np.abs(
            grey_of(encoded(PICTURE, kind, mode, quality=95) if kind != "JPEG2000" else encoded(PICTURE, kind))
            - PICTURE
        ).mean()
        < 3
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_color_alpha_and_palette_files_read_as_the_grey_they_show(mode: str) -> None:
    assert np.abs(grey_of(encoded(PICTURE, "PNG", mode)) - PICTURE).max() <= 1


def test_transparent_pixels_are_black() -> None:
    colored = np.dstack([PICTURE, PICTURE, PICTURE, np.full_like(PICTURE, 255)])
    colored[:5, :, 3] = 0
    grey = grey_of(encoded(colored))
    assert (grey[:5] == 0).all()
    assert np.abs(grey[5:] - PICTURE[5:]).max() <= 1


def test_sixteen_bit_copy_reads_like_the_eight_bit_original() -> None:
    copy = PICTURE.astype(np.uint16) * 257
    for kind in ("PNG", "TIFF"):
        assert np.allclose(grey_of(encoded(copy, kind)), PICTURE, atol=0.01)
    assert decode(encoded(copy), 16).digest == decode(encoded(PICTURE), 16).digest


def test_twelve_bits_in_sixteen_fill_the_range() -> None:
    twelve = np.linspace(0, 4095, PICTURE.size).reshape(PICTURE.shape).astype(np.uint16)
    grey = grey_of(encoded(twelve))
    assert (grey.min(), grey.max()) == (0, 255)


def test_stretch_of_signed_and_of_fractions() -> None:
    assert stretch(np.array([-100, 155], dtype=np.int16)).tolist() == [0, 255]
    assert stretch(np.array([0.0, 0.5, 1.0])).tolist() == [0, 127.5, 255]
    assert stretch(np.array([-2.0, 0.0, 2.0])).tolist() == [0, 127.5, 255]
    assert stretch(np.array([0.0, 0.5, 1.02])).tolist() == pytest.approx([0, 125, 255])  # a filter overshot
    assert stretch(np.array([0.0, 100.0, 255.0])).tolist() == [0, 100, 255]
    with pytest.raises(UnreadableImageError, match="not numbers"):
        stretch(np.array([0.0, np.nan]))


def test_exif_orientation_is_applied_and_counted() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate clockwise to show
    found = decode_raster(encoded(PICTURE, "PNG", exif=exif))
    assert np.array_equal(found.grey, np.rot90(PICTURE, -1))
    assert found.dropped["EXIF fields"] == 1


def test_resizing_keeps_the_mean_and_squashes_to_a_square() -> None:
    square, _ = finish(PICTURE, 8)
    assert square.shape == (8, 8)
    assert square.dtype == np.uint8
    assert abs(float(square.mean()) - float(PICTURE.mean())) < 3


def test_resizing_does_not_alias() -> None:
    """A checkerboard of single pixels becomes even grey, not a pattern of its own."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    square, _ = finish(board, 16)
    assert np.abs(square[2:-2, 2:-2].astype(int) - 127).max() <= 3


def test_digest_is_of_the_pixels_not_of_the_file() -> None:
    digests = {decode(encoded(PICTURE, kind), 16).digest for kind in ("PNG", "BMP", "TIFF")}
    assert len(digests) == 1
    changed = PICTURE.copy()
    changed[3, 3] ^= 1
    assert decode(encoded(changed), 16).digest not in digests


def png_header_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_decompression_bombs_are_refused_by_their_header(side: int) -> None:
    with pytest.raises(UnreadableImageError, match="pixels"):
        decode(png_header_of(side, side), 16)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello, I am a text", "no image format"),
        (b"<html><body>404</body></html>", "no image format"),
        (b"\0" * 4096, "no image format"),
        (encoded(PICTURE, "JPEG")[:300], "damaged|no image"),
        (encoded(PICTURE)[:120], "damaged"),
        (encoded(PICTURE)[:20], "damaged|no image"),
        (encoded(PICTURE[:5, :5]), "smaller than 8"),
    ],
)
def test_damage_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode(content, 16)


def test_foreign_interpreters_stay_out_of_reach() -> None:
    with pytest.raises(UnreadableImageError):
        decode(encoded(PICTURE, "EPS"), 16)
