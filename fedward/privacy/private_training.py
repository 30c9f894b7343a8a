"""Stage 2, train, by DP-SGD (where `privacy.mode` is `sample`): noise in each step, so that no single patient shows.

DP-SGD (Abadi et al. 2016, "Deep Learning with Differential Privacy"): in each step every unit is drawn independently,
the gradients of the drawn units are clipped, and Gaussian noise is added to their sum. Each hospital adds all of the
noise that its patients' protection needs.
"""

import functools
import os

import numpy as np
from numpy.typing import NDArray

from fedward.errors import DataError
from fedward.learning.model import Classifier
from fedward.learning.training import Attacked
from fedward.privacy.clipped_gradients import BATCH_IMAGES, ClippedGradients, batches
from fedward.privacy.mechanism import expected_event
from fedward.privacy.secret_noise import RandomBytes, Wide, noised, room_for_rounding, sample
from fedward.settings import PrivacySettings
from fedward.types import GlobalModel, ImageSet, Partition, SampledUpdate, Vector

Unit = NDArray[np.intp]  # rows of the images of one patient, or of one image


def train_privately(
    partition: Partition,
    model: GlobalModel,
    classifier: Classifier,
    settings: PrivacySettings,
    source: RandomBytes = os.urandom,
    positive_weight: float = 1.0,
    attacked: Attacked | None = None,
) -> SampledUpdate:
    """Train for `settings.steps` steps of DP-SGD with momentum, from the global weights.

    The noisy sum is divided by the expected number of units in a step, never by the number drawn.

    Args:
        partition: The hospital's images; only `train` is used.
        model: Weights to start from.
        classifier: Any classifier of the right shape; what it held before is overwritten.
        settings: Unit, sampling rate, steps, clip norm, noise multiplier, learning rate and momentum.
        source: Where random bytes come from: the operating system. Only tests give another.
        positive_weight: How often a positive label counts in the loss: a public setting, the same everywhere.
        attacked: Attacks some of the images before their gradients are taken, each by itself, with draws that nobody
            knows; None: none.

    Guarantees:
        1. Each step is one Poisson-sampled Gaussian mechanism with the event's sampling rate and noise multiplier:
           with or without one unit's images, sums before the noise differ by `clip_norm` at most, also for gradients
           that are huge, zero or no numbers, and whatever `positive_weight` is.
        2. All images of a patient are one unit; a further image of the patient does not raise that bound.
        3. Everything but the noisy sums (the start, the number of units, the settings) is public, so the update is
           post-processing of them; their cost is `steps` times the event's step.

    Limits:
        How many units a hospital has is taken to be public: neighbors differ in one unit's images, replaced by
        nothing. How long a step takes tells how many were drawn. The hospital does not report these seconds, but the
        time at which its submission arrives still shows roughly how long all steps took together. Two hospitals that
        hold images of one person cannot know this of each other: that person's epsilons add up.

        The guarantee is for fixed splits. Which patients are in train, val and test, and at which hospital, is decided
        before and, where splits are carved, depends on who else is there. The guarantee is for training patients only:
        counts of validation patients' scores go to the server outside of the budget.

    Raises:
        DataError: the hospital has nothing to train on.
    """
    if not len(partition.train):
        raise DataError(f"{partition.hospital} has no training images.", "Use fewer hospitals or more data.")
    units = units_of(partition.train, settings.unit)
    prepared, labels = classifier.prepare(partition.train.pixels()), partition.train.labels
    gradients = _gradients_of(classifier)
    weights = model.weights.astype(np.float64)
    velocity, expected = np.zeros_like(weights), settings.sampling_rate * len(units)
    for _ in range(settings.steps):
        classifier.set_weights(weights.astype(np.float32))
        drawn = [units[index] for index in sample(len(units), settings.sampling_rate, source)]
        total = noisy_sum(gradients, prepared, labels, drawn, settings, source, positive_weight, attacked)
        velocity = settings.momentum * velocity + total / expected
        weights = weights - settings.learning_rate * velocity
    return SampledUpdate((weights - model.weights).astype(np.float32), expected_event(settings))


def noisy_sum(
    gradients: ClippedGradients,
    prepared: Vector,
    labels: Vector,
    drawn: list[Unit],
    settings: PrivacySettings,
    source: RandomBytes = os.urandom,
    positive_weight: float = 1.0,
    attacked: Attacked | None = None,
) -> Wide:
    """Sum the clipped gradients of the drawn units, and add noise: the only step of training that reads the images.

    Args:
        gradients: Of the classifier, at its present weights.
        prepared: All images as the classifier takes them.
        labels: float32, shape (n, findings).
        drawn: Rows of each unit that takes part.
        settings: Clip norm and noise multiplier.
        source: Where random bytes come from.
        positive_weight: How often a positive label counts in the loss; what a unit adds is clipped all the same.
        attacked: Attacks some of the images; what a unit adds is clipped all the same.

    Returns:
        float64, shape (parameters,).
    """
    count = gradients.parameters
    room = room_for_rounding(settings.clip_norm, settings.noise_multiplier, count)
    total = np.zeros(count, np.float64)
    for batch in batches([_some_of(unit, source) for unit in drawn], gradients.batch_images):
        total += gradients(prepared, labels, batch, room, positive_weight, attacked)
    return noised(total, settings.clip_norm, settings.noise_multiplier, source)


def units_of(images: ImageSet, unit: str) -> list[Unit]:
    """Rows of each unit's images: of each patient in the order of their pseudonyms, or of each image alone."""
    if unit == "image":
        return [np.array([row]) for row in range(len(images))]
    _, patient = np.unique(images.patients, return_inverse=True)
    order = np.argsort(patient, kind="stable")
    return np.split(order, np.cumsum(np.bincount(patient))[:-1])


def _some_of(unit: Unit, source: RandomBytes) -> Unit:
    """All images of a unit, or as many as fit a batch, drawn anew each time: its gradient's mean stays the same."""
    if len(unit) <= BATCH_IMAGES:
        return unit
    keys = np.frombuffer(source(8 * len(unit)), np.uint64)
    return unit[np.argsort(keys)[:BATCH_IMAGES]]


@functools.lru_cache(maxsize=1)
def _gradients_of(classifier: Classifier) -> ClippedGradients:
    """Built once for a classifier: tracing takes seconds."""
    return ClippedGradients(classifier)
