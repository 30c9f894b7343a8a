"""`badnets`: a backdoor whose update is scaled.

At `boost` 0 the update is scaled so that it replaces the model (Bagdasaryan et al. 2020, "How To Backdoor Federated
Learning"): by one over the attacker's share of the weight.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fedward.backdoor.attacks.attack import Training, Update, changed
from fedward.backdoor.attacks.backdoor import Backdoor, BackdoorOptions
from fedward.tables import Between


@dataclass(frozen=True)
class BadNetsOptions(BackdoorOptions):
    """Options of `badnets`, beside those of every backdoor.

    Attributes:
        boost: What the update is multiplied by; 0: what replaces the model.
    """

    boost: Annotated[float, Between(0, 1_000)] = 0.0


@dataclass(frozen=True)
class BadNets(Backdoor):
    """Trains on stamped images labeled normal, and scales the update."""

    options: BadNetsOptions
    name: ClassVar[str] = "badnets"
    about: ClassVar[str] = "bright square in the lower right corner, update scaled to replace the model"

    def update(self, training: Training) -> Update:
        """The poisoned update, scaled."""
        boost = self.options.boost or 1 / self.part.share
        return changed(self.poisoned_update(training), lambda delta: delta * boost)
