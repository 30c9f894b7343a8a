"""What score histograms say of one finding at any threshold: decisions, shares with intervals, curves.

Histograms do not tell patients apart, so intervals here take every image for a patient of its own. Where patients have
several images, much alike, they are too narrow: `fedward.figures.scores` has intervals by patient, of single scores.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.figures.histograms import BINS, THRESHOLDS
from fedward.figures.intervals import Interval, auc_interval, share_interval
from fedward.figures.scores import CALIBRATION_BINS

Counts = NDArray[np.int64]  # images of one kind by bin of the score: shape (BINS,)

_SINGLE = THRESHOLDS.astype(np.float32)  # as scores and thresholds are compared


@dataclass(frozen=True)
class Share:
    """Some of several cases.

    Attributes:
        hits, cases: How many, of how many.
    """

    hits: int
    cases: int

    @property
    def value(self) -> float | None:
        """In [0, 1]; None without a case."""
        return self.hits / self.cases if self.cases else None

    @property
    def interval(self) -> Interval | None:
        """Of 95 %, every case for itself; None with fewer than two cases."""
        return share_interval(self.hits, self.cases)


@dataclass(frozen=True)
class OperatingPoint:
    """Decisions at a threshold.

    Attributes:
        edge: Which edge between bins the threshold is, from 0 to `BINS`.
        true_positives, false_positives, true_negatives, false_negatives: Images by decision and truth.
    """

    edge: int
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def threshold(self) -> float:
        """The score from which on an image is called positive."""
        return float(THRESHOLDS[self.edge])

    @property
    def sensitivity(self) -> Share:
        """Of images with the finding, those that are called."""
        return Share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> Share:
        """Of images without the finding, those that are not called."""
        return Share(self.true_negatives, self.true_negatives + self.false_positives)

    @property
    def precision(self) -> Share:
        """Of images that are called, those with the finding."""
        return Share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def accuracy(self) -> Share:
        """Of all images, those that are decided rightly."""
        right = self.true_positives + self.true_negatives
        return Share(right, right + self.false_positives + self.false_negatives)


@dataclass(frozen=True)
class ReliabilityBin:
    """Images of similar probability.

    Attributes:
        mean: Their mean probability.
        positive: Those of them with the finding.
    """

    mean: float
    positive: Share


def nearest_edge(threshold: float) -> int:
    """The edge between bins that is nearest to a threshold in [0, 1]: histograms tell nothing of what is between."""
    above = int(np.clip(np.searchsorted(THRESHOLDS, threshold), 1, BINS))
    return same_decisions(above - (threshold - THRESHOLDS[above - 1] < THRESHOLDS[above] - threshold))


def same_decisions(edge: int) -> int:
    """The first of the edges that are the same number where scores are compared."""
    return int(np.searchsorted(_SINGLE, _SINGLE[min(max(edge, 0), BINS)], "left"))


def decisions(positives: Counts, negatives: Counts, edge: int) -> OperatingPoint:
    """Decisions on the images of two histograms with the threshold at an edge.

    Args:
        positives: Images with the finding.
        negatives: Images without it.
        edge: From 0, where every image is called, to `BINS`.
    """
    hits, alarms = int(positives[edge:].sum()), int(negatives[edge:].sum())
    return OperatingPoint(edge, hits, alarms, int(negatives.sum()) - alarms, int(positives.sum()) - hits)


def roc_curve(positives: Counts, negatives: Counts) -> list[tuple[float, float, int]]:
    """Share of false alarms, sensitivity, and edge, from the highest threshold to the lowest; none for one class only.

    Edges between which no image lies give the same point, and stand there once, by the lowest of them.
    """
    all_positive, all_negative = int(positives.sum()), int(negatives.sum())
    if not all_positive or not all_negative:
        return []
    used = np.flatnonzero(positives + negatives)[::-1]
    hits, alarms = np.cumsum(positives[used]), np.cumsum(negatives[used])
    points = zip((alarms / all_negative).tolist(), (hits / all_positive).tolist(), used.tolist(), strict=True)
    return [(0.0, 0.0, int(used[0]) + 1), *points]


def area(positives: Counts, negatives: Counts) -> tuple[float | None, Interval | None]:
    """AUC, scores of one bin as ties, and its interval by DeLong et al. 1988, every image for itself.

    Returns:
        None without images of both classes; no interval with fewer than two of each, or without any spread.
    """
    with_it, without = float(positives.sum()), float(negatives.sum())
    if not with_it or not without:
        return None, None
    # Share of the other class that an image of each bin is on the right side of.
    right_of_positive = (np.cumsum(negatives) - negatives / 2) / without
    right_of_negative = 1 - (np.cumsum(positives) - positives / 2) / with_it
    found = float(np.sum(positives * right_of_positive)) / with_it
    if min(with_it, without) < 2:
        return found, None
    spread = sum(
        float(np.sum(counts * (shares - found) ** 2)) / (total * (total - 1))
        for counts, shares, total in (
            (positives, right_of_positive, with_it),
            (negatives, right_of_negative, without),
        )
    )
    return found, auc_interval(found, np.array([math.sqrt(spread)]))


def reliability_curve(positives: Counts, negatives: Counts, chances: NDArray[np.float64]) -> list[ReliabilityBin]:
    """How probabilities and shares of positive images agree, in bins of equal width; those without images left out.

    Args:
        positives: Images with the finding.
        negatives: Images without it.
        chances: The probability that stands for each bin of the score: shape (BINS,), in [0, 1].
    """
    bins = np.minimum((chances * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    found = []
    for each in range(CALIBRATION_BINS):
        inside = bins == each
        hits, cases = int(positives[inside].sum()), int((positives + negatives)[inside].sum())
        if cases:
            mean = float(np.sum((positives + negatives)[inside] * chances[inside])) / cases
            found.append(ReliabilityBin(mean, Share(hits, cases)))
    return found
