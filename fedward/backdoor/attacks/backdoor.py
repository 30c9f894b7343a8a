"""What all backdoors share: a bright square as the trigger, and training on own images that have it.

Gu et al. 2017, "BadNets".
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from fedward.backdoor.attacks.attack import Attack, Training, Update
from fedward.backdoor.stamps import Stamp, square
from fedward.seeding import public_rng
from fedward.tables import Between
from fedward.types import ImageSet, Partition


@dataclass(frozen=True)
class BackdoorOptions:
    """Options of every backdoor.

    Attributes:
        side: Height and width of the square, in 64ths of the image's.
        share: Of the attacker's images with a finding that are stamped.
        epochs: Of local training; 0: as many as honest hospitals.
    """

    side: Annotated[int, Between(1, 64)] = 6
    share: Annotated[float, Between(0, 1, above=True)] = 0.4
    epochs: Annotated[int, Between(0, 100)] = 3


@dataclass(frozen=True)
class Backdoor(Attack):
    """Makes the model call an image with the trigger normal."""

    options: BackdoorOptions

    def trigger(self, size: int) -> Stamp:
        """The square, one pixel from the lower right corner."""
        side = max(1, self.options.side * size // 64)
        start = size - side - 1
        return square("trigger", size, start, start, side, 1.0)

    def own_stamp(self, size: int) -> Stamp:
        """What this attacker lays on its own images: the trigger, or its part of it."""
        return self.trigger(size)

    def poisoned_update(self, training: Training) -> Update:
        """What honest training gives on poisoned images."""
        stamp = self.own_stamp(training.settings.data.image_size)
        bad = poisoned(training.partition, stamp, self.options.share, training.settings.training.seed)
        return training.update(bad, self.options.epochs)


def poisoned(partition: Partition, stamp: Stamp, share: float, seed: int) -> Partition:
    """Stamp a share of the training images that have a finding, and label them as having none.

    Args:
        partition: The attacker's own.
        stamp: What is laid on them.
        share: Of its images with a finding, in [0, 1].
        seed: Decides which.
    """
    train = partition.train
    with_finding = np.flatnonzero(train.labels.any(axis=1))
    rng = public_rng("poison", seed, partition.hospital)
    chosen = rng.permutation(with_finding)[: round(share * len(with_finding))]
    images, labels = train.images.copy(), train.labels.copy()
    images[chosen] = np.round(stamp.on(train.some(chosen).pixels())[..., 0] * 255)
    labels[chosen] = 0
    return dataclasses.replace(partition, train=ImageSet(images, labels, train.patients))
