"""What the harness measures of attempts: likeness, whom the attacker names, and how many positive labels he reads."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fedward.labs.leakage.victims import Drawn
from fedward.reconstruction.quality import psnr, ssim, ssim_global
from fedward.types import Vector

MOST_DB = 99.0  # what equal images are given, whose PSNR is infinite

Figures = Mapping[str, NDArray[np.float64]]


def figures(images: Vector, originals: Vector) -> Figures:
    """PSNR in dB, SSIM by windows and over whole images, of each image against its original."""
    return {
        "psnr_db": np.minimum(psnr(images, originals), MOST_DB),
        "ssim": ssim(images, originals),
        "ssim_global": ssim_global(images, originals),
    }


def means(of: Figures) -> dict[str, float]:
    """The means over images."""
    return {name: float(values.mean()) for name, values in of.items()}


def matched(found: Vector, originals: Vector) -> Vector:
    """Reconstructions in the order of the originals that they are nearest to: a batch has no order.

    Args:
        found: float32, shape (n, size, size, 1).
        originals: The same shape.
    """
    errors = np.array([[np.mean((image - original) ** 2) for image in found] for original in originals])
    return np.asarray(found[linear_sum_assignment(errors)[1]])


def names(found: Vector, drawn: Drawn, prior: Vector) -> bool:
    """Whether the attacker's one guess is right: the candidate that correlates most with any of what he found.

    What all X-rays share is taken away first. He guesses once for all his attempts, and by chance is right once in
    `drawn.among` times.

    Args:
        found: Of all attempts, float32, shape (n, size, size, 1).
        drawn: The candidates, which he has, and which of them are right, which he has not.
        prior: The mean of other patients' X-rays.
    """
    guesses, candidates = (directions(images - prior) for images in (found, drawn.candidates))
    alike = guesses @ candidates.T
    return bool(drawn.true[int(alike.max(0).argmax())])


def positives_read(bias: float, expected: float, count: int) -> int:
    """How many of the labels are positive, by the gradient of the last bias: the mean of what the model says minus it.

    Args:
        bias: That gradient, as the server sees it, a step.
        expected: The probability that the model gives to an image of which nothing is known.
        count: Images in what is seen.
    """
    return int(np.clip(np.rint(count * (expected - bias)), 0, count))


def classes_read(bias: Vector, count: int) -> NDArray[np.intp]:
    """Which classes so many images have, each another: those whose last bias is pulled up most.

    Args:
        bias: The gradient of the last bias, one number a class.
        count: Images in what is seen.
    """
    return np.argsort(bias, kind="stable")[:count]


def directions(images: Vector) -> NDArray[np.float64]:
    """Images as rows of mean 0 and length 1, whose products are correlations: shape (n, pixels)."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12), np.float64)
