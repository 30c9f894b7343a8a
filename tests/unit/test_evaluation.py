"""Metrics against scikit-learn's, and what follows from the histograms that hospitals give away."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from fedward.errors import DataError
from fedward.figures.evaluation import Metrics, evaluate
from fedward.figures.histograms import (
    BINS,
    THRESHOLDS,
    ScoreHistogram,
    bins_of,
    called_positive,
    histogram,
    losses,
    sigmoid,
)
from fedward.messages.fields import LARGEST_FIGURE
from fedward.types import ImageSet, Vector

Labels = NDArray[np.float32]


def images(labels: Labels) -> ImageSet:
    n = len(labels)
    return ImageSet(np.zeros((n, 2, 2), np.uint8), labels, np.array([f"p{index}" for index in range(n)]))


def sample(seed: int, n: int, findings: int = 1, shift: float = 1.5) -> tuple[Vector, Labels]:
    """Logits that know something of the labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, findings)) < 0.4).astype(np.float32)
    return rng.normal(shift * (labels - 0.5), 1.0).astype(np.float32), labels


# ---- evaluate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("findings", [1, 4])
def test_metrics_equal_scikit_learns(findings: int, threshold: float) -> None:
    logits, labels = sample(1, 300, findings)
    measured = evaluate(images(labels), logits, threshold)
    truth, called = labels.ravel(), (sigmoid(logits) >= threshold).ravel()
    assert measured.n == 300
    assert measured.threshold == threshold
    assert measured.accuracy == pytest.approx(sk.accuracy_score(truth, called), abs=1e-12)
    assert measured.precision == pytest.approx(sk.precision_score(truth, called), abs=1e-12)
    assert measured.recall == pytest.approx(sk.recall_score(truth, called), abs=1e-12)
    assert measured.f1 == pytest.approx(sk.f1_score(truth, called), abs=1e-12)
    assert measured.auc == pytest.approx(sk.roc_auc_score(labels, logits, average="macro"), abs=1e-12)


def test_a_score_at_the_threshold_is_positive() -> None:
    measured = evaluate(images(np.array([[1.0], [0.0]], np.float32)), np.zeros((2, 1), np.float32), 0.5)
    assert measured.accuracy == 0.5
    assert measured.recall == 1.0


def test_what_is_undefined_is_none() -> None:
    calm = np.full((3, 1), -4.0, np.float32)
    nothing_called = evaluate(images(np.array([[1], [0], [0]], np.float32)), calm, 0.5)
    assert (nothing_called.precision, nothing_called.recall, nothing_called.f1) == (None, 0.0, 0.0)
    no_positive = evaluate(images(np.zeros((3, 1), np.float32)), calm, 0.5)
    assert no_positive == Metrics(3, 1.0, None, None, None, None, 0.5)
    all_positive = evaluate(images(np.ones((3, 1), np.float32)), -calm, 0.5)
    assert (all_positive.auc, all_positive.recall, all_positive.precision) == (None, 1.0, 1.0)


def test_macro_auc_leaves_out_findings_of_one_class() -> None:
    logits, labels = sample(2, 200, 3)
    labels[:, 1] = 0
    expected = np.mean([sk.roc_auc_score(labels[:, k], logits[:, k]) for k in (0, 2)])
    assert evaluate(images(labels), logits, 0.5).auc == pytest.approx(expected, abs=1e-12)
    assert histogram(logits, labels).auc() == pytest.approx(expected, abs=0.005)


def test_nothing_to_score_and_scores_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="no image"):
        evaluate(images(np.zeros((0, 1), np.float32)), np.zeros((0, 1), np.float32), 0.5)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(DataError, match="not finite"):
            evaluate(images(np.ones((2, 1), np.float32)), np.array([[0.0], [bad]], np.float32), 0.5)


# ---- scores and losses ------------------------------------------------------------------------------------------


def test_sigmoid_and_loss_are_the_textbooks_and_do_not_overflow() -> None:
    logits = np.array([[-1e30, -90.0, -3.0, 0.0, 3.0, 90.0, 1e30]], np.float32)
    scores = sigmoid(logits)
    assert scores.dtype == np.float32
    assert scores[0] == pytest.approx([0, 0, 1 / (1 + np.exp(3)), 0.5, 1 / (1 + np.exp(-3)), 1, 1], abs=1e-7)
    labels = np.array([[1.0], [0.0], [1.0]], np.float32)
    given = np.array([[2.0], [2.0], [-1000.0]], np.float32)
    assert losses(given, labels) == pytest.approx([np.log1p(np.exp(-2)), np.log1p(np.exp(2)), 1000.0])


def test_the_loss_of_several_findings_is_their_mean() -> None:
    logits, labels = sample(3, 50, 4)
    each = np.stack([losses(logits[:, k : k + 1], labels[:, k : k + 1]) for k in range(4)])
    assert losses(logits, labels) == pytest.approx(each.mean(axis=0))
    summed = histogram(logits, labels)
    assert summed.loss() == pytest.approx(sk.log_loss(labels.ravel(), sigmoid(logits).ravel().astype(float)), abs=1e-6)


# ---- histograms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("n", [30, 1_000, 20_000])
@pytest.mark.parametrize(("middle", "scale"), [(0, 0.01), (-5, 0.2), (0, 1), (0, 10), (0, 30), (0, 100)])
def test_the_histograms_auc_is_within_five_thousandths_of_scikit_learns(
    n: int, shift: float, middle: float, scale: float
) -> None:
    """Of a model that has hardly learned, of a rare finding, and of ones as sure of themselves as they can be."""
    logits, labels = sample(n, n, shift=shift)
    logits = middle + np.float32(scale) * logits
    assert histogram(logits, labels).auc() == pytest.approx(sk.roc_auc_score(labels, logits), abs=0.005)


@pytest.mark.parametrize("scale", [0.001, 1, 1_000])
def test_the_histograms_auc_is_off_by_at_most_half_of_the_pairs_of_one_bin(scale: float) -> None:
    """The bound for any scores, where few images or scores too close together, or too far out, make it a large one."""
    logits, labels = sample(11, 80)
    logits *= np.float32(scale)
    bins, positive = bins_of(logits)[:, 0], labels[:, 0] == 1
    tied = np.mean(bins[positive][:, None] == bins[~positive])
    off = abs((histogram(logits, labels).auc() or 0) - sk.roc_auc_score(labels, logits))
    assert off <= tied / 2 + 1e-12
    assert (tied > 0.03) == (scale != 1)


def test_bins_are_narrow_near_zero_and_in_proportion_to_the_logit_further_out() -> None:
    assert THRESHOLDS.shape == (BINS + 1,)
    assert (THRESHOLDS[0], THRESHOLDS[BINS // 2], THRESHOLDS[BINS]) == (0, 0.5, 1)
    inner = THRESHOLDS[(THRESHOLDS > 1e-6) & (THRESHOLDS < 1 - 1e-6)]
    edges = np.log(inner / (1 - inner))
    assert np.diff(edges)[len(edges) // 2] == pytest.approx(0.00037, rel=0.01)
    for logit in (-10.0, -3.0, 3.0, 10.0):
        at = np.searchsorted(edges, logit)
        assert np.diff(edges)[at] == pytest.approx(0.0015 * abs(logit), rel=0.03)


def test_a_score_is_called_positive_up_to_the_lower_edge_of_its_bin_and_not_above() -> None:
    """At and around every edge that 32 bits tell from its neighbors, which is so of all logits from -12 to 12."""
    inner = THRESHOLDS[(THRESHOLDS > 1e-6) & (THRESHOLDS < 1 - 1e-6)]
    at_edges = np.log(inner / (1 - inner)).clip(-12, 12).astype(np.float32)
    steps = [at_edges]
    for side in (np.float32(-np.inf), np.float32(np.inf)):
        near = at_edges
        for _ in range(4):
            near = np.nextafter(near, side)
            steps.append(near)
    logits = np.concatenate([*steps, np.random.default_rng(1).normal(0, 4, 50_000).astype(np.float32).clip(-12, 12)])
    bins, scores = bins_of(logits[:, None])[:, 0], sigmoid(logits)
    single = THRESHOLDS.astype(np.float32)
    assert np.all(np.diff(single[bins.min() : bins.max() + 2]) > 0)
    for offset in (0, 1, 2, 50):
        assert np.all(scores >= single[np.maximum(bins - offset, 0)])
    for offset in (1, 2, 50):
        assert not np.any(scores >= single[np.minimum(bins + offset, BINS)])
    some = slice(None, None, 5_000)
    for bin_index, score in zip(bins[some], scores[some], strict=True):
        called = [called_positive(np.full((1, 1), score), float(edge)).item() for edge in THRESHOLDS[1:-1:100]]
        assert called == [bool(edge <= bin_index) for edge in range(1, BINS, 100)]


def test_logits_that_no_threshold_tells_apart_still_count_in_their_order() -> None:
    logits = np.array([-1e30, -200.5, -150, -90, -40, -20, 15, 17, 18, 40, 90, 150, 199, 1e30], np.float32)
    bins = bins_of(logits)
    assert (bins[0], bins[1], bins[-1]) == (0, 0, BINS - 1)
    assert np.all(np.diff(bins[1:]) > 0)


def test_the_histograms_auc_is_exact_for_the_scores_bins() -> None:
    """The pairwise definition, ties as one half, on scores cut to their bins."""
    logits, labels = sample(4, 200)
    bins = np.searchsorted(THRESHOLDS.astype(np.float32), sigmoid(logits)[:, 0], "right")
    positive, negative = bins[labels[:, 0] == 1], bins[labels[:, 0] == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    assert histogram(logits, labels).auc() == pytest.approx(wins.mean(), abs=1e-12)


def test_two_hospitals_histograms_add_up_to_the_pooled_one() -> None:
    logits, labels = sample(5, 500, 2)
    together = histogram(logits[:123], labels[:123]) + histogram(logits[123:], labels[123:])
    pooled = histogram(logits, labels)
    assert np.array_equal(together.positives, pooled.positives)
    assert np.array_equal(together.negatives, pooled.negatives)
    assert together.n == pooled.n == 500
    assert together.loss_sum == pytest.approx(pooled.loss_sum)
    assert together.auc() == pooled.auc()


def test_every_image_is_counted_once_under_its_label() -> None:
    logits, labels = sample(6, 400, 3)
    counts = histogram(logits, labels)
    assert counts.positives.shape == counts.negatives.shape == (3, BINS)
    assert np.array_equal(counts.positives.sum(axis=1), labels.sum(axis=0))
    assert np.array_equal(counts.negatives.sum(axis=1), 400 - labels.sum(axis=0))
    extremes = histogram(np.array([[1e9], [-1e9]], np.float32), np.array([[1.0], [0.0]], np.float32))
    assert extremes.positives[0, -1] == extremes.negatives[0, 0] == 1


def test_without_images_or_with_one_class_there_is_no_auc() -> None:
    nothing = histogram(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))
    assert (nothing.auc(), nothing.loss(), nothing.n, nothing.thresholds()) == (None, None, 0, (0.5, 0.5))
    logits, _ = sample(7, 20)
    for label in (0.0, 1.0):
        counts = histogram(logits, np.full((20, 1), label, np.float32))
        assert (counts.auc(), counts.thresholds()) == (None, (0.5,))


def test_images_without_a_finite_score_are_left_out() -> None:
    """A ruined candidate must not crash the hospital that is about to vote against it."""
    logits, labels = sample(8, 60, 2)
    kept = histogram(logits[3:], labels[3:])
    logits[0, 0], logits[1, 1], logits[2] = np.nan, np.inf, -np.inf
    counts = histogram(logits, labels)
    assert counts.n == 57
    assert np.array_equal(counts.positives, kept.positives)
    assert counts.loss_sum == kept.loss_sum
    nothing = histogram(np.full((4, 1), np.nan, np.float32), np.ones((4, 1), np.float32))
    assert (nothing.n, nothing.loss(), nothing.auc(), nothing.thresholds()) == (0, None, None, (0.5,))


def test_a_ruined_candidates_loss_is_one_that_a_ballot_may_carry() -> None:
    """Or the vote against it would be set aside with the counts."""
    counts = histogram(np.full((3, 1), -1e30, np.float32), np.ones((3, 1), np.float32))
    assert counts.loss_sum == 3 * LARGEST_FIGURE
    assert counts.n == 3


# ---- the threshold ----------------------------------------------------------------------------------------------


def right_decisions(counts: ScoreHistogram, threshold: float) -> int:
    """How many images a threshold gets right, by the lower edges of their bins."""
    called = THRESHOLDS[:-1] >= threshold
    return int(counts.positives[0][called].sum() + counts.negatives[0][~called].sum())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_the_threshold_is_the_most_accurate_of_all(seed: int) -> None:
    counts = histogram(*sample(seed, 5 + 40 * seed, shift=seed / 3))
    best = max(right_decisions(counts, edge) for edge in THRESHOLDS)
    (threshold,) = counts.thresholds()
    assert right_decisions(counts, threshold) == best
    equal = [edge for edge in THRESHOLDS if right_decisions(counts, edge) == best]
    assert threshold == equal[len(equal) // 2]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 10, 60])
@pytest.mark.parametrize("findings", [1, 3])
def test_no_edge_decides_better_than_the_threshold_as_decisions_are_made(findings: int, scale: float) -> None:
    """Also where scores are so sure that they are one half, or all, the same number; on scores of their own bins."""
    logits, labels = sample(12, 60, findings)
    logits *= np.float32(scale)
    truth = labels == 1
    for k, threshold in enumerate(histogram(logits, labels).thresholds()):
        scores, ill = sigmoid(logits)[:, k : k + 1], truth[:, k : k + 1]

        def worth(edge: float, scores: Vector = scores, ill: NDArray[np.bool_] = ill) -> float:
            right = called_positive(scores, edge) == ill
            return float(right[ill].mean() + right[~ill].mean()) if findings > 1 else float(right.mean())

        assert worth(threshold) == max(worth(float(edge)) for edge in THRESHOLDS)


def test_between_two_separate_classes_the_threshold_is_in_the_middle() -> None:
    scores = np.array([0.1, 0.2, 0.6, 0.9])
    logits = np.log(scores / (1 - scores)).astype(np.float32)[:, None]
    counts = histogram(logits, np.array([[0], [0], [1], [1]], np.float32))
    middle = 0.25 * np.sinh((np.arcsinh(logits[1, 0] / 0.25) + np.arcsinh(logits[2, 0] / 0.25)) / 2)
    assert counts.thresholds()[0] == pytest.approx(1 / (1 + np.exp(-middle)), abs=0.001)
    assert 0.4 < counts.thresholds()[0] < 0.5
    measured = evaluate(images(np.array([[0], [0], [1], [1]], np.float32)), logits, counts.thresholds())
    assert measured.accuracy == 1.0


def rare_sample(seed: int, n: int, findings: int) -> tuple[Vector, Labels]:
    """Findings of 1 to 30 in a hundred images, whose scores lie low, as a model trained on such images gives them."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, findings)) < rng.uniform(0.01, 0.3, findings)).astype(np.float32)
    labels[0], labels[1] = 1, 0
    return rng.normal(labels - 3.0, 1.0, (n, findings)).astype(np.float32), labels


def youden(scores: Vector, labels: Labels, threshold: float) -> Fraction:
    """Sensitivity + specificity - 1 of raw scores of one finding, by counting, without rounding."""
    called, truth = scores >= np.float32(threshold), labels == 1
    return Fraction(int((called & truth).sum()), int(truth.sum())) - Fraction(
        int((called & ~truth).sum()), int((~truth).sum())
    )


@pytest.mark.parametrize(("findings", "n"), [(2, 40), (14, 300), pytest.param(14, 3_000, marks=pytest.mark.slow)])
def test_of_several_findings_no_threshold_separates_raw_pooled_scores_better(findings: int, n: int) -> None:
    """Over all scores that occur as the threshold, and above them all; three hospitals' histograms summed.

    Exact on scores in the middle of their bins. Of other scores two of one bin cannot be told apart, so there the
    best one is missed by at most what one bin holds.
    """
    logits, labels = rare_sample(findings + n, n, findings)
    first, *others = (histogram(logits[part::3], labels[part::3]) for part in range(3))
    thresholds = sum(others, first).thresholds()
    middles = ((THRESHOLDS[bins_of(logits)] + THRESHOLDS[bins_of(logits) + 1]) / 2).astype(np.float32)
    for k, threshold in enumerate(thresholds):
        best = max(youden(middles[:, k], labels[:, k], edge) for edge in (*np.unique(middles[:, k]), 1.0))
        assert youden(middles[:, k], labels[:, k], threshold) == best
        raw = sigmoid(logits)[:, k]
        best_raw = max(youden(raw, labels[:, k], edge) for edge in (*np.unique(raw), 1.0))
        assert youden(raw, labels[:, k], threshold) >= best_raw - Fraction(3, 100)
        assert 0 < threshold < 0.4, "the most accurate threshold of what is rare lies higher and finds hardly anybody"


def test_a_rare_finding_is_found_only_among_several() -> None:
    """Alone it keeps the most accurate threshold, which calls nobody ill where one image in a hundred is."""
    labels = np.zeros((400, 2), np.float32)
    labels[:4], scores = 1, np.full((400, 2), 0.01)
    scores[:4], scores[4:20] = 0.03, 0.05
    logits = np.log(scores / (1 - scores)).astype(np.float32)
    (alone,) = histogram(logits[:, :1], labels[:, :1]).thresholds()
    assert alone > 0.05
    for threshold in histogram(logits, labels).thresholds():
        assert 0.01 < threshold < 0.03


def test_a_findings_threshold_is_its_own() -> None:
    """Permuted findings have permuted thresholds, and what other findings' counts are does not matter."""
    logits, labels = rare_sample(3, 200, 14)
    thresholds, order = np.array(histogram(logits, labels).thresholds()), np.random.default_rng(0).permutation(14)
    assert len(set(thresholds.tolist())) > 10
    assert np.array_equal(histogram(logits[:, order], labels[:, order]).thresholds(), thresholds[order])
    labels[:, 3], labels[:, 7] = 0, 1
    changed = np.array(histogram(logits, labels).thresholds())
    assert changed[[3, 7]].tolist() == [0.5, 0.5]
    kept = np.delete(np.arange(14), [3, 7])
    assert np.array_equal(changed[kept], thresholds[kept])


def test_each_findings_images_are_called_by_its_own_threshold() -> None:
    logits, labels = rare_sample(4, 300, 3)
    thresholds = (0.02, 0.7, 0.1)
    called = np.column_stack([sigmoid(logits)[:, k] >= np.float32(threshold) for k, threshold in enumerate(thresholds)])
    measured = evaluate(images(labels), logits, thresholds)
    assert measured.accuracy == np.mean(called == (labels == 1))
    assert measured.threshold is None
    assert measured.auc == evaluate(images(labels), logits, 0.5).auc
    assert evaluate(images(labels), logits, (0.3,) * 3) == evaluate(images(labels), logits, 0.3)


def test_a_score_at_its_threshold_is_positive_however_the_threshold_rounds() -> None:
    """0.7 as float32 is below 0.7 as a Python number."""
    scores = np.array([[0.7, 0.3]], np.float32)
    for threshold in (0.7, (0.7, 0.3)):
        assert called_positive(scores, threshold).tolist() == [[True, threshold != 0.7]]
    assert called_positive(THRESHOLDS[:-1].astype(np.float32)[:, None], 0.5).sum() == BINS // 2
    assert all(called_positive(np.full((1, 1), edge, np.float32), (float(edge),)).all() for edge in THRESHOLDS[::7])
