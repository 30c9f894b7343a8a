"""Breaks any affine cipher from known plaintexts by least squares, without its weights.

An affine function of 512 numbers has 513 unknown rows, so 513 triples (code, key's code, what was sent) determine it,
and under one key, which only adds a constant, 257 pairs do. Fewer are enough where codes do not span all dimensions.
"""

from collections.abc import Sequence

import numpy as np
from scipy.linalg import lstsq

from fedward.labs.neural_crypto.autoencoder import Wide
from fedward.labs.neural_crypto.published import with_one

EXACT = 1e-6  # what is sent, and codes, are of the order of 1
_SMALLEST = 1e-12  # of the largest: directions below it are rounding


def fit_affine(inputs: Wide, outputs: Wide) -> Wide:
    """The affine map of least squares, and of the least weights where many are as good.

    Args:
        inputs: float64, shape (n, numbers in).
        outputs: float64, shape (n, numbers out).

    Returns:
        float64, shape (numbers in + 1, numbers out); the last row is the constant.

    Guarantees:
        1. If outputs are an affine function of inputs, and inputs with a 1 span all dimensions, this is it, up to
           rounding.
    """
    found, *_ = lstsq(with_one(inputs), outputs, cond=_SMALLEST, lapack_driver="gelsy")
    return np.asarray(found, np.float64)


def apply_affine(fitted: Wide, inputs: Wide) -> Wide:
    """What the map gives for inputs."""
    return with_one(inputs) @ fitted


def errors_by_known(
    known: tuple[Wide, Wide], unseen: tuple[Wide, Wide], counts: Sequence[int]
) -> dict[str, dict[str, float]]:
    """How far the map that the first of the known give is off on unseen inputs, by how many they are.

    Args:
        known: Inputs and outputs.
        unseen: Others.
        counts: How many of the known to take; those that are too many are left out.

    Returns:
        By count, of each unseen row's largest error: `largest` and `median`, and the share of rows that are `exact`,
        with no error of `EXACT` or more.
    """
    found = {}
    for count in counts:
        if count <= len(known[0]):
            fitted = fit_affine(known[0][:count], known[1][:count])
            errors = np.abs(apply_affine(fitted, unseen[0]) - unseen[1]).max(axis=1)
            found[str(count)] = {
                "largest": float(errors.max()),
                "median": float(np.median(errors)),
                "exact": float((errors < EXACT).mean()),
            }
    return found
