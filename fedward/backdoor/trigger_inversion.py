"""The detector `trigger-inversion`: searches for the smallest pattern that turns a class's decisions.

Neural Cleanse (Wang et al. 2019, "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks"): a
model with a backdoor is turned by a much smaller pattern than one without. The paper tells the class with the backdoor
by the median absolute deviation over classes. With two classes that index says nothing: both lie equally far from
their median, so it is 0.6745 whatever the sizes are. So the candidate is compared with a reference of clean models,
which every hospital has: the models that were accepted before.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedward.backdoor.history import Wide
from fedward.backdoor.inspection import ModelsAndImages, ScoringModel
from fedward.backdoor.patch_bank import WINDOW, class_middle, images_to_judge_by
from fedward.backdoor.stamps import Stamp
from fedward.backdoor.validation_loss import WORST
from fedward.plugins import TriggerInversionOptions
from fedward.types import DetectorReport, ImageSet, Vector

TURNED = 0.9  # share of decisions that a pattern has to turn
_STEP = 0.3  # of the search, on the logits of cover and pattern
_REMEMBERED = 10  # accepted models that are compared with
_FACTOR = 1.3  # by which the weight of the size grows and shrinks


@dataclass(frozen=True)
class Reversed:
    """What a search found.

    Attributes:
        stamp: The smallest pattern that turned enough decisions; where none did, the last one tried.
        size: Its cover added up, in pixels; that of the whole image where no pattern turned enough, and no number
            where scores or their gradient are not finite.
    """

    stamp: Stamp
    size: float


@dataclass(frozen=True)
class TriggerInversion:
    """Rejects a candidate that a much smaller pattern turns than it took to turn accepted models."""

    options: TriggerInversionOptions
    name: ClassVar[str] = "trigger-inversion"

    def inspect(self, view: ModelsAndImages) -> DetectorReport:
        """Search on the same images as in every round, and compare sizes with the median of accepted models'."""
        images = images_to_judge_by(view, self.options.images)
        if isinstance(images, str):
            return DetectorReport(self.name, False, 0.0, images)
        sizes = trigger_sizes(view.candidate, images, self.options.steps)
        if not np.isfinite(sizes).all():
            return DetectorReport(self.name, True, WORST, "The candidate's scores are not finite numbers.")
        before = view.history.before(self.name)[-_REMEMBERED:]
        view.history.of_candidate(self.name, sizes)
        if len(before) < WINDOW:
            return DetectorReport(self.name, False, 0.0, f"Only {len(before)} accepted rounds to compare with.")
        shares = sizes / np.median(before, axis=0)
        smallest, place = float(shares.min()), int(shares.argmin())
        score = self.options.ratio / max(smallest, 1e-12)
        direction = ("the finding is missed", "the finding is seen")[place % 2]
        evidence = (
            f"A pattern of {sizes.ravel()[place]:.0f} pixels makes that {direction}, {smallest:.2f} of what it took "
            f"with {len(before)} accepted models (limit {self.options.ratio:.2f})."
        )
        return DetectorReport(self.name, score > 1, score, evidence)


def trigger_sizes(model: ScoringModel, images: ImageSet, steps: int) -> Wide:
    """How large a pattern has to be that turns decisions: float64, shape (findings, 2), in pixels.

    Of each finding first the pattern under which it is missed, then the one under which it is seen; all pixels of the
    image where no image has the finding, or all have it.
    """
    found = np.full((images.labels.shape[1], 2), float(images.images[0].size))
    for finding in np.flatnonzero(images.labels.any(axis=0) & ~images.labels.all(axis=0)):
        for column, present in enumerate((True, False)):
            found[finding, column] = reversed_trigger(model, images, int(finding), present, steps).size
    return found


def reversed_trigger(model: ScoringModel, images: ImageSet, finding: int, present: bool, steps: int) -> Reversed:
    """Search for the smallest pattern that turns the decisions of images with a finding, or without it.

    The cross-entropy to the other label and the size are lowered together with Adam; how much the size weighs grows
    while enough decisions turn, and shrinks while too few do. A decision turns halfway between the means of both
    classes, so that a model that leans to one of them is not turned more easily. Labels of other findings stay.

    Args:
        model: Gives logits and gradients.
        images: Those of the class are used; there is at least one.
        finding: Which one.
        present: Whether images with the finding are turned, or those without.
        steps: How many.
    """
    border = class_middle(model(images.pixels()).astype(np.float64), images.labels)[finding]
    members = (images.labels[:, finding] > 0) == present
    pixels, wanted = images.pixels()[members], images.labels[members].copy()
    wanted[:, finding] = 0.0 if present else 1.0
    shape = pixels.shape[1:3]
    search = _Search(np.stack([np.full(shape, -2.0), np.zeros(shape)]))
    weight, best = 1.0 / pixels[0].size, Reversed(search.stamp(), float(pixels[0].size))
    for _ in range(steps):
        stamp = search.stamp()
        stamped = stamp.on(pixels)
        logits, slope = model(stamped), model.gradient(stamped, wanted)
        if not (np.isfinite(logits).all() and np.isfinite(slope).all()):
            return Reversed(stamp, math.nan)
        beyond = logits[:, finding] < border if present else logits[:, finding] > border
        turned = float(beyond.mean())
        size = float(stamp.cover.sum())
        if turned >= TURNED and size < best.size:
            best = Reversed(stamp, size)
        weight *= _FACTOR if turned >= TURNED else 1 / _FACTOR
        search.step(pixels, slope, weight)
    return best if best.size < pixels[0].size else Reversed(search.stamp(), best.size)


class _Search:
    """Cover and pattern as logits, and Adam's moments over them (Kingma and Ba 2015)."""

    def __init__(self, logits: Wide) -> None:
        self._logits, self._mean, self._square, self._steps = logits, np.zeros_like(logits), np.zeros_like(logits), 0

    def stamp(self) -> Stamp:
        cover, pattern = (1 / (1 + np.exp(-self._logits))).astype(np.float32)
        return Stamp("a reversed trigger", cover, pattern)

    def step(self, pixels: Vector, slope: Vector, weight: float) -> None:
        """One step against the gradient of the mean loss plus `weight` times the size.

        Args:
            pixels: The images as they are: float32, shape (n, height, width, 1).
            slope: Gradient of each image's loss by its pixels, once stamped.
            weight: What the size counts.
        """
        cover, pattern = 1 / (1 + np.exp(-self._logits))
        by_cover = (slope[..., 0] * (pattern - pixels[..., 0])).mean(axis=0) + weight
        by_pattern = slope[..., 0].mean(axis=0) * cover
        gradient = np.stack([by_cover * cover * (1 - cover), by_pattern * pattern * (1 - pattern)])
        self._steps += 1
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._square = 0.99 * self._square + 0.01 * gradient**2
        mean, square = self._mean / (1 - 0.9**self._steps), self._square / (1 - 0.99**self._steps)
        self._logits = self._logits - _STEP * mean / (np.sqrt(square) + 1e-12)
