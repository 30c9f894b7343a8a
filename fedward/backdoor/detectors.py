"""Stage 9, detect: what a hospital finds in a candidate with nothing but its own validation images.

A detector is a frozen dataclass whose fields are its options.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fedward.figures.evaluation import losses, wide_sigmoid
from fedward.settings import VotingSettings
from fedward.types import DetectorReport, ImageSet, Vector

WORST = sys.float_info.max  # a statistic beyond all others that JSON can still carry
_FAR = 50.0  # logits at which a score is 0 or 1 for any purpose
_HALVINGS = 60


@dataclass(frozen=True)
class Inspection:
    """What a detector sees.

    Attributes:
        images: The hospital's validation images.
        current: Logits of the model in force, of pixels; float32, shapes (n, h, w, 1) -> (n, findings).
        candidate: Logits of the candidate, likewise.
    """

    images: ImageSet
    current: Callable[[Vector], Vector]
    candidate: Callable[[Vector], Vector]

    @cached_property
    def current_logits(self) -> Vector:
        """Of the validation images, by the model in force; scored once, whoever asks."""
        return self.current(self.images.pixels())

    @cached_property
    def candidate_logits(self) -> Vector:
        """Of the validation images, by the candidate; scored once, whoever asks."""
        return self.candidate(self.images.pixels())


class Detector(Protocol):
    """Looks at a candidate model and says whether it should be rejected."""

    name: ClassVar[str]

    def inspect(self, inspection: Inspection) -> DetectorReport:
        """Judge the candidate."""
        ...


@dataclass(frozen=True)
class ValidationLoss:
    """Rejects a candidate whose validation loss is clearly worse than that of the model in force.

    The same images are scored by both models, so their losses are compared in pairs: the mean rise must pass
    `tolerance` by `z_score` standard errors. Each class counts the same, whatever the hospital's label skew. That a
    candidate leans to one class is not held against it, see `loss_rises`.

    Attributes:
        tolerance: Rise of the mean loss (nats) that is never called worse.
        z_score: Standard errors above the tolerance at which a rise is clear.
    """

    name: ClassVar[str] = "validation-loss"

    tolerance: float
    z_score: float

    def inspect(self, inspection: Inspection) -> DetectorReport:
        """Compare the two models' losses image by image."""
        images, candidate = inspection.images, inspection.candidate_logits
        if len(images) < 2:
            return DetectorReport(self.name, False, 0.0, "Too few validation images to judge by.")
        if not np.isfinite(candidate).all():
            return DetectorReport(self.name, True, WORST, "The candidate's scores are not finite numbers.")
        mean, error = balanced_mean(loss_rises(inspection.current_logits, candidate, images.labels), images.labels)
        score = (mean - self.tolerance) / max(error, 1e-12)
        evidence = f"Mean validation loss changed by {mean:+.4f} (standard error {error:.4f}, {len(images)} images)."
        return DetectorReport(self.name, score > self.z_score, score, evidence)


def configured_detectors(settings: VotingSettings) -> tuple[Detector, ...]:
    """The detectors that every hospital of the consortium runs."""
    return (ValidationLoss(settings.tolerance, settings.z_score),)


def detect(inspection: Inspection, detectors: tuple[Detector, ...]) -> tuple[DetectorReport, ...]:
    """Let every detector judge the candidate."""
    return tuple(detector.inspect(inspection) for detector in detectors)


def loss_rises(current: Vector, candidate: Vector, labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """By how much each image's loss rises from one model to another, each with the offset of its logits that suits it.

    Where hospitals' shares of a finding differ, the first models of a federation lean to one class, however well they
    rank images. That does no harm, since the decision threshold is calibrated anew for each model; it is no reason to
    reject one. So a number is added to all logits of a model, of each finding, at which the hospital's loss is least.
    Images of one class cannot tell a lean from a mistake: of such a finding losses are compared as they are.

    Args:
        current: Logits of the model in force, finite, shape (n, findings).
        candidate: Of the candidate, likewise.
        labels: float32, shape (n, findings), each 0 or 1.

    Returns:
        float64, shape (n,).
    """
    return losses(_at_best_offset(candidate, labels), labels) - losses(_at_best_offset(current, labels), labels)


def _at_best_offset(logits: Vector, labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits plus a number for each finding at which the mean loss, balanced as `balanced_mean` does, is least.

    In float64, in which the largest logits have room for it.
    """
    wide, shares = logits.astype(np.float64), labels.mean(axis=0, dtype=np.float64)
    weights = np.ones_like(wide)
    if labels.shape[1] == 1 and 0 < shares[0] < 1:
        weights = np.where(labels == 1, 1 / shares, 1 / (1 - shares))
    # Where the loss is least, scores add up to labels; their sum rises with the offset, so it is found by halving.
    low, high = -wide.max(axis=0) - _FAR, -wide.min(axis=0) + _FAR
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_high = (weights * (wide_sigmoid(wide + middle) - labels)).sum(axis=0) > 0
        low, high = np.where(too_high, low, middle), np.where(too_high, middle, high)
    both_classes = (shares > 0) & (shares < 1)
    return np.asarray(wide + np.where(both_classes, (low + high) / 2, 0.0))


def balanced_mean(values: NDArray[np.float64], labels: NDArray[np.float32]) -> tuple[float, float]:
    """Mean over the two classes of their own means, and its standard error; plain with several findings."""
    if labels.shape[1] == 1:
        groups = [members for members in (values[labels[:, 0] == 0], values[labels[:, 0] == 1]) if len(members)]
    else:
        groups = [values]
    # A group of one says nothing of its own spread: take that of all values.
    variances = [(members if len(members) > 1 else values).var(ddof=1) / len(members) for members in groups]
    means = [members.mean() for members in groups]
    return float(np.mean(means)), float(np.sqrt(np.sum(variances)) / len(groups))
