"""Stage 2, train: a hospital's local training for one round, in plain epochs or by DP-SGD, as the settings ask.

All local training goes through here: a hospital's in a round, the same hospital's alone, and that of benchmarks.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np

from fedward.adversarial.training import attacked_images
from fedward.learning.model import Classifier
from fedward.learning.training import train
from fedward.privacy.private_training import train_privately
from fedward.seeding import public_rng
from fedward.settings import Settings
from fedward.types import GlobalModel, ModelUpdate, Partition, SampledUpdate


class LocalUpdate(Protocol):
    """A way to train for one round: called as `local_update`, whose arguments and result it has."""

    def __call__(
        self, partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
    ) -> ModelUpdate | SampledUpdate:
        """What training changed."""
        ...


class Attack(Protocol):
    """What a malicious hospital does in place of honest training: it wraps a `LocalUpdate` into another.

    An attack acts before or after honest training: it changes the images, the labels or the model that honest training
    is given, or the update that honest training returns (`dataclasses.replace(update, delta=...)`). The resulting
    update passes through `privatize` and `encrypt` as an honest one does.
    """

    def __call__(self, honest: LocalUpdate) -> LocalUpdate:
        """The attacker's way to train."""
        ...


def local_update(
    partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
) -> ModelUpdate | SampledUpdate:
    """Train for one round as `privacy.mode` asks: plain local epochs, or DP-SGD where the mode is `sample`.

    Args:
        partition: The hospital's images; only `train` is used.
        model: The model in force, from which training starts.
        classifier: Any classifier of the right shape; what it held before is overwritten.
        settings: The consortium's.
        round_index: The round, from 1; it decides the order of the images where training is not private.

    Returns:
        What training changed. It has not passed the privacy stage.

    Raises:
        DataError: the hospital has nothing to train on.
    """
    return LOCAL_UPDATES[settings.privacy.mode](partition, model, classifier, settings, round_index)


def _in_epochs(
    partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
) -> ModelUpdate:
    """Plain local epochs, with or without noise added to their result afterwards; on attacked images too, if set."""
    draw = public_rng("adversarial training", settings.training.seed, partition.hospital, round_index)
    attacked = attacked_images(classifier, settings.training, draw)
    return train(partition, model, classifier, settings.training, round_index, attacked)


def _in_noisy_steps(
    partition: Partition,
    model: GlobalModel,
    classifier: Classifier,
    settings: Settings,
    round_index: int,  # noqa: ARG001 - whom a step draws comes from the operating system, whatever the round
) -> SampledUpdate:
    """DP-SGD: no single patient or image shows in the result."""
    training = settings.training
    attacked = attacked_images(classifier, training, np.random.default_rng())  # drawn from the operating system, as all
    return train_privately(
        partition, model, classifier, settings.privacy, positive_weight=training.positive_weight, attacked=attacked
    )


# How each privacy mode trains.
LOCAL_UPDATES: Mapping[str, LocalUpdate] = MappingProxyType(
    {"none": _in_epochs, "update": _in_epochs, "sample": _in_noisy_steps}
)
