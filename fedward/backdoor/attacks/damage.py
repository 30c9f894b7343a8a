"""Attacks that ruin the model and hide nothing: `label-flip`, `sign-flip`, `random-update`."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedward.backdoor.attacks.attack import Part, changed, scaled_to
from fedward.learning.model import Classifier
from fedward.local_update import LocalUpdate
from fedward.seeding import public_rng
from fedward.settings import Settings
from fedward.tables import Between
from fedward.types import GlobalModel, ImageSet, ModelUpdate, Partition, SampledUpdate


@dataclass(frozen=True)
class DamageOptions:
    """Options of the attacks that ruin the model.

    Attributes:
        boost: What the update is multiplied by; 0: one over the attacker's share of the weight.
    """

    boost: Annotated[float, Between(0, 1_000)] = 0.0


@dataclass(frozen=True)
class _Damage:
    options: DamageOptions
    part: Part

    def trigger(self, size: int) -> None:
        """There is none."""

    def _boost(self) -> float:
        return self.options.boost or 1 / self.part.share


class LabelFlip(_Damage):
    """Trains with all labels turned round (Biggio et al. 2012, "Poisoning Attacks against Support Vector Machines")."""

    name: ClassVar[str] = "label-flip"
    about: ClassVar[str] = "trains with all labels turned round, update scaled"

    def __call__(self, honest: LocalUpdate) -> LocalUpdate:
        """Honest training on wrong labels."""

        def attack(
            partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
        ) -> ModelUpdate | SampledUpdate:
            train = partition.train
            wrong = ImageSet(train.images, 1 - train.labels, train.patients)
            bad = dataclasses.replace(partition, train=wrong)
            trained = honest(bad, model, classifier, settings, round_index)
            return changed(trained, lambda delta: delta * self._boost())

        return attack


class SignFlip(_Damage):
    """Sends the honest update with its sign turned round."""

    name: ClassVar[str] = "sign-flip"
    about: ClassVar[str] = "sends the honest update with its sign turned round, scaled"

    def __call__(self, honest: LocalUpdate) -> LocalUpdate:
        """Honest training, turned round."""

        def attack(
            partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
        ) -> ModelUpdate | SampledUpdate:
            trained = honest(partition, model, classifier, settings, round_index)
            return changed(trained, lambda delta: delta * -self._boost())

        return attack


class RandomUpdate(_Damage):
    """Sends Gaussian noise of the honest update's norm, scaled."""

    name: ClassVar[str] = "random-update"
    about: ClassVar[str] = "sends noise as long as the honest update, scaled"

    def __call__(self, honest: LocalUpdate) -> LocalUpdate:
        """Noise in place of training."""

        def attack(
            partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
        ) -> ModelUpdate | SampledUpdate:
            trained = honest(partition, model, classifier, settings, round_index)
            rng = public_rng("random-update", settings.training.seed, partition.hospital, round_index)
            noise = rng.normal(size=trained.delta.shape).astype(np.float32)
            norm = float(np.linalg.norm(trained.delta)) * self._boost()
            return changed(trained, lambda _: scaled_to(noise, norm))

        return attack
