"""Screening a hospital's own training images before they are used: which of them look as if somebody planted them.

Whoever can put images into a hospital's archive can plant a backdoor without attacking the federation: images of
another class with a mark on them. A model that learns from them represents the marked images otherwise than the others
that carry the same label, since it recognizes them by the mark. So a classifier is trained on the images in question,
and of each class its representations, the inputs of the last layer, are looked at in two ways:

- **activation clustering** (Chen et al. 2018, "Detecting Backdoor Attacks on Deep Neural Networks by Activation
  Clustering"): two clusters, of which one is small, and which lie apart;
- **spectral signatures** (Tran et al. 2018, "Spectral Signatures in Backdoor Attacks"): images that stick out along the
  direction in which the class varies most.

Neither proves anything: rare kinds of images stick out too. Somebody has to look at what is named.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from fedward.learning.model import Classifier, last_inputs
from fedward.learning.training import run_epochs
from fedward.learning.weight_shapes import ModelSpec
from fedward.settings import TrainingSettings
from fedward.types import ImageSet, Vector

FEWEST = 20  # images with one label; of fewer nothing is said
EPOCHS = (
    20  # of training the classifier whose representations are looked at; with ten it has often not learned a mark yet
)
SMALL, APART = 0.3, 0.45  # clusters of clean images are larger, or lie less far apart (docs/labs/backdoor.md)
_DIMENSIONS = 10  # of representations before they are clustered, as published


@dataclass(frozen=True)
class Clusters:
    """Two clusters of the images with one label.

    Attributes:
        smaller: Which images are in the smaller one: bool, shape (n,).
        share: Its share of the images.
        apart: Mean silhouette of all images, from -1 to 1: how far apart the clusters lie.
    """

    smaller: NDArray[np.bool_]
    share: float
    apart: float

    @property
    def suspicious(self) -> bool:
        """Whether the smaller one is small and lies apart, as planted images do."""
        return self.share <= SMALL and self.apart >= APART


@dataclass(frozen=True)
class Screened:
    """What was found among the images with one label of a finding.

    Attributes:
        finding: The label's column.
        label: 0 or 1.
        rows: Which images have that label: int, shape (n,).
        clusters: Of these images; None where they are fewer than `FEWEST`.
        scores: How far each sticks out, see `spectral_scores`: float64, shape (n,).
    """

    finding: int
    label: int
    rows: NDArray[np.intp]
    clusters: Clusters | None
    scores: NDArray[np.float64]


def screen(images: ImageSet, training: TrainingSettings, seed: int) -> list[Screened]:
    """Train a classifier on images and look at how it represents them, label by label.

    Args:
        images: The images in question, all of them, with the labels in question.
        training: How to train; for `EPOCHS` epochs, whatever it says.
        seed: Of initial weights, the order of images, and the clustering.
    """
    pixels, findings = images.pixels(), images.labels.shape[1]
    classifier = Classifier(ModelSpec("cnn", pixels.shape[1], findings), seed)
    classifier.start_training(training.learning_rate)
    order = np.random.default_rng(seed)
    run_epochs(classifier, pixels, images.labels, dataclasses.replace(training, local_epochs=EPOCHS), order)
    features, found = last_inputs(classifier, pixels), []
    for finding in range(findings):
        for label in (0, 1):
            rows = np.flatnonzero(images.labels[:, finding] == label)
            clusters = activation_clusters(features[rows], seed) if len(rows) >= FEWEST else None
            scores = spectral_scores(features[rows]) if len(rows) >= FEWEST else np.zeros(len(rows))
            found.append(Screened(finding, label, rows, clusters, scores))
    return found


def activation_clusters(features: Vector, seed: int = 0) -> Clusters:
    """Split the images with one label into two clusters.

    Args:
        features: Their representations: shape (n, dimensions), n at least `FEWEST`.
        seed: Of the clustering's starts.
    """
    if not np.ptp(features, axis=0).any():  # all the same
        return Clusters(np.zeros(len(features), np.bool_), 0.0, 0.0)
    reduced = PCA(min(_DIMENSIONS, *features.shape), random_state=seed).fit_transform(features)
    member = KMeans(2, n_init=10, random_state=seed).fit_predict(reduced)
    smaller = member == np.bincount(member, minlength=2).argmin()
    apart = float(silhouette_score(reduced, member)) if 0 < smaller.sum() < len(member) else 0.0
    return Clusters(smaller, float(smaller.mean()), apart)


def spectral_scores(features: Vector) -> NDArray[np.float64]:
    """How far each image with one label sticks out along the direction in which they vary most.

    Args:
        features: Their representations: shape (n, dimensions).

    Returns:
        float64, shape (n,): distances from the median along that direction, in robust standard deviations.
    """
    centered = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    along = centered @ directions[0]
    along = np.abs(along - np.median(along))
    return np.asarray(along / max(1.4826 * float(np.median(along)), 1e-12))
