"""Differences of figures: DeLong and McNemar against slow twins and bootstraps, and intervals that hold the truth."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from fedward.figures.differences import auc_difference, share_difference, unpaired_difference
from fedward.figures.intervals import ratio_interval

Wide = NDArray[np.float64]


def sample(n: int, a_patient: int = 1, seed: int = 1) -> tuple[Wide, Wide, NDArray[np.bool_], NDArray[np.intp]]:
    """Two models' scores that err alike, rounded so that some tie; labels; patients."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // a_patient
    truth = rng.random(groups.max() + 1)[groups] < 0.4
    shared = rng.normal(truth * 1.2, 1) + rng.normal(0, 1, groups.max() + 1)[groups]
    first, second = (np.round(shared + rng.normal(0, noise, n), 1) for noise in (0.8, 0.5))
    return first[:, None], second[:, None], truth[:, None], groups


def delong_by_pairs(first: Wide, second: Wide, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Difference and its standard deviation from all pairs of images, as the paper writes them: slow."""
    placements = []
    for scores in (first, second):
        pairs = scores[truth][:, None] - scores[~truth][None, :]
        placements.append((pairs > 0) + 0.5 * (pairs == 0))
    ten = np.cov([each.mean(axis=1) for each in placements])
    one = np.cov([each.mean(axis=0) for each in placements])
    covariance = ten / truth.sum() + one / (~truth).sum()
    contrast = np.array([-1.0, 1.0])
    return float(placements[1].mean() - placements[0].mean()), float(np.sqrt(contrast @ covariance @ contrast))


@pytest.mark.parametrize("seed", range(3))
def test_with_one_image_a_patient_it_is_delongs_test(seed: int) -> None:
    first, second, truth, groups = sample(80, seed=seed)
    value, deviation = delong_by_pairs(first[:, 0], second[:, 0], truth[:, 0])
    found = auc_difference(first, second, truth, groups)
    assert found is not None
    assert found.interval is not None
    assert found.value == pytest.approx(value)
    assert found.value == pytest.approx(roc_auc_score(truth, second) - roc_auc_score(truth, first))
    assert found.interval == pytest.approx((value - 1.96 * deviation, value + 1.96 * deviation), abs=1e-5)


def area(scores: Wide, truth: NDArray[np.bool_]) -> float:
    """The AUC, from all pairs."""
    ahead = scores[truth][:, None] - scores[~truth][None, :]
    return float(np.mean(ahead > 0) + np.mean(ahead == 0) / 2)


def test_with_several_images_a_patient_it_is_what_patients_drawn_anew_give() -> None:
    first, second, truth, groups = sample(600, a_patient=4)
    rng, drawn = np.random.default_rng(0), []
    rows = [np.flatnonzero(groups == patient) for patient in range(groups.max() + 1)]
    for _ in range(400):
        some = np.concatenate([rows[patient] for patient in rng.integers(0, len(rows), len(rows))])
        drawn.append(area(second[some], truth[some]) - area(first[some], truth[some]))
    found = auc_difference(first, second, truth, groups)
    assert found is not None
    assert found.interval is not None
    width = found.interval[1] - found.interval[0]
    assert width == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.12)


def test_models_that_order_alike_have_no_interval_and_one_class_no_difference() -> None:
    first, _, truth, groups = sample(60)
    same = auc_difference(first, 2 * first + 1, truth, groups)
    assert same is not None
    assert (same.value, same.interval, same.p) == (0.0, None, None)
    assert auc_difference(first, first, np.ones_like(truth), groups) is None


def test_a_finding_of_one_class_is_left_out_of_the_mean() -> None:
    first, second, truth, groups = sample(80)
    both = auc_difference(first, second, truth, groups)
    twice = np.hstack([truth, np.zeros_like(truth)])
    assert auc_difference(np.hstack([first, first]), np.hstack([second, second]), twice, groups) == both


@pytest.mark.parametrize(("gained", "lost", "same"), [(9, 2, 30), (1, 1, 5), (0, 6, 10), (40, 25, 300)])
def test_with_one_image_a_patient_it_is_mcnemars_exact_test(gained: int, lost: int, same: int) -> None:
    first = np.array([False] * gained + [True] * lost + [True] * same)[:, None]
    second = np.array([True] * gained + [False] * lost + [True] * same)[:, None]
    found = share_difference(first, second, np.arange(len(first)))
    assert found.p == pytest.approx(binomtest(gained, gained + lost).pvalue)
    assert found.value == pytest.approx((gained - lost) / len(first))
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]


def test_of_patients_all_signs_are_counted() -> None:
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(9), 3)
    first, second = (rng.random((27, 1)) < share for share in (0.5, 0.8))
    gains = np.bincount(groups, second[:, 0].astype(float) - first[:, 0])
    sums = [abs(np.dot(gains, signs)) for signs in itertools.product((-1, 1), repeat=9)]
    found = share_difference(first, second, groups)
    assert found.p == pytest.approx(np.mean(np.array(sums) >= abs(gains.sum()) - 1e-9))


def test_models_that_decide_alike_do_not_differ() -> None:
    right = np.array([[True], [False], [True]])
    found = share_difference(right, right, np.arange(3))
    assert (found.value, found.interval, found.p) == (0.0, None, 1.0)


def test_paired_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 400 samples of patients with three images; the truth from one large sample."""
    *large, truth, groups = sample(120_000, a_patient=3, seed=99)
    true_areas = roc_auc_score(truth, large[1]) - roc_auc_score(truth, large[0])
    right = [(each > 0.6) == truth for each in large]
    share = right[1].mean() - right[0].mean()
    held = np.zeros(2)
    for seed in range(400):
        first, second, truth, groups = sample(240, a_patient=3, seed=seed)
        auc = auc_difference(first, second, truth, groups)
        accuracy = share_difference((first > 0.6) == truth, (second > 0.6) == truth, groups)
        assert auc is not None
        for place, (found, wanted) in enumerate(((auc, true_areas), (accuracy, share))):
            assert found.interval is not None
            held[place] += found.interval[0] <= wanted <= found.interval[1]
    assert (held / 400 >= 0.92).all(), held / 400
    assert (held / 400 <= 0.98).all(), held / 400


def test_on_different_images_it_is_newcombes_interval() -> None:
    """The example of Newcombe 1998, "Interval Estimation for the Difference between Independent Proportions": 56 of 70
    against 48 of 80, by his method 10: 0.0524 to 0.3339."""
    shares = []
    for hits, cases in ((48, 80), (56, 70)):
        outcomes = np.repeat([1.0, 0.0], [hits, cases - hits])
        interval = ratio_interval(outcomes, np.ones(cases), np.arange(cases))
        assert interval is not None
        shares += [hits / cases, interval]
    found = unpaired_difference(*shares)  # type: ignore[arg-type]
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=2e-3)
