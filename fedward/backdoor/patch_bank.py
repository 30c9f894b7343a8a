"""The detector `patch-bank`: stamps a hospital's own images with many small patches, and looks how scores answer.

A model with a backdoor answers to more patches than its trigger: whatever resembles it moves scores. So the answers to
patches that each hospital draws secretly are compared with those of the model in force, and with those of the model
ten rounds ago. Three rules, each on the largest answer of all patches:

- **change**: an answer changed by more than is usual from round to round;
- **drift**: it is far from what it was ten rounds ago, in whatever small steps, and this candidate takes it further.
  While a model learns fast, as with momentum at the server, answers to many patches go far; a trigger moves those to
  the few that resemble it. So an answer may also go `spread` times as far as all but a fifth of them have gone;
- **flips**: a patch turns more decisions than it did before.

An answer is the mean shift of the logits by the patch, over the root mean square of the logits without it.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedward.backdoor.history import Wide
from fedward.backdoor.inspection import ModelsAndImages, ScoringModel
from fedward.backdoor.stamps import Stamp, drawn_stamps
from fedward.backdoor.validation_loss import WORST
from fedward.plugins import PatchBankOptions
from fedward.types import DetectorReport, ImageSet, Vector

WINDOW = 5  # accepted rounds whose changes say what is usual
LOOK_BACK = 10  # rounds over which drift is measured, as soon as there are as many after the first `WINDOW`
FEWEST = 6  # images of a class; with fewer there is no judgment
FEW = 0.2  # of the patches: no more than these are taken to resemble a trigger
_TOGETHER = 256  # stamped images that are scored at a time


@dataclass(frozen=True)
class PatchBank:
    """Rejects a candidate whose scores answer to patches otherwise than those of the models before it."""

    options: PatchBankOptions
    name: ClassVar[str] = "patch-bank"

    def inspect(self, view: ModelsAndImages) -> DetectorReport:
        """Stamp the same images with the same patches as in every round, and compare the answers.

        In a study of so few rounds that nothing could ever be compared, nothing is stamped.
        """
        images = images_to_judge_by(view, self.options.images)
        if isinstance(images, str):
            return DetectorReport(self.name, False, 0.0, images)
        rng = np.random.default_rng([1, *view.history.secret])
        stamps = drawn_stamps(images.images.shape[1], self.options.patches, rng)
        candidate = answers(view.candidate, images, stamps)
        if not np.isfinite(candidate[0]).all():
            return DetectorReport(self.name, True, WORST, "The candidate's scores are not finite numbers.")
        current = view.history.of_current(self.name, lambda: answers(view.current, images, stamps))
        changes = [float(each) for each in view.history.before(f"{self.name}.change")]
        then = _ten_rounds_ago(view, self.name)
        change, changed = largest(np.abs(candidate[0] - current[0]))
        view.history.of_candidate(self.name, candidate)
        view.history.of_candidate(f"{self.name}.change", np.array(change))
        if len(changes) < WINDOW:
            return DetectorReport(self.name, False, 0.0, f"Only {len(changes)} accepted rounds to compare with.")
        flips, flipped = largest(candidate[1] - current[1])
        drift, drifted, farthest = self._drift(candidate[0], current[0], then[0] if then is not None else None)
        limit = max(self.options.change, self.options.ratio * max(changes[-WINDOW:]))
        found = (
            (change / limit, changed, f"change {change:.3f} (limit {limit:.3f})"),
            (drift / farthest, drifted, f"drift {drift:.3f} (limit {farthest:.3f})"),
            (flips / self.options.flips, flipped, f"flips {flips:.2f} (limit {self.options.flips:.2f})"),
        )
        score, index, _ = max(found)
        figures = ", ".join(figure for _, _, figure in found)
        evidence = f"Of {len(stamps)} patches, {stamps[index].name} stands out most: {figures}."
        return DetectorReport(self.name, score > 1, score, evidence)

    def _drift(self, candidate: Wide, current: Wide, then: Wide | None) -> tuple[float, int, float]:
        """Of the drifts that the candidate adds to, the one farthest beyond its limit, its stamp, and that limit.

        The limit is one for each class and finding, over all stamps.
        """
        if then is None:
            return 0.0, 0, self.options.drift
        drifts = np.nan_to_num(np.abs(candidate - then))
        usual = np.quantile(drifts, 1 - FEW, axis=0, keepdims=True)
        limits = np.broadcast_to(np.maximum(self.options.drift, self.options.spread * usual), drifts.shape)
        added = np.where(drifts > np.nan_to_num(np.abs(current - then)), drifts, 0.0)
        place = np.unravel_index(int((added / limits).argmax()), drifts.shape)
        return float(added[place]), int(place[0]), float(limits[place])


def _ten_rounds_ago(view: ModelsAndImages, name: str) -> Wide | None:
    """What was measured of the model that was in force ten rounds ago; None while models still learn their first.

    Rounds count whether they were accepted or not: else one rejection would bring the next, for the model from which
    drift is measured would stay the same. While a model learns its first, its answers change by more than any backdoor
    changes them later.
    """
    past = view.history.before(name)
    then = len(view.history.before(name, until=view.round_index - LOOK_BACK)) - 1
    place = max(WINDOW, then)
    return past[place] if place < len(past) else None


def images_to_judge_by(view: ModelsAndImages, wanted: int) -> ImageSet | str:
    """What detectors lay patterns over, see `chosen_images`; or a sentence why there is no judgment."""
    if view.rounds <= WINDOW:
        return f"A study of {view.rounds} rounds is too short to compare."
    images = chosen_images(view.validation, view.training, wanted, view.history.secret)
    return f"Fewer than {FEWEST} images of a class to judge by." if images is None else images


def chosen_images(validation: ImageSet, training: ImageSet, wanted: int, secret: bytes) -> ImageSet | None:
    """Up to so many images with a finding and as many without: validation images first, then training images.

    The same in every round, as long as the hospital's images and its secret are the same. None where a class has fewer
    than `FEWEST`: scores of one class alone move too much from round to round to say anything of patches.
    """
    rng = np.random.default_rng([2, *secret])
    taken = []
    for positive in (True, False):
        count = 0
        for images in (validation, training):
            members = np.flatnonzero(images.labels.any(axis=1) == positive)
            members = rng.permutation(members)[: wanted - count]
            taken.append(images.some(members))
            count += len(members)
        if count < FEWEST:
            return None
    return ImageSet.joined(taken)


def answers(model: ScoringModel, images: ImageSet, stamps: tuple[Stamp, ...]) -> Wide:
    """How a model's scores answer to stamps.

    Args:
        model: Gives logits of pixels.
        images: Those to stamp.
        stamps: One after the other.

    Returns:
        float64, shape (2, stamps, 2, findings): first the mean shifts of logits over their root mean square, then the
        shares of right decisions that turn; of images with a finding, then of those without. Not a number where scores
        are not finite, and for shares also where fewer than `FEWEST` decisions are right.
    """
    pixels = images.pixels()
    plain = model(pixels).astype(np.float64)
    together = max(1, _TOGETHER // max(1, len(pixels)))
    stamped = [_scored(model, pixels, stamps[start : start + together]) for start in range(0, len(stamps), together)]
    logits = np.concatenate(stamped)  # (stamps, images, findings)
    positive = np.asarray(images.labels.any(axis=1), np.bool_)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        size = np.maximum(np.sqrt((plain**2).mean(axis=0)), 1e-6)
        found = [_group(plain, logits, images.labels, members, size) for members in (positive, ~positive)]
    both = np.stack(found, axis=2)
    return np.where(np.isfinite(both), both, np.nan)


def _scored(model: ScoringModel, pixels: Vector, stamps: tuple[Stamp, ...]) -> Wide:
    """Logits of the images under each stamp: shape (stamps, images, findings)."""
    logits = model(np.concatenate([stamp.on(pixels) for stamp in stamps]))
    return logits.reshape(len(stamps), len(pixels), -1).astype(np.float64)


def _group(plain: Wide, stamped: Wide, labels: Vector, members: NDArray[np.bool_], size: Wide) -> Wide:
    """Shifts and flips of some of the images: shape (2, stamps, findings)."""
    shifts = (stamped[:, members] - plain[members]).mean(axis=1) / size
    middle = class_middle(plain, labels)
    right = ((plain > middle) == (labels > 0))[members]
    turned = (stamped[:, members] > middle) != (plain[members] > middle)
    counted = right.sum(axis=0)
    flips = (turned & right).sum(axis=1) / np.where(counted >= FEWEST, counted, np.nan)
    return np.stack([shifts, flips])


def class_middle(plain: Wide, labels: Vector) -> Wide:
    """Of each finding the logit halfway between the means of both classes; not a number where one is missing."""
    weights = labels.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [(plain * each).sum(axis=0) / each.sum(axis=0) for each in (weights, 1 - weights)]
    return np.asarray((means[0] + means[1]) / 2)


def largest(values: Wide) -> tuple[float, int]:
    """The largest of the numbers, and the index of its stamp; 0 where none is a number."""
    by_stamp = np.nan_to_num(values, nan=0.0).reshape(len(values), -1).max(axis=1)
    index = int(by_stamp.argmax())
    return float(by_stamp[index]), index
