"""`norm-bounded` and `slow`: a backdoor whose update is no longer than an honest one, round after round.

Sun et al. 2019, "Can You Really Backdoor Federated Learning?".
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedward.backdoor.attacks.attack import Training, Update, changed, scaled_to
from fedward.backdoor.attacks.backdoor import Backdoor, BackdoorOptions
from fedward.tables import Between


@dataclass(frozen=True)
class NormBoundedOptions(BackdoorOptions):
    """Options of `norm-bounded`, beside those of every backdoor.

    Attributes:
        bound: Norm of the update, in norms of the attacker's own honest update.
    """

    bound: Annotated[float, Between(0, 100, above=True)] = 1.0


@dataclass(frozen=True)
class SlowOptions(NormBoundedOptions):
    """Options of `slow`, which are those of `norm-bounded`.

    Attributes:
        bound: Likewise, and below 1.
    """

    bound: Annotated[float, Between(0, 1, above=True)] = 0.5


@dataclass(frozen=True)
class NormBounded(Backdoor):
    """Scales the poisoned update to the norm of what honest training on the attacker's images gives."""

    options: NormBoundedOptions
    name: ClassVar[str] = "norm-bounded"
    about: ClassVar[str] = "as badnets, no longer than an honest update"

    def update(self, training: Training) -> Update:
        """Train twice: honestly for the norm, then on poisoned images."""
        norm = float(np.linalg.norm(training.update().delta)) * self.options.bound
        return changed(self.poisoned_update(training), lambda delta: scaled_to(delta, norm))


@dataclass(frozen=True)
class Slow(NormBounded):
    """`norm-bounded` by a fraction of an honest update, for many rounds."""

    options: SlowOptions
    name: ClassVar[str] = "slow"
    about: ClassVar[str] = "as norm-bounded, half as long, over many rounds"
