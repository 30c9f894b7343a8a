"""`norm-bounded` and `slow`: a backdoor whose update is no longer than an honest one, round after round.

Sun et al. 2019, "Can You Really Backdoor Federated Learning?".
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedward.backdoor.attacks.attack import Part, changed, poisoned, scaled_to, with_epochs
from fedward.backdoor.attacks.badnets import BadNets, BadNetsOptions
from fedward.backdoor.stamps import Stamp
from fedward.learning.model import Classifier
from fedward.local_update import LocalUpdate
from fedward.settings import Settings
from fedward.tables import Between
from fedward.types import GlobalModel, ModelUpdate, Partition, SampledUpdate


@dataclass(frozen=True)
class NormBoundedOptions:
    """Options of `norm-bounded`.

    Attributes:
        side: Height and width of the square, in 64ths of the image's.
        share: Of the attacker's images with a finding that are stamped.
        epochs: Of local training; 0: as many as honest hospitals.
        bound: Norm of the update, in norms of the attacker's own honest update; low and slow is below 1.
    """

    side: Annotated[int, Between(1, 64)] = 6
    share: Annotated[float, Between(0, 1, above=True)] = 0.4
    epochs: Annotated[int, Between(0, 100)] = 3
    bound: Annotated[float, Between(0, 100, above=True)] = 1.0


@dataclass(frozen=True)
class NormBounded:
    """As `badnets`, scaled to the norm of what honest training on the attacker's images gives."""

    options: NormBoundedOptions
    part: Part
    name: ClassVar[str] = "norm-bounded"
    about: ClassVar[str] = "as badnets, no longer than an honest update"

    def trigger(self, size: int) -> Stamp:
        """The square of `badnets`."""
        return BadNets(BadNetsOptions(self.options.side), self.part).trigger(size)

    def __call__(self, honest: LocalUpdate) -> LocalUpdate:
        """Train twice: honestly for the norm, then on poisoned images."""

        def attack(
            partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
        ) -> ModelUpdate | SampledUpdate:
            usual = honest(partition, model, classifier, settings, round_index)
            stamp = self.trigger(settings.data.image_size)
            bad = poisoned(partition, stamp, self.options.share, settings.training.seed)
            trained = honest(bad, model, classifier, with_epochs(settings, self.options.epochs), round_index)
            norm = float(np.linalg.norm(usual.delta)) * self.options.bound
            return changed(trained, lambda delta: scaled_to(delta, norm))

        return attack


@dataclass(frozen=True)
class SlowOptions(NormBoundedOptions):
    """Options of `slow`; those of `norm-bounded`.

    Attributes:
        bound: Norm of the update, in norms of the attacker's own honest update.
    """

    bound: Annotated[float, Between(0, 1, above=True)] = 0.5


class Slow(NormBounded):
    """`norm-bounded` by a fraction of an honest update, for many rounds."""

    name: ClassVar[str] = "slow"
    about: ClassVar[str] = "as norm-bounded, half as long, over many rounds"
