"""What each place of an image adds to a logit of the model `scatter`: exact, since its features go into a linear layer.

A logit is the sum, over channels and places, of feature times weight, and the bias. Summed over the channels, that is
a number a place; all of them and the bias are the logit. Features are those after normalization and centering: what a
place adds is meant beside drawn phantoms, whose mean features were taken off (docs/adr/0016).
"""

import numpy as np
from numpy.typing import NDArray

from fedward.explaining.spreading import Places, spread
from fedward.learning.model import Classifier
from fedward.learning.scattering import CHANNELS, STRIDE, filter_bank
from fedward.types import Vector


def contributions(classifier: Classifier, pixels: Vector, findings: NDArray[np.intp]) -> Vector:
    """What each place adds to the logit of one finding.

    Args:
        classifier: A `scatter`.
        pixels: float32, shape (n, size, size, 1), values in [0, 1].
        findings: Of each image, the place of the finding among the outputs; shape (n,).

    Returns:
        float32, shape (n, side, side); above 0: it speaks for the finding, below 0: against it.

    Guarantees:
        1. An image's numbers add up to its logit less the bias, but for rounding.
    """
    scattering, dense = classifier.network.layers[-2:]
    side = filter_bank(pixels.shape[1]).side
    each = np.asarray(scattering(pixels)) * np.asarray(dense.kernel)[:, findings].T
    places = each.reshape(len(pixels), CHANNELS, side, side).sum(axis=1, dtype=np.float64)
    return np.asarray(places, np.float32)


def places_of(size: int) -> Places:
    """Where the features of an image lie: means around every STRIDE-th pixel of the padded image."""
    return Places(STRIDE - filter_bank(size).border[0], STRIDE)


def contribution_maps(classifier: Classifier, pixels: Vector, findings: NDArray[np.intp]) -> Vector:
    """`contributions`, spread over the pixels: float32, shape (n, size, size)."""
    size = pixels.shape[1]
    return spread(contributions(classifier, pixels, findings), places_of(size), size)
