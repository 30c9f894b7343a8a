"""Validation figures of a round: hospitals' counts, pooled in one order, and what the pooled counts say.

The server, every hospital and the audit pool with this one function, so that they get the same figures.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fedward.figures.histograms import ScoreHistogram, single_threshold

FIGURES = ("val_n", "val_loss", "val_auc", "threshold", "thresholds")
MAX_IMAGES = 2**40  # of one hospital's validation: far more than there are, and no sum of such counts overflows


def adds_up(counts: ScoreHistogram) -> bool:
    """Whether no count is negative, and each finding's counts add up to at most `MAX_IMAGES` images, alike for all."""
    both = np.concatenate([counts.positives, counts.negatives], axis=1)
    # Each count is bounded first, so that no sum wraps around to n.
    inside = 0 <= counts.n <= MAX_IMAGES and not (both < 0).any() and not (both > counts.n).any()
    return inside and bool((both.sum(axis=1) == counts.n).all())


def pooled(each: Iterable[tuple[ScoreHistogram, int]]) -> ScoreHistogram | None:
    """The counts of several hospitals together; None of none.

    Args:
        each: Hospitals' counts, of equally many findings, with the hospital's weight: none counts more images than it
            is enrolled for. In the order of the round's roster, for sums of losses differ by it in their last digit.
    """
    total: ScoreHistogram | None = None
    for counts, weight in each:
        capped = counts.capped(weight)
        total = capped if total is None else total + capped
    return total


def validation_figures(counts: ScoreHistogram | None) -> dict[str, Any]:
    """What pooled validation counts say of a round's candidate, as it stands in `metrics.jsonl`."""
    thresholds = counts.thresholds() if counts else None
    return {
        "val_n": counts.n if counts else 0,
        "val_loss": counts.loss() if counts else None,
        "val_auc": counts.auc() if counts else None,
        "threshold": single_threshold(thresholds) if thresholds else None,
        "thresholds": list(thresholds) if thresholds else None,
    }


def differing_figure(stated: Mapping[str, Any], right: Mapping[str, Any]) -> str | None:
    """The first figure in which stated validation figures differ from the right ones; None where none does.

    They are compared to nine digits: further ones depend on the machine that computed them.
    """
    return next((name for name in right if not _alike(stated.get(name), right[name])), None)


def _alike(stated: Any, right: Any) -> bool:
    """Whether two figures, or two lists of them, are the same."""
    if isinstance(right, Sequence):
        same_length = isinstance(stated, Sequence) and not isinstance(stated, str) and len(stated) == len(right)
        return same_length and all(map(_alike, stated, right))
    if right is None or not isinstance(stated, int | float) or isinstance(stated, bool):
        return stated is None and right is None
    return stated == right or (isinstance(right, float) and math.isclose(stated, right, rel_tol=1e-9))
