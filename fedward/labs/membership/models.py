"""Trains the models of a case, and measures on each what attackers look at: scores, and coefficients in its weights."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedward import settings as setting
from fedward.labs.federation import PlainFederation
from fedward.labs.membership.pool import Bits, Pool, Wide, hospitals_of
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.settings import PrivacySettings, Settings
from fedward.types import Vector

SQUARED_LENGTH = 2.0  # of features with a 1 for the bias
LEAST_RIDGE = 1e-3


@dataclass(frozen=True)
class Looked:
    """What attackers see of each model.

    Attributes:
        scores: Log odds of the right label, mean over a person's images: float64, shape (models, people).
        weights: How much of each person is in the weights, same shape; None where the model is not linear.
        accuracy: Share of images decided rightly, of patients who are in and who are out: shape (models, 2).
    """

    scores: Wide = field(repr=False)
    weights: Wide | None = field(repr=False)
    accuracy: Wide = field(repr=False)


class PoolClassifier(Classifier):
    """A classifier that has the features of a pool's images at hand: hundreds of trainings compute them once.

    Args:
        spec: The model's shape.
        seed: Decides the initial weights.
        pool: Whose images it is ever shown.
    """

    def __init__(self, spec: ModelSpec, seed: int, pool: Pool) -> None:
        super().__init__(spec, seed)
        pixels = pool.images.pixels()
        self.rows = super().prepare(pixels)
        self._places = {image.tobytes(): place for place, image in enumerate(pixels)}

    def prepare(self, pixels: Vector) -> Vector:
        """See `Classifier.prepare`."""
        return np.asarray(self.rows[[self._places[image.tobytes()] for image in pixels]])


def features_of(classifier: PoolClassifier) -> Wide | None:
    """What a linear model's weights multiply, with a 1 for the bias: shape (images, parameters); None if not linear."""
    rows = classifier.rows
    if rows.ndim != 2:
        return None
    return np.hstack([rows, np.ones((len(rows), 1), np.float32)]).astype(np.float64)


def train_models(
    pool: Pool, inside: Bits, settings: Settings, hospitals: int, noise: float, classifier: PoolClassifier
) -> Looked:
    """Train a model for each row of coins as a federation does, and look at it.

    Args:
        pool: Patients and canaries.
        inside: Who is in which model: shape (models, people).
        settings: The federation's.
        hospitals: How many share the people.
        noise: What part of the settings' noise is added.
        classifier: Of the settings' model.
    """
    start = classifier.get_weights()
    reader = _reader(classifier, settings)
    blank = settings.privacy.mode == "sample"
    weaker = with_noise(settings, noise)
    scores, weights, accuracy = [], [], []
    for row in inside:
        classifier.set_weights(start)
        federation = PlainFederation(hospitals_of(pool, row, hospitals, blank), classifier, weaker)
        standing, read = federation.start(), np.zeros(len(pool.images))
        for _ in range(settings.training.rounds):
            before = standing.model.weights
            standing = federation.accept(standing, federation.propose(standing, {}), ())
            if reader is not None:
                moved = standing.model.weights.astype(np.float64) - before
                read += _pull(classifier, before, pool, settings) * pool.signs * (reader @ moved)
        margins = _margins(classifier, standing.model.weights, pool)
        scores.append(pool.mean_by_person(margins))
        accuracy.append(_accuracy(pool, row, margins))
        if reader is not None:
            weights.append(pool.mean_by_person(read))
    return Looked(np.array(scores), np.array(weights) if weights else None, np.array(accuracy))


def with_noise(settings: Settings, share: float) -> Settings:
    """The same settings with a part of their noise."""
    if share == 1.0:
        return settings
    return setting.replace(settings, "privacy.noise-multiplier", share * settings.privacy.noise_multiplier)


def memorizing_models(pool: Pool, inside: Bits, classifier: PoolClassifier) -> Looked:
    """Models that have every training label by heart: the shortest weights that give exactly 1 or -1 for each image."""
    features = features_of(classifier)
    if features is None:
        raise ValueError("only linear models are solved")
    gram = features @ features.T
    scores, weights, accuracy = [], [], []
    for row in inside:
        rows = np.flatnonzero(row[pool.people])
        solved = np.zeros(len(gram))
        solved[rows] = np.linalg.solve(gram[np.ix_(rows, rows)] + 1e-6 * np.eye(len(rows)), pool.signs[rows])
        margins = pool.signs * (gram @ solved)
        scores.append(pool.mean_by_person(margins))
        weights.append(pool.mean_by_person(pool.signs * solved))
        accuracy.append(_accuracy(pool, row, margins))
    return Looked(np.array(scores), np.array(weights), np.array(accuracy))


def _margins(classifier: PoolClassifier, weights: Vector, pool: Pool) -> Wide:
    """Log odds that a model gives the label of each image."""
    classifier.set_weights(weights)
    return np.asarray(pool.signs * classifier.logits(pool.images.pixels())[:, 0], np.float64)


def _pull(classifier: PoolClassifier, weights: Vector, pool: Pool, settings: Settings) -> Wide:
    """How strongly each image would pull at a model's weights: the length of its gradient over that of its features."""
    pull = 1 / (1 + np.exp(np.clip(_margins(classifier, weights, pool), -60, 60)))
    most = settings.privacy.clip_norm / SQUARED_LENGTH**0.5
    return np.asarray(np.minimum(pull, most) if settings.privacy.mode == "sample" else pull, np.float64)


def _accuracy(pool: Pool, inside: Bits, margins: Wide) -> tuple[float, float]:
    patients, own = pool.people < pool.patients, inside[pool.people]
    members, others = margins[patients & own] > 0, margins[patients & ~own] > 0
    return float(members.mean()), float(others.mean())


def _reader(classifier: PoolClassifier, settings: Settings) -> Any | None:
    """A matrix that reads from a linear model's weights how much of each image is in them; None if not linear.

    Training adds multiples of images' features to the weights, and noise: ridge regression on the features of all
    images that may be in finds the multiples.
    """
    features = features_of(classifier)
    if features is None:
        return None
    ridge = _ridge(settings.privacy, settings.training.rounds) if settings.privacy.mode == "sample" else LEAST_RIDGE
    return np.linalg.solve(features @ features.T + ridge * np.eye(len(features)), features)


def _ridge(privacy: PrivacySettings, rounds: int) -> float:
    """Variance of the noise over that of what a member adds, whose gradient is clipped nearly always."""
    taken = rounds * privacy.steps * privacy.sampling_rate**2
    return max(LEAST_RIDGE, 2 * privacy.noise_multiplier**2 / taken)
