"""`adaptive`: a backdoor by an attacker who knows the detectors, their limits and how patches are drawn, but no secret.

It takes the longest step toward the backdoor at which a candidate passes patches that it draws itself, on its own
images, and the bound on the norm: what it can try at home before it sends anything.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import numpy as np

from fedward.backdoor.attacks.attack import Part, changed, poisoned, with_epochs
from fedward.backdoor.attacks.badnets import BadNets, BadNetsOptions
from fedward.backdoor.history import Wide
from fedward.backdoor.patch_bank import answers, chosen_images
from fedward.backdoor.preparing import Scorer
from fedward.backdoor.stamps import Stamp, drawn_stamps
from fedward.learning.model import Classifier
from fedward.local_update import LocalUpdate
from fedward.plugins import PatchBankOptions, UpdateNormOptions
from fedward.seeding import public_rng
from fedward.settings import Settings
from fedward.tables import Between
from fedward.types import GlobalModel, ModelUpdate, Partition, SampledUpdate, Vector

_HALVINGS = 6  # of the step, in search of the longest one that passes


@dataclass(frozen=True)
class AdaptiveOptions:
    """Options of `adaptive`.

    Attributes:
        side: Height and width of the square, in 64ths of the image's.
        share: Of the attacker's images with a finding that are stamped.
        epochs: Of local training; 0: as many as honest hospitals.
        margin: How much of each limit the attacker uses, since others' patches differ from its own.
    """

    side: Annotated[int, Between(1, 64)] = 6
    share: Annotated[float, Between(0, 1, above=True)] = 0.4
    epochs: Annotated[int, Between(0, 100)] = 3
    margin: Annotated[float, Between(0, 10, above=True)] = 0.8


@dataclass(frozen=True)
class Adaptive:
    """Moves from the honest update toward the poisoned one, as far as its own copies of the detectors allow."""

    options: AdaptiveOptions
    part: Part
    name: ClassVar[str] = "adaptive"
    about: ClassVar[str] = "as badnets, as far as the attacker's own copies of the detectors allow"

    def trigger(self, size: int) -> Stamp:
        """The square of `badnets`."""
        return BadNets(BadNetsOptions(self.options.side), self.part).trigger(size)

    def __call__(self, honest: LocalUpdate) -> LocalUpdate:
        """Train twice, then search for the longest step that passes."""

        def attack(
            partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
        ) -> ModelUpdate | SampledUpdate:
            usual = honest(partition, model, classifier, settings, round_index).delta
            stamp = self.trigger(settings.data.image_size)
            bad = poisoned(partition, stamp, self.options.share, settings.training.seed)
            trained = honest(bad, model, classifier, with_epochs(settings, self.options.epochs), round_index)
            passes = _Rehearsal(partition, model, classifier, settings, self.options.margin)
            toward = trained.delta - usual
            share, low, high = self.part.share, 0.0, 1 / self.part.share
            if passes(usual, share * high * toward):
                low = high
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                low, high = (middle, high) if passes(usual, share * middle * toward) else (low, middle)
            return changed(trained, lambda _: usual + low * toward)

        return attack


class _Rehearsal:
    """Whether detectors like those of the settings would let a step pass, as far as the attacker can tell."""

    def __init__(
        self, partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, margin: float
    ) -> None:
        options = settings.detectors.options
        bank, norm = cast("PatchBankOptions", options["patch-bank"]), cast("UpdateNormOptions", options["update-norm"])
        rng = public_rng("rehearsal", settings.training.seed, partition.hospital)
        self._images = chosen_images(partition.val, partition.train, bank.images, rng.bytes(32))
        self._stamps = drawn_stamps(settings.data.image_size, bank.patches, rng)
        self._weights, self._classifier = model.weights, classifier
        self._change, self._ratio = margin * bank.change, 1 + margin * (norm.ratio - 1)
        self._before = self._shifts(model.weights)

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
