"""What a hospital would have without the federation: the same training, on its own images only."""

from collections.abc import Callable

import numpy as np

from fedward.learning.model import Classifier
from fedward.learning.training import train
from fedward.privacy.mechanism import privatize
from fedward.privacy.private_training import train_privately
from fedward.settings import Settings
from fedward.types import GlobalModel, HospitalId, ImageSet, Partition, Vector


def train_alone(
    partition: Partition, initial: Vector, classifier: Classifier, settings: Settings, each_round: Callable[[], None]
) -> Vector:
    """As many rounds of the same local work as in the federation, with nobody to average with.

    What belongs to averaging is left out: encryption's range and rounding, votes, and the step that hospitals apply to
    an aggregate (`training.server-optimizer`). A proximal term pulls toward the weights that each round began with.

    Args:
        partition: The images; only `train` is used.
        initial: Weights to start from: the federation's own.
        classifier: Any classifier of the right shape; what it held before is overwritten.
        settings: The federation's.
        each_round: Called after each round.

    Returns:
        The weights after the last round.

    Guarantees:
        1. Every round passes the same privacy stage as in the federation, so that as many rounds cost the same
           epsilon.
        2. Without privacy, the same images and settings give the same weights on the same machine; with it the noise
           comes from the system, here as there.

    Raises:
        DataError: there is nothing to train on, or training diverged.
    """
    weights = initial
    for round_index in range(1, settings.training.rounds + 1):
        model = GlobalModel(weights, b"")
        if settings.privacy.mode == "sample":
            sampled = train_privately(
                partition, model, classifier, settings.privacy, positive_weight=settings.training.positive_weight
            )
            update = privatize(sampled, settings.privacy)
        else:
            update = privatize(train(partition, model, classifier, settings.training, round_index), settings.privacy)
        weights = weights + update.delta
        each_round()
    return weights


def pooled(partitions: list[Partition], name: str) -> Partition:
    """All hospitals' images as if one had them, split by split."""
    splits = [join([getattr(partition, split) for partition in partitions]) for split in ("train", "val", "test")]
    return Partition(HospitalId(name), partitions[0].findings, *splits)


def join(parts: list[ImageSet]) -> ImageSet:
    """Several sets of images, one behind the other."""
    return ImageSet(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.patients for part in parts]),
    )
