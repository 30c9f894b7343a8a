"""Stage 10, evaluate, at a hospital: score histograms, whose sums over the hospitals give AUC and thresholds.

A hospital shares two score histograms a finding and one sum of losses. Their sums over the hospitals give the pooled
validation AUC and the decision thresholds. Bins are so narrow that a histogram tells its reader as much as the single
scores would, though not whose they are: only `metrics.encrypted` hides a hospital's histogram from the server
(docs/THREAT_MODEL.md). The server adds them too, and so nothing here needs more than NumPy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.types import Vector

# Bins are of equal width in asinh(logit / CENTER): 0.0004 of the logit wide near 0, and 0.15 % of it from well beyond
# CENTER on. Bins of equal width in the score would put all confident scores into the first and the last.
BINS = 10_000  # an even number, so that the edge in the middle is the logit 0; see docs/adr/0003
CENTER = 0.25
LARGEST_LOGIT = 200.0  # the outermost bins hold all that is further out
LARGEST_LOSS = 1e6  # that a hospital reports for an image; servers refuse a larger loss, and the vote that came with it
UNDECIDED = 0.5  # the threshold where validation images of one class, or none, decide nothing


@dataclass(frozen=True)
class ScoreHistogram:
    """What a hospital reports of a candidate on its validation images.

    Attributes:
        positives, negatives: int64, shape (findings, BINS): images by score, for each label; bin k from
            `THRESHOLDS[k]` on and below `THRESHOLDS[k + 1]`.
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
        """Scale the histogram to at most so many images, so that no hospital counts more than it is enrolled for.

        Each finding's counts then add up to `most`. The running totals are scaled, not the counts: most counts are 0 or
        1 in bins so narrow, and would all become 0. Python's whole numbers are used, for the products may be large.
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
        """Area under the ROC curve, scores of one bin counted as ties; mean over the findings with both classes.

        Guarantees:
            1. A finding's AUC is off by no more than half the share of pairs (one image of each class) in one bin.
        """
        areas = []
        for positive, negative in zip(self.positives, self.negatives, strict=True):
            pairs = float(positive.sum()) * float(negative.sum())
            if pairs:
                below = np.cumsum(negative) - negative
                areas.append(float(np.sum(positive * (below + negative / 2))) / pairs)
        return float(np.mean(areas)) if areas else None

    def thresholds(self) -> tuple[float, ...]:
        """For each finding, the score from which on an image is called positive: the best threshold on these images.

        With a single finding, the best threshold is the most accurate. Among several findings some are rare, and the
        most accurate threshold of a rare finding calls nobody ill. So with several findings, the best threshold has the
        largest sensitivity + specificity - 1 (Youden 1950, "Index for rating diagnostic tests"), and the rarer class
        counts as much as the other.

        Guarantees:
            1. No other edge of a bin is better on these counts, by what `called_positive` makes of it; among equally
               good ones the middle one is taken.
            2. The threshold of a finding with one class or no images is one half.
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
    right = right[_FIRST_ALIKE]
    best = np.flatnonzero(right == right.max())
    return float(THRESHOLDS[best[len(best) // 2]])


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
    return wide_sigmoid(logits.astype(np.float64)).astype(np.float32)


def wide_sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `sigmoid`, in double precision."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def _edges() -> NDArray[np.float64]:
    """The logits between which bins lie, ascending; the one in the middle is 0."""
    half = BINS // 2
    return np.asarray(CENTER * np.sinh(np.arange(-half, half + 1) / half * np.arcsinh(LARGEST_LOGIT / CENTER)))


_EDGES = _edges()
THRESHOLDS = np.concatenate([[0.0], wide_sigmoid(_EDGES[1:-1]), [1.0]])  # their scores; float64, shape (BINS + 1,)
# Scores and thresholds are compared as float32, as which several edges far out are equal: the first of each such group.
_SINGLE = THRESHOLDS.astype(np.float32)
_FIRST_ALIKE = np.searchsorted(_SINGLE, _SINGLE, "left")


def bin_logits() -> NDArray[np.float64]:
    """The logit in the middle of each bin: float64, shape (BINS,); of the outermost bins the middle of their width."""
    return np.asarray((_EDGES[1:] + _EDGES[:-1]) / 2)


def losses(logits: Vector | NDArray[np.float64], labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cross-entropy of each image, mean over the findings: float64, shape (n,)."""
    wide = logits.astype(np.float64)
    each: NDArray[np.float64] = np.maximum(wide, 0) - wide * labels + np.log1p(np.exp(-np.abs(wide)))
    return np.asarray(each.mean(axis=1))


def bins_of(logits: Vector) -> NDArray[np.intp]:
    """The bin that counts each logit.

    Args:
        logits: float32, finite, of any shape.

    Guarantees:
        1. `called_positive` calls a score of bin k positive at the lower edge of each bin up to k and at none above, as
           long as the edges differ as float32: for logits in [-12, 12] all do.
    """
    # By the score as it is compared; among edges that are alike there, by the logit.
    at_most = np.searchsorted(_SINGLE, sigmoid(logits), "right") - 1
    by_logit = np.searchsorted(_EDGES, logits.astype(np.float64), "right") - 1
    return np.asarray(np.minimum(np.clip(by_logit, _FIRST_ALIKE[at_most], at_most), BINS - 1), np.intp)


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
    bins, findings = bins_of(logits), labels.shape[1]

    def count(wanted: float) -> NDArray[np.int64]:
        return np.stack([np.bincount(bins[labels[:, k] == wanted, k], minlength=BINS) for k in range(findings)])

    loss_sum = float(np.minimum(losses(logits, labels), LARGEST_LOSS).sum())
    return ScoreHistogram(count(1), count(0), loss_sum, len(labels))


def empty_histogram(findings: int) -> ScoreHistogram:
    """What a hospital reports when there is nothing to score."""
    none = np.zeros((findings, BINS), np.int64)
    return ScoreHistogram(none, none, 0.0, 0)
