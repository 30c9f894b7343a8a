"""The detector `guided-patches`: lays patches where the candidate's own gradient says that they move scores most.

`patch-bank` tries patches at drawn places and finds a trigger that is like one of them. This detector asks the
candidate: of all squares, bright or dark, which would move the scores of a class most, if the model were linear? Those
few are laid over the images, and a candidate that answers to them otherwise than the model in force is suspicious.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fedward.backdoor.inspection import ModelsAndImages, ScoringModel
from fedward.backdoor.patch_bank import WINDOW, answers, images_to_judge_by, largest
from fedward.backdoor.stamps import Stamp, square
from fedward.backdoor.validation_loss import WORST
from fedward.plugins import GuidedPatchesOptions
from fedward.types import DetectorReport, ImageSet, Vector

_SHADES = (("bright", 1.0), ("dark", 0.0))


@dataclass(frozen=True)
class GuidedPatches:
    """Rejects a candidate that answers to the patches its own gradient points at otherwise than the model in force."""

    options: GuidedPatchesOptions
    name: ClassVar[str] = "guided-patches"

    def inspect(self, view: ModelsAndImages) -> DetectorReport:
        """Find the patches on the candidate, and compare both models' answers to them."""
        images = images_to_judge_by(view, self.options.images)
        if isinstance(images, str):
            return DetectorReport(self.name, False, 0.0, images)
        stamps = guided_stamps(view.candidate, images, self.options.places)
        candidate = answers(view.candidate, images, stamps)[0] if stamps else np.array(np.nan)
        if not stamps or not np.isfinite(candidate).all():
            return DetectorReport(self.name, True, WORST, "The candidate's scores are not finite numbers.")
        change, place = largest(np.abs(candidate - answers(view.current, images, stamps)[0]))
        before = [float(each) for each in view.history.before(f"{self.name}.change")]
        view.history.of_candidate(f"{self.name}.change", np.array(change))
        if len(before) < WINDOW:
            return DetectorReport(self.name, False, 0.0, f"Only {len(before)} accepted rounds to compare with.")
        limit = max(self.options.change, self.options.ratio * max(before[-WINDOW:]))
        evidence = (
            f"Of {len(stamps)} patches where the candidate is most sensitive, {stamps[place].name} changed its answer "
            f"most: by {change:.3f} (limit {limit:.3f})."
        )
        return DetectorReport(self.name, change > limit, change / limit, evidence)


def guided_stamps(model: ScoringModel, images: ImageSet, places: int) -> tuple[Stamp, ...] | None:
    """Squares that, to first order, move a finding's scores most: away from it where it is, and to it where it is not.

    Args:
        model: Gives gradients.
        images: With both classes.
        places: How many squares for each finding and direction; they do not overlap.

    Returns:
        The squares, a twelfth of the image wide; None where a gradient is not finite.
    """
    pixels, stamps = images.pixels(), []
    for finding in range(images.labels.shape[1]):
        for present in (True, False):
            members = (images.labels[:, finding] > 0) == present
            wanted = images.labels[members].copy()
            wanted[:, finding] = 0.0 if present else 1.0
            slope = model.gradient(pixels[members], wanted) if members.any() else pixels[:0]
            if not np.isfinite(slope).all():
                return None
            stamps += list(_steepest(pixels[members], slope, places))
    return tuple(stamps)


def _steepest(pixels: Vector, slope: Vector, places: int) -> Iterator[Stamp]:
    """The squares that lower the loss most, to first order, on all of the images together."""
    size = pixels.shape[1]
    side = max(2, size // 12)
    gains = []
    for _, brightness in _SHADES:
        by_pixel = -(slope.astype(np.float64) * (brightness - pixels)).sum(axis=(0, 3))
        gains.append(sliding_window_view(by_pixel, (side, side)).sum(axis=(2, 3)))
    both = np.stack(gains)  # (shades, tops, lefts)
    for _ in range(places):
        shade, top, left = (int(each) for each in np.unravel_index(both.argmax(), both.shape))
        if both[shade, top, left] == -np.inf:
            return
        both[:, max(0, top - side + 1) : top + side, max(0, left - side + 1) : left + side] = -np.inf
        name, brightness = _SHADES[shade]
        yield square(f"a {name} {side}x{side} square at row {top}, column {left}", size, top, left, side, brightness)
