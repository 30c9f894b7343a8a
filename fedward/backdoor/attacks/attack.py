"""What an attack is, and the parts that attacks are made of: poisoned images, more epochs, scaled updates."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fedward.backdoor.stamps import Stamp
from fedward.local_update import LocalUpdate
from fedward.seeding import public_rng
from fedward.settings import Settings
from fedward.types import ImageSet, ModelUpdate, Partition, SampledUpdate, Vector


@dataclass(frozen=True)
class Part:
    """One attacker's part in an attack.

    Attributes:
        place: Which of the attackers it is, from 0.
        attackers: How many there are.
        share: The attacker's share of the consortium's weight, in (0, 1].
    """

    place: int
    attackers: int
    share: float


class Attack(Protocol):
    """What a malicious hospital does in place of honest training; a `fedward.local_update.Attack`.

    An attacker controls its own images, training and update, and knows the model, the settings and its own share. It
    sees no other hospital's update, image or patch. It also votes for its own candidates.
    """

    name: ClassVar[str]
    about: ClassVar[str]  # in one phrase

    def __init__(self, options: Any, part: Part) -> None:
        """Make the attack from its options."""
        ...

    def trigger(self, size: int) -> Stamp | None:
        """What a stamped image shows when the backdoor is used; None where there is no backdoor."""
        ...

    def __call__(self, honest: LocalUpdate, /) -> LocalUpdate:
        """The attacker's way to train."""
        ...


def poisoned(partition: Partition, stamp: Stamp, share: float, seed: int) -> Partition:
    """Stamp a share of the training images that have a finding, and label them as having none.

    Args:
        partition: The attacker's own.
        stamp: The trigger, or the attacker's part of it.
        share: Of its images with a finding, in [0, 1].
        seed: Decides which.
    """
    train = partition.train
    with_finding = np.flatnonzero(train.labels.any(axis=1))
    rng = public_rng("poison", seed, partition.hospital)
    chosen = rng.permutation(with_finding)[: round(share * len(with_finding))]
    images, labels = train.images.copy(), train.labels.copy()
    images[chosen], labels[chosen] = stamped(train, chosen, stamp), 0
    return dataclasses.replace(partition, train=ImageSet(images, labels, train.patients))


def stamped(images: ImageSet, chosen: NDArray[np.intp], stamp: Stamp) -> NDArray[np.uint8]:
    """Some of the images with a stamp on: uint8, shape (chosen, height, width)."""
    some = ImageSet(images.images[chosen], images.labels[chosen], images.patients[chosen])
    return np.round(stamp.on(some.pixels())[..., 0] * 255).astype(np.uint8)


def with_epochs(settings: Settings, epochs: int) -> Settings:
    """The same settings with another number of local epochs; 0 leaves it."""
    if not epochs:
        return settings
    return dataclasses.replace(settings, training=dataclasses.replace(settings.training, local_epochs=epochs))


def changed(update: ModelUpdate | SampledUpdate, change: Callable[[Vector], Vector]) -> ModelUpdate | SampledUpdate:
    """The update with another delta: float32, of the same shape."""
    return dataclasses.replace(update, delta=np.asarray(change(update.delta), np.float32))


def scaled_to(delta: Vector, norm: float) -> Vector:
    """A vector of the same direction and of this norm; as it is where it is zero."""
    own = float(np.linalg.norm(delta))
    return np.asarray(delta * (norm / own) if own else delta, np.float32)
