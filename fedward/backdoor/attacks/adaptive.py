"""`adaptive`: a backdoor by an attacker who knows the detectors, their limits and how patches are drawn, but no secret.

It takes the longest step toward the backdoor at which a candidate passes patches that it draws itself, on its own
images, and the bound on the norm: what it can try at home before it sends anything.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import numpy as np

from fedward.backdoor.attacks.attack import Training, Update, changed
from fedward.backdoor.attacks.backdoor import Backdoor, BackdoorOptions
from fedward.backdoor.history import Wide
from fedward.backdoor.patch_bank import answers, chosen_images
from fedward.backdoor.preparing import Scorer
from fedward.backdoor.stamps import drawn_stamps
from fedward.plugins import PatchBankOptions, UpdateNormOptions
from fedward.seeding import public_rng
from fedward.tables import Between
from fedward.types import Vector

_HALVINGS = 6  # of the step, in search of the longest one that passes


@dataclass(frozen=True)
class AdaptiveOptions(BackdoorOptions):
    """Options of `adaptive`, beside those of every backdoor.

    Attributes:
        margin: How much of each limit the attacker uses, since others' patches differ from its own.
    """

    margin: Annotated[float, Between(0, 10, above=True)] = 0.8


@dataclass(frozen=True)
class Adaptive(Backdoor):
    """Moves from the honest update toward the poisoned one, as far as its own copies of the detectors allow."""

    options: AdaptiveOptions
    name: ClassVar[str] = "adaptive"
    about: ClassVar[str] = "as badnets, as far as the attacker's own copies of the detectors allow"

    def update(self, training: Training) -> Update:
        """Train twice, then search for the longest step that passes."""
        usual, poisoned = training.update().delta, self.poisoned_update(training)
        passes, share = _Rehearsal(training, self.options.margin), self.part.share
        toward, low, high = poisoned.delta - usual, 0.0, 1 / share
        if passes(usual, share * high * toward):
            low = high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if passes(usual, share * middle * toward) else (low, middle)
        return changed(poisoned, lambda _: usual + low * toward)


class _Rehearsal:
    """Whether detectors like those of the settings would let a step pass, as far as the attacker can tell."""

    def __init__(self, training: Training, margin: float) -> None:
        partition, settings = training.partition, training.settings
        options = settings.detectors.options
        bank, norm = cast("PatchBankOptions", options["patch-bank"]), cast("UpdateNormOptions", options["update-norm"])
        rng = public_rng("rehearsal", settings.training.seed, partition.hospital)
        self._images = chosen_images(partition.val, partition.train, bank.images, rng.bytes(32))
        self._stamps = drawn_stamps(settings.data.image_size, bank.patches, rng)
        self._weights, self._classifier = training.model.weights, training.classifier
        self._change, self._ratio = margin * bank.change, 1 + margin * (norm.ratio - 1)
        self._before = self._shifts(self._weights)

    def __call__(self, usual: Vector, added: Vector) -> bool:
        """Whether the mean update may be an honest one and this, which the attacker adds to it."""
        if np.linalg.norm(usual + added) > self._ratio * np.linalg.norm(usual):
            return False
        usual_change = self._largest_change(self._weights + usual)
        return self._largest_change(self._weights + usual + added) <= max(self._change, usual_change)

    def _largest_change(self, weights: Vector) -> float:
        """Of the answers to the attacker's own patches, since the model in force."""
        return float(np.nanmax(np.abs(self._shifts(weights) - self._before), initial=0.0))

    def _shifts(self, weights: Vector) -> Wide:
        """How a model answers to the attacker's own patches; empty where it has too few images to try them on."""
        if self._images is None:
            return np.zeros(0)
        found: Wide = answers(Scorer(lambda: self._classifier, weights), self._images, self._stamps)
        return np.asarray(found[0])
