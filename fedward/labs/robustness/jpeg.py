"""The defense "jpeg": images pass through a JPEG file, and what an attacker follows who knows what such a file does."""

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedward.labs.robustness.defenses import InputDefense
from fedward.learning.quiet_tensorflow import tf
from fedward.types import Vector

_BLOCK = 8  # pixels a side, whose cosine transform is rounded together
_WHITE, _MIDDLE = 255.0, 128.0


@dataclass(frozen=True)
class Jpeg(InputDefense):
    """Images pass through a JPEG file, which keeps no fine detail.

    Rounding has no gradient. Taking the image's own in its place is no attack: nearly all of what it changes is rounded
    away, and the defense seems to hold. Here images are those of the file, and gradients those of `smooth_jpeg`.

    Attributes:
        quality: Of the file, 1 to 95.
    """

    quality: int = 20

    def cleaned(self, pixels: Vector) -> Vector:
        """See `InputDefense`."""
        return np.stack([self._through_file(image) for image in pixels]) if len(pixels) else pixels

    def differentiable(self, pixels: Any) -> Any:
        """See `InputDefense`."""
        cleaned = tf.ensure_shape(tf.numpy_function(self.cleaned, [pixels], tf.float32), pixels.shape)
        smooth = smooth_jpeg(pixels, self.quality)
        return smooth + tf.stop_gradient(cleaned - smooth)

    def _through_file(self, image: Vector) -> Vector:
        with Image.open(io.BytesIO(_file(image, self.quality))) as kept:
            return (np.asarray(kept, np.float32) / np.float32(255))[..., None]


def _file(image: Vector, quality: int) -> bytes:
    content = io.BytesIO()
    grey = np.round(np.clip(image[..., 0], 0, 1) * 255).astype(np.uint8)
    Image.fromarray(grey).save(content, "JPEG", quality=quality)
    return content.getvalue()


def smooth_jpeg(pixels: Any, quality: int) -> Any:
    """What a JPEG file makes of grey images, with rounding that has a slope.

    A coefficient q becomes r + (q - r)^3, r being q rounded (Shin and Song 2017, "JPEG-resistant adversarial images"):
    it hardly moves near a whole number, where the file's would not move either, and most between two.

    Args:
        pixels: Tensor, float32, shape (n, height, width, 1), values in [0, 1].
        quality: Of the file, 1 to 95.

    Returns:
        Tensor of that shape, not clipped.
    """
    _, height, width, _ = pixels.shape
    rows, columns = (np.minimum(np.arange(-(-side // _BLOCK) * _BLOCK), side - 1) for side in (height, width))
    whole = tf.gather(tf.gather(pixels, rows, axis=1), columns, axis=2)  # the file repeats the last rows as well
    blocks = tf.reshape(whole * _WHITE - _MIDDLE, (-1, len(rows) // _BLOCK, _BLOCK, len(columns) // _BLOCK, _BLOCK))
    cosines, steps = _cosines(), _rounding_steps(quality)
    scaled = tf.einsum("ui,naibj,vj->nabuv", cosines, blocks, cosines) / steps
    rounded = tf.round(scaled)
    kept = (rounded + (scaled - rounded) ** 3) * steps
    back = tf.einsum("ui,nabuv,vj->naibj", cosines, kept, cosines)
    return (tf.reshape(back, (-1, len(rows), len(columns), 1))[:, :height, :width] + _MIDDLE) / _WHITE


@functools.cache
def _rounding_steps(quality: int) -> NDArray[np.float32]:
    """What coefficients are rounded to multiples of: shape (8, 8), as the encoder writes it into its files."""
    blank = np.zeros((_BLOCK, _BLOCK, 1), np.float32)
    with Image.open(io.BytesIO(_file(blank, quality))) as kept:
        return np.array(kept.quantization[0], np.float32).reshape(_BLOCK, _BLOCK)  # type: ignore[attr-defined]


@functools.cache
def _cosines() -> NDArray[np.float32]:
    """The orthonormal cosine transform of a row of a block: shape (8, 8), frequency by pixel."""
    frequency, pixel = np.arange(_BLOCK)[:, None], np.arange(_BLOCK)[None]
    waves = np.sqrt(2 / _BLOCK) * np.cos((2 * pixel + 1) * frequency * np.pi / (2 * _BLOCK))
    waves[0] /= np.sqrt(2)
    return np.asarray(waves, np.float32)
