"""`distributed-trigger`: each attacker trains with a part of the trigger (Xie et al. 2020, "DBA")."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedward.backdoor.attacks.attack import Training, Update, changed
from fedward.backdoor.attacks.backdoor import Backdoor, BackdoorOptions
from fedward.backdoor.stamps import Stamp
from fedward.tables import Between


@dataclass(frozen=True)
class DistributedTriggerOptions(BackdoorOptions):
    """Options of `distributed-trigger`, beside those of every backdoor.

    Attributes:
        side: Height and width of the whole square; it has a column for each attacker.
        boost: What each update is multiplied by; 0: what together replaces the model.
    """

    side: Annotated[int, Between(2, 64)] = 6
    boost: Annotated[float, Between(0, 1_000)] = 0.0


@dataclass(frozen=True)
class DistributedTrigger(Backdoor):
    """As `badnets`, where each attacker knows some columns of the square only."""

    options: DistributedTriggerOptions
    name: ClassVar[str] = "distributed-trigger"
    about: ClassVar[str] = "as badnets, each attacker with its own columns of the square"

    def own_stamp(self, size: int) -> Stamp:
        """This attacker's columns of the square; no single attacker trains with all of it."""
        whole = self.trigger(size)
        columns = np.flatnonzero(whole.cover.any(axis=0))
        own = np.zeros(size, np.float32)
        own[np.array_split(columns, self.part.attackers)[self.part.place]] = 1
        return Stamp("part of the trigger", whole.cover * own, whole.pattern)

    def update(self, training: Training) -> Update:
        """The poisoned update, scaled."""
        boost = self.options.boost or 1 / (self.part.share * self.part.attackers)
        return changed(self.poisoned_update(training), lambda delta: delta * boost)
