"""Attacks that ruin the model and hide nothing: `label-flip`, `sign-flip`, `random-update`."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedward.backdoor.attacks.attack import Attack, Training, Update, changed, scaled_to
from fedward.seeding import public_rng
from fedward.tables import Between


@dataclass(frozen=True)
class DamageOptions:
    """Options of the attacks that ruin the model.

    Attributes:
        boost: What the update is multiplied by; 0: one over the attacker's share of the weight.
    """

    boost: Annotated[float, Between(0, 1_000)] = 0.0


@dataclass(frozen=True)
class _Damage(Attack):
    options: DamageOptions

    def _boost(self) -> float:
        return self.options.boost or 1 / self.part.share


class LabelFlip(_Damage):
    """Trains with all labels turned round (Biggio et al. 2012, "Poisoning Attacks against Support Vector Machines")."""

    name: ClassVar[str] = "label-flip"
    about: ClassVar[str] = "trains with all labels turned round, update scaled"

    def update(self, training: Training) -> Update:
        """What honest training gives on wrong labels, scaled."""
        own = training.partition
        wrong = dataclasses.replace(own.train, labels=1 - own.train.labels)
        trained = training.update(dataclasses.replace(own, train=wrong))
        return changed(trained, lambda delta: delta * self._boost())


class SignFlip(_Damage):
    """Sends the honest update with its sign turned round."""

    name: ClassVar[str] = "sign-flip"
    about: ClassVar[str] = "sends the honest update with its sign turned round, scaled"

    def update(self, training: Training) -> Update:
        """The honest update, turned round and scaled."""
        return changed(training.update(), lambda delta: delta * -self._boost())


class RandomUpdate(_Damage):
    """Sends Gaussian noise of the honest update's norm, scaled."""

    name: ClassVar[str] = "random-update"
    about: ClassVar[str] = "sends noise as long as the honest update, scaled"

    def update(self, training: Training) -> Update:
        """Noise in place of the honest update."""
        honest = training.update()
        seed = training.settings.training.seed
        rng = public_rng("random-update", seed, training.partition.hospital, training.round_index)
        noise = rng.normal(size=honest.delta.shape).astype(np.float32)
        norm = float(np.linalg.norm(honest.delta)) * self._boost()
        return changed(honest, lambda _: scaled_to(noise, norm))
