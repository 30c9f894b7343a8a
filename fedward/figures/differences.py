"""Differences between two models' figures: paired on the same test images, or from their intervals where these differ.

As in `fedward.figures.intervals`, patients are the independent units, and all intervals are two-sided, of 95 %. Two
models err on much the same images: paired intervals know that, and are narrower for it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # quantiles of Student's distribution, by degrees of freedom

from fedward.figures.intervals import NORMAL_QUANTILE, Groups, Interval, Wide, auc_parts
from fedward.types import Vector


@dataclass(frozen=True)
class Difference:
    """How much higher a figure of the second model is than the first's.

    Attributes:
        value: Second minus first.
        interval: Of 95 %; None where nothing tells how much it varies.
        p: Chance of a difference as large or larger between models that are equally good; None where not tested.
    """

    value: float
    interval: Interval | None
    p: float | None


def auc_difference(first: Vector, second: Vector, truth: NDArray[np.bool_], groups: Groups) -> Difference | None:
    """DeLong's test of two AUCs on the same images, with patients that have several; mean over findings.

    The variance is that of the patients' parts of the difference: DeLong, DeLong and Clarke-Pearson 1988, "Comparing
    the Areas under Two or More Correlated Receiver Operating Characteristic Curves", by patient after Obuchowski 1997,
    "Nonparametric Analysis of Clustered ROC Curve Data". With one image a patient it is DeLong's own.

    Args:
        first: Scores or logits, shape (n, findings).
        second: Same shape.
        truth: Same shape: which images have the finding.
        groups: The patient of each image, shape (n,), numbered from 0.

    Returns:
        None where no finding has two patients with it and two without.
    """
    defined = [
        k
        for k in range(truth.shape[1])
        if min(len(np.unique(groups[truth[:, k] == kind])) for kind in (True, False)) > 1
    ]
    if not defined:
        return None
    areas, parts = [], []
    for k in defined:
        (before, its), (after, others) = (
            auc_parts(each[:, k].astype(np.float64), truth[:, k], groups) for each in (first, second)
        )
        areas.append(after - before)
        parts.append(others - its)
    value = float(np.mean(areas))
    deviation = math.sqrt(math.fsum(np.mean(parts, axis=0) ** 2))
    if deviation < 1e-12:  # both order the images alike
        return Difference(value, None, None)
    half = NORMAL_QUANTILE * deviation
    interval = max(-1.0, value - half), min(1.0, value + half)
    return Difference(value, interval, math.erfc(abs(value) / deviation / math.sqrt(2)))


def share_difference(first: NDArray[np.bool_], second: NDArray[np.bool_], groups: Groups) -> Difference:
    """McNemar's test of two shares of right decisions on the same images, exact and by patient.

    A patient counts by the decisions that the second model gains there, minus those that it loses. If both are equally
    good, a gain is as likely as a loss of the same size: the chance counts all ways to give the gains their signs. With
    one image a patient that is McNemar's exact test (McNemar 1947, "Note on the Sampling Error of the Difference
    between Correlated Proportions or Percentages"); of clusters the statistic is that of Yang, Sun and Hardin 2010, "A
    Note on the Tests for Clustered Matched-Pair Binary Data".

    Args:
        first: Which decisions are right, shape (n, findings).
        second: Same shape.
        groups: The patient of each image, shape (n,), numbered from 0.

    Limits:
        The interval is the normal one, with Student's quantile for as many patients: where few patients differ it is
        no more than a hint.
    """
    size = int(groups.max()) + 1
    gained = np.bincount(groups, second.sum(axis=1) - first.sum(axis=1).astype(np.float64), minlength=size)
    cases = np.bincount(groups, np.full(len(groups), first.shape[1], np.float64), minlength=size)
    total, value = float(cases.sum()), float(gained.sum() / cases.sum())
    p = _sign_chance(np.rint(gained).astype(np.int64))
    if size < 2 or not gained.any():
        return Difference(value, None, p)
    variance = size / (size - 1) * math.fsum((gained - value * cases) ** 2) / total**2
    half = float(stdtrit(size - 1, 0.975)) * math.sqrt(variance)
    return Difference(value, (max(-1.0, value - half), min(1.0, value + half)), p)


def unpaired_difference(first: float, of_first: Interval, second: float, of_second: Interval) -> Difference:
    """The difference of two figures on different images, from their intervals.

    The interval is that of Zou and Donner 2008, "Construction of Confidence Limits about Effect Measures: A General
    Approach", which is Newcombe's of 1998 where both are Wilson's.
    """
    value = second - first
    low = value - math.hypot(second - of_second[0], of_first[1] - first)
    high = value + math.hypot(of_second[1] - second, first - of_first[0])
    return Difference(value, (low, high), None)


def _sign_chance(gains: NDArray[np.int64]) -> float:
    """Of all ways to give the gains their signs, the share whose sum is as far from 0 as theirs, or further."""
    sizes = np.abs(gains[gains != 0])
    total, seen = int(sizes.sum()), abs(int(gains.sum()))
    chances: Wide = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for size in sizes:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2  # never reaches the ends: sums stay in reach
    far = np.abs(np.arange(-total, total + 1)) >= seen
    return min(1.0, float(chances[far].sum()))
