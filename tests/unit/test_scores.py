"""Figures with intervals: against scikit-learn's, textbooks' and the bootstrap's, and never a NaN."""

import itertools
import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from fedward.errors import DataError
from fedward.figures.evaluation import evaluate
from fedward.figures.histograms import sigmoid
from fedward.figures.intervals import Wide, auc_interval, auc_parts, groups_of, ratio_interval
from fedward.figures.scores import calibration_error, score, score_findings
from fedward.types import ImageSet, Vector

Labels = NDArray[np.float32]
RANGED = ("accuracy", "precision", "recall", "specificity", "f1", "auc")


def images(labels: Labels, patients: NDArray[np.int64] | None = None) -> ImageSet:
    n = len(labels)
    names = np.arange(n) if patients is None else patients
    return ImageSet(np.zeros((n, 2, 2), np.uint8), labels, np.array([f"p{name}" for name in names]))


def sample(seed: int, n: int, findings: int = 1, shift: float = 1.5) -> tuple[Vector, Labels]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, findings)) < 0.4).astype(np.float32)
    return rng.normal(shift * (labels - 0.5), 1.0).astype(np.float32), labels


# ---- figures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("findings", [1, 3])
def test_figures_equal_scikit_learns_and_those_of_evaluate(findings: int) -> None:
    logits, labels = sample(1, 300, findings)
    found = score(images(labels), logits, 0.4)
    called, truth = sigmoid(logits).ravel() >= 0.4, labels.ravel() == 1
    for name, value in evaluate(images(labels), logits, 0.4).as_dict().items():
        assert getattr(found, name) == value, name
    assert found.specificity == pytest.approx(sk.recall_score(~truth, ~called))
    assert found.brier == pytest.approx(np.mean((sigmoid(logits) - labels) ** 2), abs=1e-6)
    (negatives, false_calls), (misses, hits) = sk.confusion_matrix(truth, called).tolist()
    assert found.confusion.true_negatives == negatives
    assert found.confusion.false_positives == false_calls
    assert found.confusion.false_negatives == misses
    assert found.confusion.true_positives == hits
    assert (found.n, found.patients, found.positives) == (300, 300, int(truth.sum()))


def test_each_finding_by_itself_is_what_it_is_alone() -> None:
    logits, labels = sample(2, 120, 14)
    labels[:, 5] = 0
    names = tuple(f"f{index}" for index in range(14))
    found = score_findings(images(labels), logits, (0.5,) * 14, names)
    assert tuple(found) == names
    for k, name in enumerate(names):
        if k != 5:
            assert found[name]["auc"] == pytest.approx(sk.roc_auc_score(labels[:, k], logits[:, k]))
    assert found["f5"]["auc"] is None
    assert found["f5"]["undefined"]["auc"] == "all images are of one class"
    areas = [entry["auc"] for entry in found.values() if entry["auc"] is not None]
    assert score(images(labels), logits, 0.5).auc == pytest.approx(np.mean(areas))


def test_each_finding_is_decided_at_its_own_threshold_and_the_pairs_are_their_sum() -> None:
    logits, labels = sample(7, 150, 3)
    thresholds = (0.2, 0.7, 0.5)
    found = score_findings(images(labels), logits, thresholds, ("a", "b", "c"))
    pooled = score(images(labels), logits, thresholds)
    for name in ("true_positives", "false_positives", "true_negatives", "false_negatives"):
        assert getattr(pooled.confusion, name) == sum(entry["confusion"][name] for entry in found.values())
    for k, (name, threshold) in enumerate(zip(("a", "b", "c"), thresholds, strict=True)):
        called, truth = sigmoid(logits)[:, k] >= np.float32(threshold), labels[:, k] == 1
        assert found[name]["threshold"] == threshold
        assert found[name]["recall"] == pytest.approx(sk.recall_score(truth, called))
        assert found[name]["specificity"] == pytest.approx(sk.recall_score(~truth, ~called))
    assert pooled.threshold is None
    assert pooled.undefined["threshold"] == "each finding has its own"
    for n in (0, 150):
        same = score(images(labels[:n]), logits[:n], (0.5,) * 3)
        assert same.threshold == 0.5
        assert "threshold" not in same.undefined
        other = score(images(labels[:n]), logits[:n], thresholds)
        assert (other.threshold, other.undefined["threshold"]) == (None, "each finding has its own")


def test_calibration_error_by_hand() -> None:
    """Two bins of 15: scores 0.1 and 0.9, of which a half and all are positive."""
    scores = np.array([[0.1], [0.1], [0.9], [0.9]])
    truth = np.array([[True], [False], [True], [True]])
    assert calibration_error(scores, truth) == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)
    rng = np.random.default_rng(3)
    honest = rng.random((200_000, 1))
    assert calibration_error(honest, rng.random((200_000, 1)) < honest) < 0.01


@pytest.mark.parametrize("digits", [6, 1, 0])
@pytest.mark.parametrize("findings", [1, 2])
def test_neither_the_order_of_images_nor_the_names_of_patients_matter(findings: int, digits: int) -> None:
    """To the last bit: pseudonyms are keyed anew in each run. Rounded logits tie, within patients and between them."""
    logits, labels = sample(4, 200, findings)
    logits = logits.round(digits)
    patients = np.random.default_rng(5).integers(0, 60, 200)
    there = score(images(labels, patients), logits, 0.5)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        order, names = rng.permutation(200), rng.permutation(1_000)
        assert score(images(labels, names[patients]), logits, 0.5) == there
        assert score(images(labels[order], names[patients[order]]), logits[order], 0.5) == there


@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_what_is_undefined_is_null_with_its_reason_and_never_nan(label: float, n: int) -> None:
    for value in (-3.0, 3.0):
        found = score(images(np.full((n, 1), label, np.float32)), np.full((n, 1), value, np.float32), 0.5).as_dict()
        json.dumps(found, allow_nan=False)
        for name in (*RANGED, "brier", "ece"):
            assert (found[name] is None) == (name in found["undefined"]), name
        for name in RANGED:
            assert (found["intervals"][name] is None) == (f"intervals.{name}" in found["undefined"]), name
        assert found["auc"] is None


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        score(images(np.ones((2, 1), np.float32)), np.array([[0.0], [np.nan]], np.float32), 0.5)


# ---- intervals --------------------------------------------------------------------------------------------------


def test_with_one_image_a_patient_the_share_is_wilsons() -> None:
    """Textbook: 81 of 263 gives 0.2553 to 0.3662 (Newcombe 1998, table I)."""
    hits = (np.arange(263) < 81).astype(float)
    interval = ratio_interval(hits, np.ones(263), np.arange(263))
    assert interval == pytest.approx((0.2553, 0.3662), abs=2e-4)


def test_with_one_image_a_patient_the_variance_of_the_auc_is_delongs() -> None:
    logits, labels = sample(7, 80)
    truth, scores = labels[:, 0] == 1, logits[:, 0].astype(float)
    wins = (scores[truth][:, None] > scores[~truth]) + 0.5 * (scores[truth][:, None] == scores[~truth])
    delong = wins.mean(1).var(ddof=1) / truth.sum() + wins.mean(0).var(ddof=1) / (~truth).sum()
    area, parts = auc_parts(scores, truth, np.arange(80))
    assert area == pytest.approx(sk.roc_auc_score(truth, scores))
    assert parts @ parts == pytest.approx(delong)


def clustered(seed: int, patients: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.intp]]:
    """Patients of one to eight images, mostly alike, some of both labels."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), rng.integers(1, 9, patients))
    truth = rng.random(len(groups)) < np.where(rng.random(patients) < 0.4, 0.9, 0.1)[groups]
    return rng.normal(0, 1, patients)[groups] + rng.normal(truth * 1.0, 0.5), truth, groups


@pytest.mark.slow
def test_intervals_of_patients_with_many_images_are_those_of_a_bootstrap_over_patients() -> None:
    scores, truth, groups = clustered(8, 150)
    area, parts = auc_parts(scores, truth, groups)
    right = ((scores > 0.5) == truth).astype(float)
    rng, areas, shares = np.random.default_rng(9), [], []
    rows = [np.flatnonzero(groups == patient) for patient in range(150)]
    for _ in range(1_000):
        drawn = np.concatenate([rows[patient] for patient in rng.integers(0, 150, 150)])
        areas.append(sk.roc_auc_score(truth[drawn], scores[drawn]))
        shares.append(right[drawn].mean())
    assert math.sqrt(parts @ parts) == pytest.approx(np.std(areas), rel=0.1)
    by_image = auc_parts(scores, truth, np.arange(len(truth)))[1]
    assert parts @ parts > 1.5 * (by_image @ by_image), "images of one patient are no independent draws"
    share = ratio_interval(right, np.ones(len(right)), groups)
    assert share == pytest.approx(np.quantile(shares, [0.025, 0.975]), abs=0.01)
    assert auc_interval(area, parts) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.015)


def test_95_of_100_intervals_hold_the_truth() -> None:
    """Patients drawn anew; the truth from very many."""
    scores, truth, _ = clustered(10, 40_000)
    real_area, real_share = sk.roc_auc_score(truth, scores), float(((scores > 0.5) == truth).mean())
    held = {"auc": 0, "share": 0}
    for seed in range(300):
        scores, truth, groups = clustered(1_000 + seed, 100)
        low, high = auc_interval(*auc_parts(scores, truth, groups)) or (math.nan, math.nan)
        held["auc"] += low <= real_area <= high
        right = ((scores > 0.5) == truth).astype(float)
        low, high = ratio_interval(right, np.ones(len(right)), groups) or (math.nan, math.nan)
        held["share"] += low <= real_share <= high
    for name, count in held.items():
        assert 0.91 < count / 300 < 0.99, name


def test_a_faultless_share_has_an_interval_by_its_patients_not_its_images() -> None:
    groups = np.repeat(np.arange(10), 100)
    low, high = ratio_interval(np.ones(1_000), np.ones(1_000), groups) or (0.0, 0.0)
    assert high == 1
    assert low == pytest.approx(10 / (10 + 1.959964**2))
    assert ratio_interval(np.ones(5), np.ones(5), np.zeros(5, np.intp)) is None
    assert ratio_interval(np.zeros(5), np.zeros(5), np.arange(5)) is None


def binomial_of_patients(seed: int, patients: int, images_each: int, share: float, alike: float) -> Wide:
    """Right answers of each patient, whose own shares vary: `alike` is the correlation of a patient's images."""
    rng = np.random.default_rng(seed)
    size = 1 / alike - 1
    return rng.binomial(images_each, rng.beta(share * size, (1 - share) * size, patients)).astype(np.float64)


def share_interval(right: Wide, images_each: int) -> tuple[float, float]:
    """The interval by image, from each patient's number of right ones."""
    groups = np.repeat(np.arange(len(right)), images_each)
    hits = (np.tile(np.arange(images_each), len(right)) < np.repeat(right, images_each)).astype(np.float64)
    return ratio_interval(hits, np.ones(len(hits)), groups) or (math.nan, math.nan)


@pytest.mark.parametrize(
    ("patients", "images_each", "share", "alike"),
    [(22, 10, 0.97, 0.3), (22, 10, 0.97, 0.6), (22, 10, 0.03, 0.6), (10, 50, 0.9, 0.3), (10, 50, 0.5, 0.3),
     (5, 20, 0.9, 0.3), (112, 2, 0.97, 0.3)],
)  # fmt: skip
def test_intervals_of_few_patients_hold_the_truth_as_often(
    patients: int, images_each: int, share: float, alike: float
) -> None:
    held = 0
    for seed in range(400):
        low, high = share_interval(binomial_of_patients(seed, patients, images_each, share, alike), images_each)
        held += low <= share <= high
    assert held / 400 > 0.93


@pytest.mark.parametrize(("patients", "images_each"), [(10, 100), (22, 2), (22, 10), (112, 2)])
def test_more_errors_never_raise_either_end(patients: int, images_each: int) -> None:
    """One error after the other, each in another patient; and the other way about for hits."""
    ends = []
    for errors in range(patients + 1):
        right = np.full(patients, float(images_each))
        right[:errors] -= 1
        ends.append(share_interval(right, images_each))
        low, high = share_interval(images_each - right, images_each)
        assert (1 - high, 1 - low) == pytest.approx(ends[-1], abs=1e-12)
    for earlier, later in itertools.pairwise(ends):
        assert later[0] <= earlier[0] + 1e-12
        assert later[1] <= earlier[1] + 1e-12
    assert ends[0][0] == pytest.approx(patients / (patients + 1.959964**2))


def test_images_of_patients_who_are_all_the_same_count_as_so_many_and_not_more() -> None:
    """Korn and Graubard's limit: each patient is right half of the time, so that nothing varies between them."""
    evenly = share_interval(np.full(30, 5.0), 10)
    assert evenly == pytest.approx(
        ratio_interval((np.arange(300) < 150) * 1.0, np.ones(300), np.arange(300)), abs=0.002
    )


def test_sums_over_patients_are_the_same_in_whatever_order_they_come() -> None:
    """To the last bit, also where images that tie number their patients otherwise."""
    for seed in range(200):
        scores, truth, groups = clustered(seed, 60)
        right, numbers = ((scores > 0.5) == truth).astype(float), np.random.default_rng(seed).permutation(60)
        area, parts = auc_parts(scores, truth, groups)
        assert auc_interval(area, parts[numbers]) == auc_interval(area, parts)
        cases = np.ones(len(right))
        assert ratio_interval(right, cases, numbers[groups]) == ratio_interval(right, cases, groups)


def test_a_faultless_ranking_has_no_interval() -> None:
    area, parts = auc_parts(np.arange(6.0), np.arange(6) > 2, np.arange(6))
    assert area == 1
    assert auc_interval(area, parts) is None


@pytest.mark.parametrize("findings", [1, 3])
def test_scores_that_are_all_alike_have_no_interval_for_want_of_spread(findings: int) -> None:
    """And a ranking without an exception; with one patient of a kind it is for want of patients."""
    labels = np.tile((np.arange(100) % 2).astype(np.float32)[:, None], (1, findings))
    for logits, area in ((np.zeros_like(labels), 0.5), (labels, 1.0), (-labels, 0.0)):
        found = score(images(labels), logits, 0.5)
        assert (found.auc, found.intervals["auc"]) == (area, None)
        assert found.undefined["intervals.auc"] == "the ranking shows no spread over patients"
        lone = score(images(labels, np.where(labels[:, 0] == 1, 0, np.arange(100))), logits, 0.5)
        assert lone.undefined["intervals.auc"] == "fewer than two patients of a kind"


def test_a_single_patient_with_the_finding_gives_no_interval() -> None:
    """Its images alone would say that patients with the finding never differ."""
    logits, labels = sample(11, 40)
    patients = np.where(labels[:, 0] == 1, 0, 1 + np.arange(40))
    found = score(images(labels, patients), logits, 0.5)
    assert found.auc is not None
    assert found.intervals["auc"] is None
    assert found.undefined["intervals.auc"] == "fewer than two patients of a kind"


def test_groups_are_numbered_without_gaps_whatever_their_names() -> None:
    assert groups_of(np.array(["b", "a", "b", "c"])).tolist() == [0, 1, 0, 2]
    assert groups_of(np.array(["x", "z", "x", "a"])).tolist() == [0, 1, 0, 2]
    assert groups_of(np.array([], np.str_)).tolist() == []
