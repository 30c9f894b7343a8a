"""Confidence intervals of AUC, accuracy and other shares, with patients, not images, as the independent units.

Images of one patient resemble each other, so they are no independent draws: intervals by image would be too narrow.
All intervals are two-sided, of 95 %, and follow from the figures' linear parts summed by patient; no random numbers.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # quantiles of Student's distribution, by degrees of freedom

Wide = NDArray[np.float64]
Groups = NDArray[np.intp]
Interval = tuple[float, float]

NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %


def groups_of(patients: NDArray[np.str_]) -> Groups:
    """Numbers from 0 in place of names, in the order of their first image, whatever the names are: shape (n,)."""
    _, first, groups = np.unique(patients, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[groups].astype(np.intp)


def ratio_interval(hits: Wide, cases: Wide, groups: Groups) -> Interval | None:
    """Interval of `hits.sum() / cases.sum()`: accuracy, recall, precision, and the like.

    Wilson's interval at the effective number of cases: the number of independent cases at which a proportion would vary
    as much as this one does over patients (Rao and Scott 1992, "A Simple Method for the Analysis of Clustered Binary
    Data"). Where few patients tell how much they vary it is fewer, by the squared ratio of Student's quantiles for as
    many cases and as many patients, and it is never more than the cases (Korn and Graubard 1998, "Confidence Intervals
    for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data").

    Where every case is a hit, or none, nothing varies; then the number of patients with a case is taken as the
    effective number, as if all images of a patient had the same outcome. Where few patients have a miss, the variation
    rests on these few, and says nothing of patients of a kind not seen yet. So no result is surer than a faultless one
    of as many patients.

    Args:
        hits: float64, shape (n,); of each image.
        cases: Same shape; nowhere fewer than the hits.
        groups: The patient of each image.

    Returns:
        Both ends in [0, 1]; None with fewer than two patients that have a case.

    Guarantees:
        1. The lower end is not above that of a faultless result of as many patients, nor the upper end below that of a
           result without a hit.
        2. Neither the order of the images nor how their patients are numbered has an influence.

    Limits:
        Where patients have very unequal numbers of images, much alike, the ends hold the truth 90 times in 100.
    """
    by_hits, by_cases = np.bincount(groups, hits), np.bincount(groups, cases)
    taking_part = by_cases > 0
    by_hits, by_cases = by_hits[taking_part], by_cases[taking_part]
    count, total = len(by_cases), float(by_cases.sum())
    if count < 2:
        return None
    share = float(by_hits.sum()) / total
    # fsum rounds once, so that the sum is the same in whatever order the patients come.
    variance = count / (count - 1) * math.fsum((by_hits - share * by_cases) ** 2) / total**2
    spread, effective = share * (1 - share), total
    if spread == 0:
        effective = float(count)
    elif variance > 0:
        known = float(stdtrit(round(total) - 1, 0.975) / stdtrit(count - 1, 0.975))
        effective = min(total, spread / variance * known**2)
    (low, high), (faultless, _) = _wilson(share, effective), _wilson(1.0, count)
    return min(low, faultless), max(high, 1 - faultless)


def share_interval(hits: int, cases: int) -> Interval | None:
    """Wilson's interval of a share, where patients are not known and every case counts for itself.

    Returns:
        Both ends in [0, 1]; None with fewer than two cases.
    """
    return _wilson(hits / cases, cases) if cases > 1 else None


def auc_parts(scores: Wide, truth: NDArray[np.bool_], groups: Groups) -> tuple[float, Wide]:
    """AUC, and what each patient adds to its error: their squares sum to its variance.

    DeLong's variance (DeLong et al. 1988) for patients with several images, by Obuchowski 1997, "Nonparametric Analysis
    of Clustered ROC Curve Data". With one image a patient it is DeLong's own.

    Args:
        scores: float64, shape (n,).
        truth: Which images have the finding; both kinds are there.
        groups: The patient of each image.

    Returns:
        The AUC in [0, 1], ties as one half, and float64, shape (patients,).
    """
    positive, negative = scores[truth], scores[~truth]
    # Share of the other class that each image is on the right side of.
    right_of_positive = _share_below(negative, positive)
    right_of_negative = 1 - _share_below(positive, negative)
    area, size = float(right_of_positive.mean()), int(groups.max()) + 1
    parts = np.zeros(size, np.float64)
    for shares, of in ((right_of_positive, groups[truth]), (right_of_negative, groups[~truth])):
        patients = len(np.unique(of))
        correction = patients / (patients - 1) if patients > 1 else 1.0
        parts += math.sqrt(correction) * np.bincount(of, shares - area, minlength=size) / len(shares)
    return area, parts


def auc_interval(area: float, parts: Wide) -> Interval | None:
    """Interval of an AUC, or of a mean of AUCs with the mean of their parts.

    Normal on the scale of log odds, so that it stays inside [0, 1].

    Returns:
        None where the parts show no variation: an AUC of 0 or 1, scores that are all alike, or a single image of each
        class.
    """
    deviation = math.sqrt(math.fsum(parts**2))  # the same in whatever order the patients come
    if not 0 < area < 1 or deviation < 1e-12:
        return None
    middle, half = math.log(area / (1 - area)), NORMAL_QUANTILE * deviation / (area * (1 - area))
    low, high = (0.5 * (1 + math.tanh(0.5 * end)) for end in (middle - half, middle + half))
    return low, high


def _share_below(others: Wide, values: Wide) -> Wide:
    """Of each value, the share of the others that is smaller, ties as one half."""
    ordered = np.sort(others)
    below, up_to = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((below + up_to) / (2 * len(others)), np.float64)


def _wilson(share: float, cases: float) -> Interval:
    """Wilson 1927: the shares from which the one seen is no further than the quantile allows."""
    square = NORMAL_QUANTILE**2
    center = (share + square / (2 * cases)) / (1 + square / cases)
    half = NORMAL_QUANTILE / (1 + square / cases) * math.sqrt(share * (1 - share) / cases + square / (4 * cases**2))
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))
