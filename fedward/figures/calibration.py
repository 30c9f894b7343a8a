"""Calibration of a model's scores: from a score to the share of images with that score that have the finding.

Platt scaling: a logit x becomes a * x + b, with a and b of the greatest likelihood on validation images. Their score
histograms are enough: bins are so narrow that the middle of a bin stands for all logits in it. To keep a small or
perfectly told set from giving certainties, labels are what Platt recommends, (n1 + 1) / (n1 + 2) for the n1 positives
and 1 / (n0 + 2) for the n0 negatives.

References: Platt 1999, "Probabilistic outputs for support vector machines"; Lin, Lin and Weng 2007, "A note on Platt's
probabilistic outputs", whose Newton steps these are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.figures.histograms import ScoreHistogram, bin_logits, wide_sigmoid
from fedward.types import Vector

FEWEST = 10  # images of each class that a line is fitted to; fewer say too little of two numbers
_STEPS, _SHORTEST = 100, 1e-10  # Newton steps at most, and the least part of a step that is tried
_RIDGE = 1e-12  # added to the curvature, so that it can be inverted
_FLAT = 1e-12  # of the gradient: where the fit ends


@dataclass(frozen=True)
class Calibration:
    """From a finding's logits to calibrated ones.

    Attributes:
        slope: Above 0, so that images keep their order and a threshold its decisions.
        intercept: What is added then.
        images: Validation images that it was fitted to.
    """

    slope: float
    intercept: float
    images: int

    def probabilities(self, logits: Vector) -> NDArray[np.float64]:
        """Calibrated probabilities of a finding's logits, of the same shape."""
        return wide_sigmoid(self.slope * logits.astype(np.float64) + self.intercept)


def calibrations(counts: ScoreHistogram) -> tuple[Calibration | None, ...]:
    """The calibration of each finding, from pooled validation counts; None where these do not give any.

    They give none with fewer than `FEWEST` images of a class, or where scores do not rise with the finding.
    """
    return tuple(
        _fitted(positive.astype(np.float64), negative.astype(np.float64))
        for positive, negative in zip(counts.positives, counts.negatives, strict=True)
    )


def _fitted(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> Calibration | None:
    """The line of greatest likelihood for one finding's counts by bin."""
    with_it, without = float(positives.sum()), float(negatives.sum())
    if min(with_it, without) < FEWEST:
        return None
    used = (positives + negatives) > 0
    logits, weights = bin_logits()[used], (positives + negatives)[used]
    wanted = positives[used] * (with_it + 1) / (with_it + 2) + negatives[used] / (without + 2)
    columns = np.stack([logits, np.ones_like(logits)])
    line = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        shares = wide_sigmoid(line @ columns)
        gradient = columns @ (weights * shares - wanted)
        if np.abs(gradient).max() < _FLAT * weights.sum():
            break
        curvature = (columns * (weights * shares * (1 - shares))) @ columns.T + _RIDGE * np.eye(2)
        step = np.asarray(-np.linalg.solve(curvature, gradient), np.float64)
        line = _moved(line, step, gradient, columns, weights, wanted)
    slope, intercept = (float(number) for number in line)
    return Calibration(slope, intercept, round(with_it + without)) if slope > 0 and np.isfinite(line).all() else None


def _moved(
    line: NDArray[np.float64],
    step: NDArray[np.float64],
    gradient: NDArray[np.float64],
    columns: NDArray[np.float64],
    weights: NDArray[np.float64],
    wanted: NDArray[np.float64],
) -> NDArray[np.float64]:
    """A Newton step, halved until it lowers the loss as much as its slope promises; the same line where none does."""

    def loss(at: NDArray[np.float64]) -> float:
        lines = at @ columns
        return float(np.sum(weights * np.logaddexp(0, lines) - wanted * lines))

    part, before, promised = 1.0, loss(line), float(gradient @ step)
    while part > _SHORTEST:
        if loss(line + part * step) <= before + 1e-4 * part * promised:
            return line + part * step
        part /= 2
    return line
