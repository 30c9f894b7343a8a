"""Whether an image looks like an upright chest X-ray, as far as a mean of drawn phantoms tells.

A classifier scores whatever it is given, be it a hand, a film upside down or a photograph of a film, and the score does
not show it. What would show it best, statistics of the images it was trained on, would have to leave the hospitals. So
the reference is drawn: the mean of phantoms, of which no patient's image has a part (docs/adr/0040). It knows what all
frontal chest X-rays share: dark lungs on both sides of a bright middle, and wider and brighter below.

An image is reduced to 32 by 32 pixels and to their ranks, so that exposure and contrast do not count. It is correlated
with the reference as it is, and turned by quarters. It is unlike if it correlates too little as it is, or too much less
than when it is turned.

Limits: it tells of framing and orientation, not of what a model was trained on. To one that was trained on other images
than frontal chest X-rays, its warnings mean nothing. A chest mirrored from left to right passes, and so do many images
that are bright in the middle and dark on both sides. `benchmarks/unlike_images.py` measures how often it errs.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedward.dataset.phantoms import list_phantoms

# Chosen on X-rays of other patients than those that errors are reported of: 2 and 1 in 100 of them are below.
LEAST_ALIKE = 0.38  # correlation with the reference, over all of the image but its corners
LEAST_AHEAD = -0.02  # by which the correlation as it is exceeds the best one turned, over the middle of the image

_SIDE = 32
_PHANTOMS, _PHANTOM_SEED = 512, 1
_WHOLE, _MIDDLE = 1.0, 0.8  # widths of the windows, in half sides
INVERTED = "inverted: dark where X-rays are bright"
UPSIDE_DOWN, TURNED = "upside down", "turned by a quarter"
OTHERWISE = "framed otherwise, or no frontal chest X-ray"
_TURNS = ("", TURNED, UPSIDE_DOWN, TURNED)

Plane = NDArray[np.float64]


def unlike(images: NDArray[np.uint8]) -> list[str]:
    """Of each image how it is unlike an upright chest X-ray, "" where it is not.

    Args:
        images: uint8, shape (n, size, size); what the model sees.

    Guarantees:
        1. Brighter, darker or of other contrast, an image gets the same answer, as long as no two grays become one.
    """
    whole, middle = _correlations(images, _WHOLE), _correlations(images, _MIDDLE)
    odd = (whole[:, 0] < LEAST_ALIKE) | (_ahead(middle) < LEAST_AHEAD)
    return [_how(whole[row], middle[row]) if odd[row] else "" for row in range(len(images))]


def correlations(images: NDArray[np.uint8]) -> tuple[Plane, Plane]:
    """What the two thresholds are compared with, of each image: float64, shape (n,), twice."""
    return _correlations(images, _WHOLE)[:, 0], _ahead(_correlations(images, _MIDDLE))


def _ahead(middle: Plane) -> Plane:
    """By how much the correlation as it is exceeds the best one turned."""
    return np.asarray(middle[:, 0] - middle[:, 1:].max(axis=1))


def _how(whole: Plane, middle: Plane) -> str:
    """In which way an image would be alike, if in any: inverted, or turned."""
    if -whole.min() >= max(LEAST_ALIKE, whole.max()):
        return INVERTED
    turns = int(middle.argmax())
    if turns and max(whole[turns], middle[turns]) >= LEAST_ALIKE:
        return _TURNS[turns]
    return OTHERWISE


def _correlations(images: NDArray[np.uint8], width: float) -> Plane:
    """Correlation with the reference under a window, as the images are and turned: shape (n, 4)."""
    window = _window(width)
    planes = _leveled(_ranks(images), window)
    turned = (np.rot90(planes, turns, (1, 2)) for turns in range(4))
    return np.stack([(plane * _reference(width) * window).sum((1, 2)) for plane in turned], axis=1)


@cache
def _reference(width: float) -> Plane:
    """The mean of drawn phantoms, the same on both sides."""
    drawn = np.asarray(list_phantoms(_PHANTOMS, _SIDE, _PHANTOM_SEED).pixels)
    mean = _leveled(_ranks(drawn), _window(1e3)).mean(axis=0)
    return np.asarray(_leveled(((mean + mean[:, ::-1]) / 2)[None], _window(width))[0])


@cache
def _window(width: float) -> Plane:
    """Weights of the pixels, 1 in the middle, falling off steeply about `width` half sides from it."""
    axis = np.linspace(-1, 1, _SIDE)
    squared = (axis[:, None] ** 2 + axis[None, :] ** 2) / width**2
    return np.asarray(np.exp(-(squared**2)))


def _ranks(images: NDArray[np.uint8]) -> Plane:
    """Small copies in which each pixel is its rank among all; equal ones share theirs: shape (n, side, side)."""
    found = np.empty((len(images), _SIDE, _SIDE))
    for row, image in enumerate(images):
        small = Image.fromarray(image.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        values = np.asarray(small).ravel()
        ordered = np.sort(values)
        ranks = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
        found[row] = ranks.reshape(_SIDE, _SIDE) / 2
    return found


def _leveled(planes: Plane, window: Plane) -> Plane:
    """Planes of weighted mean 0 and weighted square sum 1; even ones are 0."""
    level = planes - (planes * window).sum((1, 2), keepdims=True) / window.sum()
    length = np.sqrt((level**2 * window).sum((1, 2), keepdims=True))
    return np.asarray(level / np.maximum(length, 1e-9))
