"""What is measured of a classifier on attacked images: AUC and accuracy with intervals by patient, AUPRC and F1."""

from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from fedward.figures.evaluation import evaluate
from fedward.figures.intervals import auc_interval, auc_parts, groups_of, ratio_interval
from fedward.types import ImageSet, Vector


def measured(images: ImageSet, margins: Vector) -> dict[str, Any]:
    """Figures of a classifier with one finding.

    Args:
        images: What it was shown, with the true labels.
        margins: float32, shape (n, 1): above 0 the finding is called.

    Raises:
        DataError: there is no image, or a margin is no number.
    """
    metrics, groups = evaluate(images, margins, 0.5), groups_of(images.patients)
    truth, scores = images.labels[:, 0] > 0, margins[:, 0].astype(np.float64)
    right = ((scores >= 0) == truth).astype(np.float64)
    both = bool(truth.any() and not truth.all())
    return {
        "images": len(images),
        "auc": metrics.auc,
        "auc_interval": _ends(auc_interval(*auc_parts(scores, truth, groups))) if both else None,
        "auprc": float(average_precision_score(truth, scores)) if both else None,
        "accuracy": metrics.accuracy,
        "accuracy_interval": _ends(ratio_interval(right, np.ones(len(right)), groups)),
        "f1": metrics.f1,
    }


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [float(end) for end in interval]
