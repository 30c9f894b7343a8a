"""Metrics of a model on one set of images, from single scores: what a hospital or `evaluate` sees of its own images."""

from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from fedward.errors import DataError
from fedward.figures.histograms import called_positive, sigmoid, single_threshold
from fedward.types import ImageSet, Vector


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
