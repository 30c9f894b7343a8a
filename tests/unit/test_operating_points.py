"""Figures from score histograms, against libraries that compute them from single scores."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from fedward.figures import operating_points as points
from fedward.figures.histograms import BINS, THRESHOLDS, bin_logits, histogram, sigmoid, wide_sigmoid
from fedward.figures.intervals import auc_interval, auc_parts
from fedward.types import Vector


@pytest.fixture(scope="module")
def scored() -> tuple[Vector, Vector]:
    """Logits and labels of 400 images."""
    rng = np.random.default_rng(7)
    labels = (rng.random((400, 1)) < 0.3).astype(np.float32)
    return (rng.normal(2 * labels - 1, 1.5)).astype(np.float32), labels


@pytest.mark.parametrize("threshold", [0.0, 0.02, 0.4060, 0.5, 0.93, 1.0])
def test_decisions_are_those_of_single_scores(scored: tuple[Vector, Vector], threshold: float) -> None:
    logits, labels = scored
    counts = histogram(logits, labels)
    edge = points.nearest_edge(threshold)
    assert abs(THRESHOLDS[edge] - threshold) < 2e-4
    found = points.decisions(counts.positives[0], counts.negatives[0], edge)
    called = sigmoid(logits)[:, 0] >= np.float32(found.threshold)
    (spared, alarms), (missed, caught) = confusion_matrix(labels[:, 0] == 1, called, labels=[False, True])
    assert (found.true_negatives, found.false_positives) == (spared, alarms)
    assert (found.false_negatives, found.true_positives) == (missed, caught)
    shares = ((found.sensitivity, caught, caught + missed), (found.specificity, spared, spared + alarms),
              (found.precision, caught, caught + alarms), (found.accuracy, caught + spared, 400))  # fmt: skip
    for share, hits, cases in shares:
        if not cases:
            assert share.value is share.interval is None
            continue
        expected = binomtest(int(hits), int(cases)).proportion_ci(method="wilson")
        assert share.value == pytest.approx(hits / cases)
        assert share.interval == pytest.approx((expected.low, expected.high))


def test_the_curve_and_its_area_are_those_of_single_scores(scored: tuple[Vector, Vector]) -> None:
    logits, labels = scored
    counts = histogram(logits, labels)
    middles = np.repeat(bin_logits(), counts.positives[0] + counts.negatives[0])
    truth = np.concatenate(
        [[1] * p + [0] * n for p, n in zip(counts.positives[0], counts.negatives[0], strict=True) if p + n]
    )
    alarms, hits, _ = roc_curve(truth, middles, drop_intermediate=False)
    found = points.roc_curve(counts.positives[0], counts.negatives[0])
    assert np.array([point[:2] for point in found]) == pytest.approx(np.stack([alarms, hits], axis=1))
    for x, y, edge in found:
        at = points.decisions(counts.positives[0], counts.negatives[0], edge)
        assert (at.false_positives / counts.negatives.sum(), at.sensitivity.value) == pytest.approx((x, y))
    area, interval = points.area(counts.positives[0], counts.negatives[0])
    assert area == pytest.approx(roc_auc_score(labels, logits), abs=1e-4)
    one, parts = auc_parts(middles, truth == 1, np.arange(len(truth)))
    assert (area, interval) == (pytest.approx(one), pytest.approx(auc_interval(one, parts)))


def test_reliability_is_that_of_single_scores(scored: tuple[Vector, Vector]) -> None:
    logits, labels = scored
    counts = histogram(logits, labels)
    found = points.reliability_curve(counts.positives[0], counts.negatives[0], wide_sigmoid(bin_logits()))
    shares, means = calibration_curve(labels[:, 0], sigmoid(logits)[:, 0], n_bins=15)
    assert [each.mean for each in found] == pytest.approx(means, abs=1e-3)
    assert [each.positive.value for each in found] == pytest.approx(shares)
    assert sum(each.positive.cases for each in found) == 400


@pytest.mark.parametrize(("positive", "negative"), [(0, 0), (0, 3), (1, 0), (1, 1)])
def test_tiny_sets_give_no_number_that_is_none(positive: int, negative: int) -> None:
    counts = [np.zeros(BINS, np.int64) for _ in range(2)]
    counts[0][6000], counts[1][4000] = positive, negative
    area, interval = points.area(counts[0], counts[1])
    assert interval is None
    assert area == (1.0 if positive and negative else None)
    assert bool(points.roc_curve(counts[0], counts[1])) == bool(positive and negative)
    at = points.decisions(counts[0], counts[1], 5000)
    assert at.sensitivity.value == (1.0 if positive else None)
    assert at.sensitivity.interval is None, "one image"
    bins = points.reliability_curve(counts[0], counts[1], wide_sigmoid(bin_logits()))
    assert len(bins) == bool(positive) + bool(negative)
