"""What is measured of images and of decisions: quality with its median, accuracy with an interval by patient."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from fedward.figures.evaluation import evaluate
from fedward.figures.intervals import groups_of, ratio_interval
from fedward.reconstruction.quality import likeness
from fedward.types import ImageSet, Vector


def quality(found: Vector, originals: Vector) -> dict[str, float | None]:
    """How like images are to their originals; nothing of none."""
    return likeness(found, originals) if len(found) else {}


def decisions(images: ImageSet, margins: Vector) -> dict[str, Any]:
    """Metrics of margins above a threshold: accuracy with its interval, precision, recall, F1, AUC.

    Args:
        images: Those that were scored.
        margins: float32, shape (n, findings): above 0 a finding is called.

    Raises:
        DataError: a margin is not a number.
    """
    if not len(images):
        return {}
    metrics = evaluate(images, margins, 0.5)
    right = ((margins >= 0) == (images.labels > 0)).mean(axis=1)
    return {
        "images": len(images),
        "accuracy": metrics.accuracy,
        "accuracy_interval": _interval(right, images),
        "precision": metrics.precision,
        "recall": metrics.recall,
        "f1": metrics.f1,
        "auc": metrics.auc,
    }


def share(hits: NDArray[np.bool_], cases: NDArray[np.bool_], images: ImageSet) -> dict[str, Any]:
    """A share of images, with its interval by patient."""
    count = int(cases.sum())
    return {
        "share": float(hits.sum() / count) if count else None,
        "interval": _interval(hits[cases], images.some(cases)) if count else None,
        "images": count,
    }


def margins_of(logits: Vector, thresholds: tuple[float, ...] = (0.5,)) -> Vector:
    """Logits above those of thresholds."""
    return np.asarray(logits - logit(np.array(thresholds)), np.float32)


def _interval(hits: NDArray[Any], images: ImageSet) -> list[float] | None:
    groups = groups_of(images.patients)
    found = ratio_interval(np.asarray(hits, np.float64), np.ones(len(images)), groups)
    return None if found is None else [float(end) for end in found]
