"""The search for images at rest finds them in every form, and nowhere else."""

import base64
import gzip
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pixel_search import files_with, telling_rows
from sample_images import encoded, picture

Pixels = NDArray[np.uint8]
SHOWN = np.stack([picture(seed, 32, 32) for seed in range(4)])


def packed(images: Pixels, save: Callable[..., None]) -> bytes:
    buffer = BytesIO()
    save(buffer, images=images)
    return buffer.getvalue()


FORMS: dict[str, Callable[[Pixels], bytes]] = {
    "bytes": lambda images: b"before" + images.tobytes(),
    "float32": lambda images: (images.astype(np.float32) / 255).tobytes(),
    "npz": lambda images: packed(images, np.savez),
    "compressed npz": lambda images: packed(images, np.savez_compressed),
    "an npz in an npz": lambda images: packed(
        np.frombuffer(packed(images, np.savez_compressed), np.uint8), np.savez_compressed
    ),
    "zlib in something": lambda images: b"something" * 9 + zlib.compress(images.tobytes()) + b"else",
    "PNG": lambda images: encoded(images[0]),
    "hexadecimal": lambda images: images.tobytes().hex().encode(),
    "base64": lambda images: base64.b64encode(b"x" + images.tobytes()),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_are_found_in_every_form(form: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(FORMS[form](SHOWN))
    (tmp_path / "other").write_bytes(FORMS[form](255 - SHOWN))
    assert files_with(telling_rows(SHOWN), tmp_path) == [tmp_path / "deep" / "file"]


def test_rows_that_could_be_anything_are_not_looked_for(tmp_path: Path) -> None:
    dark = np.zeros((2, 32, 32), np.uint8)
    dark[:, :, :8] = 7
    assert telling_rows(dark) == []
    assert len(telling_rows(SHOWN)) == 3 * len(SHOWN)
    (tmp_path / "zeros").write_bytes(bytes(4096) + gzip.compress(bytes(4096)))
    assert files_with(telling_rows(SHOWN), tmp_path) == []
