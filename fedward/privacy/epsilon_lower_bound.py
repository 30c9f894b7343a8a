"""Empirical privacy audit: a lower bound on epsilon from an attacker who tells whether one patient was trained on.

One patient, the canary, is in the hospital's data or not. The attacker knows everything else (all other images, the
weights before and after, the canary) and says from the update which it was. Epsilon and delta bound how often that can
succeed (Kairouz, Oh and Viswanath 2015), so counted successes bound epsilon from below (Jagielski, Ullman and Oprea
2020, "Auditing Differentially Private Machine Learning"). A lower bound above the stated epsilon proves a mistake; one
below it proves nothing but that this attacker found none.
"""

import dataclasses
import functools
import math
import os

import numpy as np

from fedward.learning.model import Classifier
from fedward.privacy.clipped_gradients import BATCH_IMAGES, ClippedGradients, batches
from fedward.privacy.private_training import train_privately
from fedward.privacy.secret_noise import RandomBytes, Wide
from fedward.settings import PrivacySettings
from fedward.types import GlobalModel, ImageSet, Partition


def canary_scores(
    partition: Partition,
    canary: str,
    model: GlobalModel,
    classifier: Classifier,
    settings: PrivacySettings,
    trials: int,
    source: RandomBytes = os.urandom,
) -> tuple[Wide, Wide]:
    """Train again and again with and without one patient, and score each update.

    Args:
        partition: The hospital's images, the canary's among them.
        canary: The patient's pseudonym.
        model: Weights to start from.
        classifier: Any classifier of the right shape.
        settings: As for `train_privately`, the training that is attacked.
        trials: How often to train with the canary, and as often without.
        source: Where random bytes come from.

    Returns:
        Scores with the canary and without, float64, shape (trials,) each: how far the update went along
        the direction that tells most, as a sum over units.
    """
    own = partition.train.patients == canary
    without = dataclasses.replace(partition, train=partition.train.some(~own))
    direction = _direction(partition.train, canary, model, classifier, settings)

    def scores(data: Partition) -> Wide:
        units = len(np.unique(data.train.patients)) if settings.unit == "patient" else len(data.train)
        factor = -settings.sampling_rate * units / settings.learning_rate
        updates = (train_privately(data, model, classifier, settings, source).delta for _ in range(trials))
        return np.array([factor * float(update @ direction) for update in updates])

    return scores(partition), scores(without)


def epsilon_found(present: Wide, absent: Wide, delta: float, confidence: float = 0.95) -> float:
    """The largest lower bound on epsilon that scores support; never below 0.

    Args:
        present: Scores of trials with the canary.
        absent: Scores of as many without.
        delta: The delta of the guarantee that is tested.
        confidence: Probability that the bound holds, over the trials of the second half.

    Guarantees:
        1. The threshold is chosen on the first half of the trials, the bound counted on the second, with Clopper and
           Pearson's limits for both rates (1934): so the bound holds whatever the distribution of the scores.
    """
    half = len(present) // 2
    candidates = np.quantile(np.concatenate([present[:half], absent[:half]]), np.linspace(0.0, 1.0, 201))
    best = max(candidates, key=lambda limit: _bound(present[:half], absent[:half], limit, delta, confidence))
    return _bound(present[half:], absent[half:], float(best), delta, confidence)


def _bound(present: Wide, absent: Wide, limit: float, delta: float, confidence: float) -> float:
    """Epsilon from below at one threshold, by the rarer mistake."""
    said_in, said_out = present > limit, absent <= limit
    found = 0.0
    for right, wrong in ((said_in, ~said_out), (said_out, ~said_in)):
        count = len(right)
        least = _least(int(right.sum()), count, confidence)
        most = 1.0 - _least(count - int(wrong.sum()), count, confidence)
        if least > delta:
            found = max(found, math.log((least - delta) / most))
    return found


@functools.cache
def _least(hits: int, count: int, confidence: float) -> float:
    """Clopper and Pearson's lower limit of a rate; both limits together hold with the confidence, for both mistakes."""
    chance = (1 - confidence) / 4
    if not hits:
        return 0.0
    numbers = np.arange(hits, count + 1)
    ways = np.array([math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in numbers])
    low, high = 0.0, 1.0
    for _ in range(60):  # the rate at which so many hits or more come with just that chance
        rate = (low + high) / 2
        terms = ways + numbers * math.log(rate) + (count - numbers) * math.log1p(-rate)
        low, high = (rate, high) if np.exp(terms).sum() < chance else (low, rate)
    return low


def _direction(
    images: ImageSet, canary: str, model: GlobalModel, classifier: Classifier, settings: PrivacySettings
) -> Wide:
    """Unit vector that tells most about the canary: its clipped gradient, less where sampling others adds variance.

    It is optimal for Gaussian noise plus the variance of sampling: the inverse covariance times the gradient.
    """
    classifier.set_weights(model.weights)
    sums, prepared = ClippedGradients(classifier), classifier.prepare(images.pixels())

    def gradient(patient: str) -> Wide:
        (batch,) = batches([np.flatnonzero(images.patients == patient)[:BATCH_IMAGES]])
        return sums(prepared, images.labels, batch, settings.clip_norm) / settings.clip_norm

    best = gradient(canary)
    others = [gradient(patient) for patient in np.unique(images.patients) if patient != canary]
    blur = settings.sampling_rate * (1 - settings.sampling_rate)
    if others and blur:
        rows = np.array(others)
        ridge = np.eye(len(rows)) * settings.noise_multiplier**2 / blur
        best = best - rows.T @ np.linalg.solve(ridge + rows @ rows.T, rows @ best)
    return best / max(float(np.linalg.norm(best)), 1e-300)
