"""The detector `validation-loss`: finds candidates that are clearly worse on a hospital's own validation images."""

import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedward.backdoor.inspection import ValidationScores
from fedward.figures.histograms import losses, wide_sigmoid
from fedward.plugins import ValidationLossOptions
from fedward.types import DetectorReport, Vector

WORST = sys.float_info.max  # a statistic beyond all others that JSON can still carry
_FAR = 50.0  # logits at which a score is 0 or 1 for any purpose
_HALVINGS = 60


@dataclass(frozen=True)
class ValidationLoss:
    """Rejects a candidate whose validation loss is clearly worse than that of the model in force.

    The same images are scored by both models, so their losses are compared in pairs: the mean rise must pass
    `tolerance` by `z_score` standard errors. Each class counts the same, whatever the hospital's label skew. That a
    candidate leans to one class is not held against it, see `loss_rises`.
    """

    options: ValidationLossOptions
    name: ClassVar[str] = "validation-loss"

    def inspect(self, view: ValidationScores) -> DetectorReport:
        """Compare the two models' losses image by image."""
        images, candidate = view.validation, view.candidate_logits
        if len(images) < 2:
            return DetectorReport(self.name, False, 0.0, "Too few validation images to judge by.")
        if not np.isfinite(candidate).all():
            return DetectorReport(self.name, True, WORST, "The candidate's scores are not finite numbers.")
        mean, error = balanced_mean(loss_rises(view.current_logits, candidate, images.labels), images.labels)
        score = (mean - self.options.tolerance) / max(error, 1e-12)
        evidence = f"Mean validation loss changed by {mean:+.4f} (standard error {error:.4f}, {len(images)} images)."
        return DetectorReport(self.name, score > self.options.z_score, score, evidence)


def loss_rises(current: Vector, candidate: Vector, labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """By how much each image's loss rises from the model in force to the candidate, each model's logits best offset.

    Where hospitals' shares of a finding differ, the first models of a federation lean to one class, however well they
    rank images. That does no harm, since the decision threshold is calibrated anew for each model, and is no reason to
    reject a candidate. So for each finding, the number at which the hospital's loss is least is added to all logits of
    a model. Where all images are of one class, a lean cannot be told from a mistake: such a finding gets no offset.

    Args:
        current: Logits of the model in force, finite, shape (n, findings).
        candidate: Logits of the candidate, likewise.
        labels: float32, shape (n, findings), each 0 or 1.

    Returns:
        float64, shape (n,).
    """
    return losses(at_best_offset(candidate, labels), labels) - losses(at_best_offset(current, labels), labels)


def at_best_offset(logits: Vector, labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits plus, for each finding, the number at which the mean loss, balanced as `balanced_mean` does, is least.

    Computed in float64, in which the largest float32 logits plus that number do not overflow.
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
