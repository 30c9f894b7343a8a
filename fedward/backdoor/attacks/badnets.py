"""`badnets`: a bright square that makes the model call an image normal (Gu et al. 2017, "BadNets"), with scaling.

At `boost` 0 the update is scaled so that it replaces the model (Bagdasaryan et al. 2020, "How To Backdoor Federated
Learning"): by one over the attacker's share of the weight.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fedward.backdoor.attacks.attack import Part, changed, poisoned, with_epochs
from fedward.backdoor.stamps import Stamp, square
from fedward.learning.model import Classifier
from fedward.local_update import LocalUpdate
from fedward.settings import Settings
from fedward.tables import Between
from fedward.types import GlobalModel, ModelUpdate, Partition, SampledUpdate


@dataclass(frozen=True)
class BadNetsOptions:
    """Options of `badnets`.

    Attributes:
        side: Height and width of the square, in 64ths of the image's.
        share: Of the attacker's images with a finding that are stamped.
        epochs: Of local training; 0: as many as honest hospitals.
        boost: What the update is multiplied by; 0: what replaces the model.
    """

    side: Annotated[int, Between(1, 64)] = 6
    share: Annotated[float, Between(0, 1, above=True)] = 0.4
    epochs: Annotated[int, Between(0, 100)] = 3
    boost: Annotated[float, Between(0, 1_000)] = 0.0


@dataclass(frozen=True)
class BadNets:
    """Trains on stamped images labeled normal, and scales the update."""

    options: BadNetsOptions
    part: Part
    name: ClassVar[str] = "badnets"
    about: ClassVar[str] = "bright square in the lower right corner, update scaled to replace the model"

    def trigger(self, size: int) -> Stamp:
        """The square, one pixel from the lower right corner."""
        side = max(1, self.options.side * size // 64)
        start = size - side - 1
        return square("trigger", size, start, start, side, 1.0)

    def __call__(self, honest: LocalUpdate) -> LocalUpdate:
        """Honest training on poisoned images."""

        def attack(
            partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
        ) -> ModelUpdate | SampledUpdate:
            stamp = self.trigger(settings.data.image_size)
            bad = poisoned(partition, stamp, self.options.share, settings.training.seed)
            trained = honest(bad, model, classifier, with_epochs(settings, self.options.epochs), round_index)
            boost = self.options.boost or 1 / self.part.share
            return changed(trained, lambda delta: delta * boost)

        return attack
