"""The detector `feedback`: finds candidates whose mistakes change otherwise than those of accepted models did.

BaFFLe (Andreina et al. 2021, "BaFFLe: Backdoor Detection via Feedback-based Federated Learning"): from one accepted
model to the next, the errors of each class on a hospital's own validation images change by little, and always in
about the same way. A candidate whose change is an outlier among them, by the local outlier factor (Breunig et al.
2000, "LOF: Identifying Density-Based Local Outliers"), is suspicious.

One thing differs from the paper: distances below one validation image count as one image. Late in training most
changes are exactly zero, and any change at all would be infinitely far from them.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedward.backdoor.history import Wide
from fedward.backdoor.inspection import JudgedBefore
from fedward.backdoor.validation_loss import WORST, at_best_offset
from fedward.plugins import FeedbackOptions
from fedward.types import DetectorReport, Vector

FEWEST_CHANGES = 10  # with fewer there is no judgment


@dataclass(frozen=True)
class Feedback:
    """Rejects a candidate whose change of errors is an outlier among those of accepted rounds."""

    options: FeedbackOptions
    name: ClassVar[str] = "feedback"

    def inspect(self, view: JudgedBefore) -> DetectorReport:
        """Compare the change of errors with those of up to `window` accepted rounds."""
        labels, candidate = view.validation.labels, view.candidate_logits
        if len(labels) < 2:
            return DetectorReport(self.name, False, 0.0, "Too few validation images to judge by.")
        if not np.isfinite(candidate).all():
            return DetectorReport(self.name, True, WORST, "The candidate's scores are not finite numbers.")
        accepted = view.history.before(self.name)
        errors = view.history.of_candidate(self.name, class_errors(candidate, labels))
        current = view.history.of_current(self.name, lambda: class_errors(view.current_logits, labels))
        changes = np.diff(np.array(accepted), axis=0)[-self.options.window :] if len(accepted) > 1 else np.empty((0, 0))
        if len(changes) < FEWEST_CHANGES:
            return DetectorReport(self.name, False, 0.0, f"Only {len(changes)} changes of errors to compare with.")
        neighbours, one_image = math.ceil(len(changes) / 2), 1 / len(labels)
        factor = outlier_factor(errors - current, changes, neighbours, one_image)
        limit = self.options.margin * _usual(changes, neighbours, one_image)
        evidence = (
            f"The change of errors by class has an outlier factor of {factor:.2f} (limit {limit:.2f}) among "
            f"{len(changes)} accepted ones; the largest is {np.abs(errors - current).max():.1%} of images."
        )
        return DetectorReport(self.name, factor > limit, factor / limit, evidence)


def class_errors(logits: Vector, labels: NDArray[np.float32]) -> Wide:
    """Which shares of all images are missed findings and false calls, each model's logits at their best offset.

    Args:
        logits: Finite, shape (n, findings).
        labels: float32, same shape, each 0 or 1.

    Returns:
        float64, shape (2 * findings,): the missed ones of each finding, then the false calls.
    """
    called, present = at_best_offset(logits, labels) > 0, labels > 0
    return np.concatenate([(present & ~called).mean(axis=0), (called & ~present).mean(axis=0)])


def _usual(changes: Wide, neighbours: int, floor: float) -> float:
    """The mean factor of the last quarter of accepted changes, each among the others."""
    recent = range(len(changes) - math.ceil(len(changes) / 4), len(changes))
    factors = [outlier_factor(changes[i], np.delete(changes, i, axis=0), neighbours, floor) for i in recent]
    return float(np.mean(factors))


def outlier_factor(point: Wide, others: Wide, neighbours: int, floor: float = 0.0) -> float:
    """How much sparser the surroundings of a point are than those of its nearest neighbours: about 1 within a crowd.

    Args:
        point: float64, shape (dimensions,).
        others: float64, shape (n, dimensions), with n above `neighbours`.
        neighbours: How many neighbours make surroundings.
        floor: Distances below this count as this.

    Returns:
        The local outlier factor; never below 0, infinite where distances are 0 and `floor` is too.
    """
    between = np.linalg.norm(others[:, None] - others[None], axis=-1)
    np.fill_diagonal(between, np.inf)
    nearest = np.argsort(between, axis=1)[:, :neighbours]
    reach = np.maximum(np.take_along_axis(between, nearest, axis=1)[:, -1], floor)  # to each one's last neighbour
    density = 1 / np.maximum(
        np.maximum(reach[nearest], np.take_along_axis(between, nearest, axis=1)).mean(axis=1), 1e-10
    )
    distances = np.linalg.norm(others - point, axis=1)
    around = np.argsort(distances)[:neighbours]
    return float(density[around].mean() * np.maximum(reach[around], distances[around]).mean())
