"""How close images are: PSNR, and SSIM by windows and over whole images; one figure an image, so that means can follow.

All three compare float images of [0, 1]. Values of images that were rounded to 8 bits differ: say which they are.

References:
    Wang, Bovik, Sheikh and Simoncelli 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity".
"""

import numpy as np
from numpy.typing import NDArray

from fedward.errors import DataError
from fedward.learning.quiet_tensorflow import tf
from fedward.types import Vector

SMALLEST_SIDE = 11  # pixels: of the window of `ssim`
_BATCH = 256
_C1, _C2 = 0.01**2, 0.03**2  # what keeps quotients of small numbers calm, as in the paper


def psnr(images: Vector, others: Vector) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio in dB of each image against its other, at a peak of 1.

    Args:
        images: float32, shape (n, height, width, 1), values in [0, 1].
        others: The same shape.

    Returns:
        float64, shape (n,): -10 log10 of the mean squared difference; infinite where they are equal.

    Raises:
        DataError: their shapes differ.
    """
    _check(images, others)
    errors = np.array(
        [np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2) for a, b in zip(images, others, strict=True)]
    )
    with np.errstate(divide="ignore"):
        return np.asarray(-10.0 * np.log10(errors), np.float64)


def ssim(images: Vector, others: Vector) -> NDArray[np.float64]:
    """Structural similarity of each image and its other: the mean over windows of 11 by 11, Gaussian with sigma 1.5.

    TensorFlow's own, which takes windows that lie inside the image only.

    Args:
        images: float32, shape (n, height, width, 1), at least 11 by 11, values in [0, 1].
        others: The same shape.

    Returns:
        float64, shape (n,), at most 1; 1 where they are equal.

    Raises:
        DataError: their shapes differ, or they are smaller than a window.
    """
    _check(images, others)
    if len(images) and min(images.shape[1:3]) < SMALLEST_SIDE:
        raise DataError(f"SSIM needs images of at least {SMALLEST_SIDE} pixels a side.", "Use larger images.")
    found = np.empty(len(images), np.float64)
    for start in range(0, len(images), _BATCH):
        rows = slice(start, start + _BATCH)
        found[rows] = tf.image.ssim(tf.constant(images[rows]), tf.constant(others[rows]), max_val=1.0).numpy()
    return found


def ssim_global(images: Vector, others: Vector) -> NDArray[np.float64]:
    """Structural similarity with the whole image as the one window; other studies report this. Shapes as in `ssim`."""
    _check(images, others)
    a, b = images.astype(np.float64), others.astype(np.float64)
    whole = (1, 2, 3)
    mean_a, mean_b = a.mean(whole), b.mean(whole)
    shared = (a * b).mean(whole) - mean_a * mean_b
    light = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * shared + _C2) / (a.var(whole) + b.var(whole) + _C2)
    return np.asarray(light * structure, np.float64)


def likeness(images: Vector, originals: Vector) -> dict[str, float | None]:
    """Means and medians of PSNR in dB and of SSIM; PSNR leaves out images that are equal, whose number is said.

    Shapes as in `psnr` and `ssim`; at least one image.
    """
    decibels, similar = psnr(images, originals), ssim(images, originals)
    changed = decibels[np.isfinite(decibels)]
    return {
        "psnr_db": float(changed.mean()) if len(changed) else None,
        "psnr_db_median": float(np.median(changed)) if len(changed) else None,
        "ssim": float(similar.mean()),
        "ssim_median": float(np.median(similar)),
        "unchanged": int(len(decibels) - len(changed)),
    }


def _check(images: Vector, others: Vector) -> None:
    if images.shape != others.shape or images.ndim != 4:
        raise DataError(
            f"Images of shape {images.shape} and {others.shape} cannot be compared.", "Give each image its own other."
        )
