"""`distributed-trigger`: each attacker trains with a part of the trigger (Xie et al. 2020, "DBA")."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedward.backdoor.attacks.attack import Part, changed, poisoned, with_epochs
from fedward.backdoor.attacks.badnets import BadNets, BadNetsOptions
from fedward.backdoor.stamps import Stamp
from fedward.learning.model import Classifier
from fedward.local_update import LocalUpdate
from fedward.settings import Settings
from fedward.tables import Between
from fedward.types import GlobalModel, ModelUpdate, Partition, SampledUpdate


@dataclass(frozen=True)
class DistributedTriggerOptions:
    """Options of `distributed-trigger`.

    Attributes:
        side: Height and width of the whole trigger, in 64ths of the image's.
        share: Of each attacker's images with a finding that are stamped.
        epochs: Of local training; 0: as many as honest hospitals.
        boost: What each update is multiplied by; 0: what together replaces the model.
    """

    side: Annotated[int, Between(2, 64)] = 6
    share: Annotated[float, Between(0, 1, above=True)] = 0.4
    epochs: Annotated[int, Between(0, 100)] = 3
    boost: Annotated[float, Between(0, 1_000)] = 0.0


@dataclass(frozen=True)
class DistributedTrigger:
    """As `badnets`, where attacker number i of n knows every n-th column of the square only."""

    options: DistributedTriggerOptions
    part: Part
    name: ClassVar[str] = "distributed-trigger"
    about: ClassVar[str] = "as badnets, each attacker with its own columns of the square"

    def trigger(self, size: int) -> Stamp:
        """The whole square, which no single attacker trains with."""
        return BadNets(BadNetsOptions(self.options.side), self.part).trigger(size)

    def own_part(self, size: int) -> Stamp:
        """This attacker's columns of the square."""
        whole = self.trigger(size)
        columns = np.flatnonzero(whole.cover.any(axis=0))
        own = np.zeros(size, np.float32)
        own[np.array_split(columns, self.part.attackers)[self.part.place]] = 1
        return Stamp("part of the trigger", whole.cover * own, whole.pattern)

    def __call__(self, honest: LocalUpdate) -> LocalUpdate:
        """Honest training on images with this attacker's part of the trigger."""

        def attack(
            partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
        ) -> ModelUpdate | SampledUpdate:
            own = self.own_part(settings.data.image_size)
            bad = poisoned(partition, own, self.options.share, settings.training.seed)
            trained = honest(bad, model, classifier, with_epochs(settings, self.options.epochs), round_index)
            boost = self.options.boost or 1 / (self.part.share * self.part.attackers)
            return changed(trained, lambda delta: delta * boost)

        return attack
