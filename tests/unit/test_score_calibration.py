"""Platt scaling from score histograms: against another fitter, and where it must not invent anything."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fedward.figures.calibration import FEWEST, Calibration, calibrations
from fedward.figures.histograms import histogram
from fedward.figures.scores import calibration_error


def scored(seed: int, count: int, slope: float, intercept: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are as frequent as a line over the logits says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, 1)).astype(np.float32)
    chance = 1 / (1 + np.exp(-(slope * logits.astype(np.float64) + intercept)))
    return logits, (rng.random((count, 1)) < chance).astype(np.float32)


def fitted(logits: np.ndarray, labels: np.ndarray) -> Calibration | None:
    (found,) = calibrations(histogram(logits, labels))
    return found


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.3, -1.0), (2.5, 4.0)])
def test_the_line_is_the_one_that_another_fitter_finds(slope: float, intercept: float) -> None:
    logits, labels = scored(1, 400, slope, intercept)
    found = fitted(logits, labels)
    assert found is not None
    with_it, without = labels.sum(), (1 - labels).sum()
    wanted = np.where(labels[:, 0] == 1, (with_it + 1) / (with_it + 2), 1 / (without + 2))
    both = np.concatenate([logits, logits]), np.repeat([1, 0], len(logits))
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    other.fit(*both, sample_weight=np.concatenate([wanted, 1 - wanted]))
    assert found.slope == pytest.approx(other.coef_[0, 0], rel=2e-3)
    assert found.intercept == pytest.approx(other.intercept_[0], rel=2e-3, abs=2e-3)
    assert found.images == 400


def test_calibrated_probabilities_err_less_on_other_images() -> None:
    found = fitted(*scored(1, 500, 0.3, -1.0))
    logits, labels = scored(2, 4000, 0.3, -1.0)
    assert found is not None
    calibrated = calibration_error(found.probabilities(logits), labels == 1)
    plain = calibration_error(1 / (1 + np.exp(-logits.astype(np.float64))), labels == 1)
    assert calibrated < 0.04 < 0.2 < plain


def test_images_that_are_told_apart_perfectly_give_no_certainty() -> None:
    logits = np.concatenate([np.full((30, 1), -5), np.full((30, 1), 5)]).astype(np.float32)
    found = fitted(logits, (logits > 0).astype(np.float32))
    assert found is not None
    low, high = found.probabilities(np.array([-5.0, 5.0], np.float32))
    assert low == pytest.approx(1 / 32, abs=1e-4)  # a logit is as wide as its bin
    assert high == pytest.approx(31 / 32, abs=1e-4)


def test_too_few_images_and_scores_that_fall_with_the_finding_give_none() -> None:
    logits, labels = scored(3, 300, 1.0, 0.0)
    few = np.concatenate([np.flatnonzero(labels[:, 0])[: FEWEST - 1], np.flatnonzero(labels[:, 0] == 0)])
    assert fitted(logits[few], labels[few]) is None
    assert fitted(-logits, labels) is None
    assert fitted(logits[:0], labels[:0]) is None
