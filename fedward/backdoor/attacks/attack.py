"""What an attack is, and what attacks are made of: other images in training, and another update than it gave."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from fedward.backdoor.stamps import Stamp
from fedward.learning.model import Classifier
from fedward.local_update import LocalUpdate
from fedward.settings import Settings
from fedward.types import GlobalModel, ModelUpdate, Partition, SampledUpdate, Vector

Update: TypeAlias = "ModelUpdate | SampledUpdate"


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


@dataclass(frozen=True)
class Training:
    """What an attacker has in hand in one round: honest training, and all that this takes.

    Attributes:
        honest: Trains as an honest hospital does.
        partition: The attacker's own images.
        model: The model in force.
        classifier: Any classifier of the right shape.
        settings: The consortium's.
        round_index: The round, from 1.
    """

    honest: LocalUpdate
    partition: Partition
    model: GlobalModel
    classifier: Classifier
    settings: Settings
    round_index: int

    def update(self, partition: Partition | None = None, epochs: int = 0) -> Update:
        """What honest training gives: on the attacker's images or others, in the agreed number of epochs or another."""
        settings = self.settings
        if epochs:
            training = dataclasses.replace(settings.training, local_epochs=epochs)
            settings = dataclasses.replace(settings, training=training)
        return self.honest(partition or self.partition, self.model, self.classifier, settings, self.round_index)


@dataclass(frozen=True)
class Attack(ABC):
    """What a malicious hospital does in place of honest training; a `fedward.local_update.Attack`.

    An attacker controls its own images, training and update, and knows the model, the settings and its own share. It
    sees no other hospital's update, image or patch. It also votes for its own candidates.

    Attributes:
        options: A dataclass whose defaults are the attack's.
        part: The attacker's part.
        name: Chooses the attack.
        about: What it is, in one phrase.
    """

    options: Any
    part: Part
    name: ClassVar[str]
    about: ClassVar[str]

    def trigger(self, size: int) -> Stamp | None:  # noqa: ARG002 - of the size of an image
        """What a stamped image shows when the backdoor is used; None where there is no backdoor."""
        return None

    @abstractmethod
    def update(self, training: Training) -> Update:
        """The update that the attacker sends."""

    def __call__(self, honest: LocalUpdate) -> LocalUpdate:
        """The attacker's way to train, in place of the honest one."""

        def attacked(
            partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
        ) -> Update:
            return self.update(Training(honest, partition, model, classifier, settings, round_index))

        return attacked


def changed(update: Update, change: Callable[[Vector], Vector]) -> Update:
    """The update with another delta: float32, of the same shape."""
    return dataclasses.replace(update, delta=np.asarray(change(update.delta), np.float32))


def scaled_to(delta: Vector, norm: float) -> Vector:
    """A vector of the same direction and of this norm; as it is where it is zero."""
    own = float(np.linalg.norm(delta))
    return np.asarray(delta * (norm / own) if own else delta, np.float32)
