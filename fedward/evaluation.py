"""Stage 11, evaluate: how good a model is, on one set of images or summed over hospitals.

A hospital gives away two score histograms a finding and one sum of losses; from their sums follow the pooled
validation AUC and the decision threshold, so no hospital's single scores are ever seen.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fedward.errors import DataError
from fedward.types import ImageSet, Vector

BINS = 10_000  # of scores in [0, 1]: of rare findings the scores lie close together, see docs/adr/0003
LARGEST_LOSS = 1e6  # that a hospital reports of an image; servers refuse more, and the vote that came with it


@dataclass(frozen=True)
class Metrics:
    """What is reported of a model on one set of images; None where undefined.

    With several findings, AUC is the mean over the findings of which both classes are present, and the others
    count every (image, finding) pair as one decision.
    """

    n: int
    accuracy: float | None
    auc: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    threshold: float

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
        """The same shape with at most so many images: what a hospital claims weighs no more than it is enrolled for."""
        if self.n <= most:
            return self
        scale = most / self.n
        positives, negatives = ((counts * scale).astype(np.int64) for counts in (self.positives, self.negatives))
        return ScoreHistogram(positives, negatives, self.loss_sum * scale, most)

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

    def threshold(self) -> float:
        """The score from which on an image is called positive: the most accurate one on these images.

        Among equally good ones the middle one is taken. One half where there are several findings or one class.
        """
        if len(self.positives) != 1 or not self.positives.any() or not self.negatives.any():
            return 0.5
        # Right decisions with the threshold at the lower edge of each bin, and above the last.
        right = np.concatenate([[0], np.cumsum(self.negatives[0])]) + np.concatenate(
            [np.cumsum(self.positives[0][::-1])[::-1], [0]]
        )
        best = np.flatnonzero(right == right.max())
        return float(best[len(best) // 2] / BINS)


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


def evaluate(images: ImageSet, logits: Vector, threshold: float) -> Metrics:
    """Score a model's logits against the labels.

    Args:
        images: The images that the logits belong to.
        logits: float32, shape (n, findings).
        threshold: Score in [0, 1] from which on an image is called positive.

    Raises:
        DataError: there is no image, or a score is not a number.
    """
    if not len(images):
        raise DataError("There is no image to evaluate on.", "Choose another --split, or data that has one.")
    if not np.isfinite(logits).all():
        raise DataError("The model's scores are not finite numbers.", "The model is damaged or training diverged.")
    scores, labels = sigmoid(logits), images.labels
    called, truth = scores >= threshold, labels == 1
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
        threshold=threshold,
    )
