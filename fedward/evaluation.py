"""Stage 11, evaluate: how good a model is, on one set of images or summed over hospitals.

A hospital gives away two score histograms a finding and one sum of losses; from their sums follow the pooled
validation AUC and the decision thresholds, so no hospital's single scores are ever seen.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fedward.errors import DataError
from fedward.types import ImageSet, Vector

BINS = 10_000  # of scores in [0, 1]: of rare findings the scores lie close together, see docs/adr/0003
LARGEST_LOSS = 1e6  # that a hospital reports of an image; servers refuse more, and the vote that came with it
UNDECIDED = 0.5  # the threshold where validation images of one class, or none, decide nothing


@dataclass(frozen=True)
class Metrics:
    """What is reported of a model on one set of images; None where undefined.

    With several findings, AUC is the mean over the findings of which both classes are present, and the others
    count every (image, finding) pair as one decision, at its finding's own threshold; `threshold` is None where these
    differ.
    """

    n: int
    accuracy: float | None
    auc: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    threshold: float | None

    def as_dict(self) -> dict[str, float | int | None]:
        """The metrics by name."""
        return asdict(self)


@dataclass(frozen=True)
class ScoreHistogram:
    """What a hospital reports of a candidate on its validation images.

    Attributes:
        positives, negatives: int64, shape (findings, BINS): images by score, for each label.
        loss_sum: Sum over the images of the mean cross-entropy over the findings.
        n: Number of images that have a score.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    loss_sum: float
    n: int

    def __add__(self, other: "ScoreHistogram") -> "ScoreHistogram":
        """The histogram of both sets of images together."""
        return ScoreHistogram(
            self.positives + other.positives,
            self.negatives + other.negatives,
            self.loss_sum + other.loss_sum,
            self.n + other.n,
        )

    def capped(self, most: int) -> "ScoreHistogram":
        """The same shape with at most so many images: what a hospital claims weighs no more than it is enrolled for.

        Each finding's counts then add up to `most`. The running totals are scaled and not the counts, most of which are
        0 or 1 in bins so narrow, and would all become 0. In Python's whole numbers, for their products may be large.
        """
        if self.n <= most:
            return self
        totals = np.cumsum(np.concatenate([self.positives, self.negatives], axis=1), axis=1).astype(object)
        kept: NDArray[np.int64] = (totals * most // self.n).astype(np.int64)
        kept[:, 1:] -= kept[:, :-1].copy()
        return ScoreHistogram(kept[:, :BINS], kept[:, BINS:], self.loss_sum * (most / self.n), most)

    def loss(self) -> float | None:
        """Mean cross-entropy, or None without images."""
        return self.loss_sum / self.n if self.n else None

    def auc(self) -> float | None:
        """Area under the ROC curve, scores of one bin counted as ties; mean over the findings with both classes."""
        areas = []
        for positive, negative in zip(self.positives, self.negatives, strict=True):
            pairs = float(positive.sum()) * float(negative.sum())
            if pairs:
                below = np.cumsum(negative) - negative
                areas.append(float(np.sum(positive * (below + negative / 2))) / pairs)
        return float(np.mean(areas)) if areas else None

    def thresholds(self) -> tuple[float, ...]:
        """Of each finding the score from which on an image is called positive: the best one on these images.

        The best of one finding alone is the most accurate. Among several findings some are rare, and the most accurate
        threshold of a rare one calls nobody ill; there the best has the largest sensitivity + specificity - 1 (Youden
        1950, "Index for rating diagnostic tests"), so that the rarer class counts as much as the other.

        Guarantees:
            1. No other threshold is better on these counts; among equally good ones the middle one is taken.
            2. Of a finding with one class or no images it is one half.
            3. With several findings, a finding's threshold depends on its own counts alone.
        """
        youden = len(self.positives) > 1
        return tuple(
            _best_threshold(positive, negative, youden)
            for positive, negative in zip(self.positives, self.negatives, strict=True)
        )


def _best_threshold(positives: NDArray[np.int64], negatives: NDArray[np.int64], youden: bool) -> float:
    """The best threshold for the counts by score of one finding, both of shape (BINS,)."""
    if not positives.any() or not negatives.any():
        return UNDECIDED
    # Right decisions of each kind with the threshold at the lower edge of each bin, and above the last. Python's whole
    # numbers: what is equally good must come out equal, and products of counts must not overflow.
    hits = np.concatenate([np.cumsum(positives[::-1])[::-1], [0]]).astype(object)
    rejections = np.concatenate([[0], np.cumsum(negatives)]).astype(object)
    right = hits * int(negatives.sum()) + rejections * int(positives.sum()) if youden else hits + rejections
    best = np.flatnonzero(right == right.max())
    return float(best[len(best) // 2] / BINS)


def called_positive(scores: Vector, threshold: float | tuple[float, ...]) -> NDArray[np.bool_]:
    """Which scores are at or above the threshold of their finding.

    Args:
        scores: float32 in [0, 1], shape (n, findings).
        threshold: One for each finding, or one for all of them.
    """
    # As float32, like the scores: else a score of float32(0.7) would lie below a threshold of 0.7.
    return np.asarray(scores >= np.asarray(threshold, np.float32))


def single_threshold(threshold: float | tuple[float, ...]) -> float | None:
    """The threshold that all findings have; None where they differ."""
    if isinstance(threshold, float):
        return threshold
    return threshold[0] if len(set(threshold)) == 1 else None


def sigmoid(logits: Vector) -> Vector:
    """Scores in [0, 1] from logits, without overflow."""
    return (0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)


def losses(logits: Vector, labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cross-entropy of each image, mean over the findings: float64, shape (n,)."""
    wide = logits.astype(np.float64)
    each: NDArray[np.float64] = np.maximum(wide, 0) - wide * labels + np.log1p(np.exp(-np.abs(wide)))
    return np.asarray(each.mean(axis=1))


def histogram(logits: Vector, labels: NDArray[np.float32]) -> ScoreHistogram:
    """Summarize a hospital's validation images.

    Images whose score is not a finite number are left out: a candidate that gives such scores is voted down by its
    detector, and the vote must still get out.

    Args:
        logits: float32, shape (n, findings).
        labels: float32, shape (n, findings), each 0 or 1.
    """
    scored = np.isfinite(logits).all(axis=1)
    logits, labels = logits[scored], labels[scored]
    bins = np.minimum((sigmoid(logits) * BINS).astype(np.int64), BINS - 1)
    findings = labels.shape[1]

    def count(wanted: float) -> NDArray[np.int64]:
        return np.stack([np.bincount(bins[labels[:, k] == wanted, k], minlength=BINS) for k in range(findings)])

    loss_sum = float(np.minimum(losses(logits, labels), LARGEST_LOSS).sum())
    return ScoreHistogram(count(1), count(0), loss_sum, len(labels))


def empty_histogram(findings: int) -> ScoreHistogram:
    """What a hospital reports when there is nothing to score."""
    none = np.zeros((findings, BINS), np.int64)
    return ScoreHistogram(none, none, 0.0, 0)


def evaluate(images: ImageSet, logits: Vector, threshold: float | tuple[float, ...]) -> Metrics:
    """Score a model's logits against the labels.

    Args:
        images: The images that the logits belong to.
        logits: float32, shape (n, findings).
        threshold: Score in [0, 1] from which on an image is called positive: of each finding, or one for all.

    Raises:
        DataError: there is no image, or a score is not a number.
    """
    if not len(images):
        raise DataError("There is no image to evaluate on.", "Choose another --split, or data that has one.")
    if not np.isfinite(logits).all():
        raise DataError("The model's scores are not finite numbers.", "The model is damaged or training diverged.")
    scores, labels = sigmoid(logits), images.labels
    called, truth = called_positive(scores, threshold), labels == 1
    hits = float(np.sum(called & truth))
    precision = hits / float(called.sum()) if called.any() else None
    recall = hits / float(truth.sum()) if truth.any() else None
    f1 = 2 * hits / float(called.sum() + truth.sum()) if (called.any() or truth.any()) else None
    areas = [
        float(roc_auc_score(labels[:, k], logits[:, k]))
        for k in range(labels.shape[1])
        if 0 < labels[:, k].sum() < len(labels)
    ]
    return Metrics(
        n=len(images),
        accuracy=float(np.mean(called == truth)),
        auc=float(np.mean(areas)) if areas else None,
        precision=precision,
        recall=recall,
        f1=f1,
        threshold=single_threshold(threshold),
    )
