"""All figures of a finished model on one set of images: metrics, calibration, confidence intervals, undefined ones.

The metrics of `fedward.figures.evaluation` stand here unchanged; confidence intervals are of 95 % with patients as
the independent units, see `fedward.figures.intervals` (AUC: DeLong by patient; shares of images: Wilson by patient).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss

from fedward.figures.evaluation import evaluate
from fedward.figures.histograms import called_positive, sigmoid, single_threshold
from fedward.figures.intervals import Interval, auc_interval, auc_parts, groups_of, ratio_interval
from fedward.types import ImageSet, Vector

CALIBRATION_BINS = 15  # of equal width, as Guo et al. 2017 have it
ONE_CLASS = "all images are of one class"
NO_IMAGES = "there are no images"
PATIENTS_TOO_FEW = "fewer than two patients of a kind"
OWN_THRESHOLDS = "each finding has its own"
NO_SPREAD = "the ranking shows no spread over patients"  # the AUC is 0 or 1, or all scores are alike


@dataclass(frozen=True)
class Confusion:
    """Decisions by outcome; with several findings every (image, finding) pair is one."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int


@dataclass(frozen=True)
class Scores:
    """All figures of a model on one set of images.

    With several findings, AUC, Brier score and calibration error are means over the findings (AUC: of those with both
    classes), the others count every (image, finding) pair as one decision, at its finding's own threshold.

    Attributes:
        n, patients: Images, and the patients that they are of.
        positives: Of the decisions, those with the finding.
        threshold: Score from which on an image is called positive: the federated one, from validation images only (see
            `ScoreHistogram.thresholds`). None where findings have different ones: see each finding's scores.
        accuracy, precision, recall, specificity, f1, auc: In [0, 1]; None where undefined. Recall is sensitivity.
        brier: Mean squared distance of score and label, in [0, 1].
        ece: Expected calibration error: scores in 15 bins of equal width, and the mean over the images of how far
            their bin's mean score is from its share of positives.
        intervals: Of each of the first six figures, the 95 % interval or None.
        confusion: The decisions.
        undefined: Why, for each figure (or `intervals.NAME`) that is None.
    """

    n: int
    patients: int
    positives: int
    threshold: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    auc: float | None
    brier: float | None
    ece: float | None
    intervals: dict[str, Interval | None]
    confusion: Confusion
    undefined: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The figures by name, ready for JSON."""
        return asdict(self)


def score(images: ImageSet, logits: Vector, threshold: float | tuple[float, ...]) -> Scores:
    """All figures of a model's logits.

    Args:
        images: The images that the logits belong to; their pseudonyms tell the patients apart.
        logits: float32, shape (n, findings).
        threshold: Score in [0, 1] from which on an image is called positive: of each finding, or one for all.

    Raises:
        DataError: a score is not a finite number.

    Guarantees:
        1. No figure is NaN or infinite; each that is None has its reason in `undefined`.
        2. The order of the images and the names of the patients have no influence, to the last bit.
    """
    if not len(images):
        return _nothing(single_threshold(threshold))
    metrics = evaluate(images, logits, threshold)
    # Sorted, so that sums of floats over images come out the same in whatever order the images came. Images that tie
    # here add the same; sums over patients, who are numbered as their images come, are rounded once.
    order = np.lexsort((*logits.T, *images.labels.T))
    scores = sigmoid(logits)[order]
    chances = scores.astype(np.float64)
    truth, groups = images.labels[order] == 1, groups_of(images.patients[order])
    sides = _decisions(called_positive(scores, threshold), truth)
    hits, false_calls, rejections, misses = sides
    confusion = Confusion(*(int(side.sum()) for side in sides))
    parts = {
        "accuracy": (hits + rejections, hits + false_calls + rejections + misses),
        "precision": (hits, hits + false_calls),
        "recall": (hits, hits + misses),
        "specificity": (rejections, rejections + false_calls),
        "f1": (2 * hits, 2 * hits + false_calls + misses),
    }
    intervals = {name: ratio_interval(*pair, groups) for name, pair in parts.items()}
    intervals["auc"] = _auc_interval(logits[order], truth, groups)
    negatives = confusion.true_negatives + confusion.false_positives
    figures: dict[str, float | None] = {
        "accuracy": metrics.accuracy,
        "precision": metrics.precision,
        "recall": metrics.recall,
        "specificity": confusion.true_negatives / negatives if negatives else None,
        "f1": metrics.f1,
        "auc": metrics.auc,
        "brier": float(np.mean([brier_score_loss(truth[:, k], chances[:, k]) for k in range(truth.shape[1])])),
        "ece": calibration_error(chances, truth),
    }
    patients = int(groups.max()) + 1
    return Scores(
        n=len(images),
        patients=patients,
        positives=int(truth.sum()),
        threshold=metrics.threshold,
        **figures,
        intervals=intervals,
        confusion=confusion,
        undefined=_reasons(figures, intervals, _has_enough_patients(truth, groups)) | _no_single(metrics.threshold),
    )


def score_findings(
    images: ImageSet, logits: Vector, thresholds: tuple[float, ...], findings: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """`score` of each finding by itself, at its own threshold, by its name."""
    return {
        name: score(
            ImageSet(images.images, images.labels[:, k : k + 1], images.patients), logits[:, k : k + 1], threshold
        ).as_dict()
        for k, (name, threshold) in enumerate(zip(findings, thresholds, strict=True))
    }


def calibration_error(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Expected calibration error, mean over the findings.

    Args:
        scores: float64 in [0, 1], shape (n, findings), n above 0.
        truth: Same shape.
    """
    errors = []
    for k in range(scores.shape[1]):
        _, mean_scores, shares, counts = reliability(scores[:, k], truth[:, k])
        errors.append(float(np.sum(counts * np.abs(mean_scores - shares)) / counts.sum()))
    return float(np.mean(errors))


def reliability(
    scores: NDArray[np.float64], truth: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The bins that hold a score: number, mean score, share of positives, and images of each."""
    bins = np.minimum((scores * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    used = np.flatnonzero(counts)
    sums, hits = (np.bincount(bins, values, minlength=CALIBRATION_BINS)[used] for values in (scores, truth))
    return used, sums / counts[used], hits / counts[used], counts[used].astype(np.int64)


def _decisions(called: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """True positives, false positives, true negatives and false negatives of each image."""
    outcomes = (called & truth, called & ~truth, ~called & ~truth, ~called & truth)
    return tuple(outcome.sum(axis=1).astype(np.float64) for outcome in outcomes)


def _auc_interval(logits: Vector, truth: NDArray[np.bool_], groups: NDArray[np.intp]) -> Interval | None:
    """Interval of the mean AUC over the findings with both classes; a patient's parts of all findings belong together.

    A single patient of a class tells nothing of how much patients differ. Where every finding has such a class, there
    is no interval. Where only some findings do, they add too little to the spread of the mean.
    """
    if not _has_enough_patients(truth, groups):
        return None
    found = [
        auc_parts(logits[:, k].astype(np.float64), truth[:, k], groups)
        for k in range(truth.shape[1])
        if truth[:, k].any() and not truth[:, k].all()
    ]
    return auc_interval(
        float(np.mean([area for area, _ in found])), np.asarray(np.mean([part for _, part in found], axis=0))
    )


def _has_enough_patients(truth: NDArray[np.bool_], groups: NDArray[np.intp]) -> bool:
    """Whether a finding has two patients with it and two without, as the interval of an AUC takes."""
    return any(
        min(len(np.unique(groups[truth[:, k] == kind])) for kind in (True, False)) > 1 for k in range(truth.shape[1])
    )


def _reasons(
    figures: dict[str, float | None], intervals: dict[str, Interval | None], enough_patients: bool
) -> dict[str, str]:
    """Why a figure, or the interval of a figure that there is, is not given.

    Shares have an interval wherever there are two patients of a kind; an AUC may lack one even then.
    """
    why = {
        "precision": "no image was called positive",
        "recall": "no image has the finding",
        "specificity": "every image has the finding",
        "f1": "no image has the finding, and none was called positive",
        "auc": ONE_CLASS,
    }
    reasons = {name: why[name] for name, value in figures.items() if value is None}
    for name, interval in intervals.items():
        if interval is None:
            missing = NO_SPREAD if name == "auc" and enough_patients else PATIENTS_TOO_FEW
            reasons[f"intervals.{name}"] = reasons.get(name, missing)
    return reasons


def _no_single(threshold: float | None) -> dict[str, str]:
    """Why there is no threshold of all findings."""
    return {"threshold": OWN_THRESHOLDS} if threshold is None else {}


def _nothing(threshold: float | None) -> Scores:
    """No image, no figure."""
    ranged = ("accuracy", "precision", "recall", "specificity", "f1", "auc")
    names = (*ranged, "brier", "ece", *(f"intervals.{name}" for name in ranged))
    return Scores(
        n=0, patients=0, positives=0, threshold=threshold, accuracy=None, precision=None, recall=None,
        specificity=None, f1=None, auc=None, brier=None, ece=None, intervals=dict.fromkeys(ranged),
        confusion=Confusion(0, 0, 0, 0), undefined=dict.fromkeys(names, NO_IMAGES) | _no_single(threshold),
    )  # fmt: skip
