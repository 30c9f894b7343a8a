"""The detector `own-update`: finds sums in which somebody else's update outweighs all others.

The mean update of honest hospitals has their own updates in it, and so points where each of them does: how far a
hospital's own update reaches along the mean, over the mean's length, is about 1. On average over the hospitals in the
mean, each with its weight, it is 1 by arithmetic, whatever they sent. Where somebody multiplies its update, to turn the
others' round or to replace the model, that update takes all of it, and little is left to the others: most of them see
that the mean is not theirs. It does not matter how many are in the mean, nor how long honest updates are.

Where hospitals differ, one that is small or of one class has a smaller part in every round. So each compares with what
its own part was in accepted rounds, and one that usually has none does not judge.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedward.backdoor.inspection import MeanUpdates
from fedward.backdoor.update_norm import WINDOW
from fedward.plugins import OwnUpdateOptions
from fedward.types import DetectorReport


@dataclass(frozen=True)
class OwnUpdate:
    """Rejects a candidate whose mean update has much less of the hospital's own in it than is usual."""

    options: OwnUpdateOptions
    name: ClassVar[str] = "own-update"

    def inspect(self, view: MeanUpdates) -> DetectorReport:
        """Compare with the median of the last five accepted rounds whose mean had the hospital's update in it."""
        sizes = view.updates
        part = sizes.inner / sizes.norm**2 if sizes.norm > 0 else math.nan
        if not math.isfinite(part):
            return DetectorReport(self.name, False, 0.0, "This hospital has no update in the mean, or it is all zeros.")
        before = [float(each) for each in view.history.before(self.name)][-WINDOW:]
        view.history.of_candidate(self.name, np.array(part))
        if len(before) < WINDOW:
            return DetectorReport(self.name, False, 0.0, f"Only {len(before)} accepted rounds to compare with.")
        usual = min(1.0, float(np.median(before)))
        if usual <= 0:
            return DetectorReport(self.name, False, 0.0, "This hospital's updates are usually not along the mean.")
        evidence = (
            f"This hospital's own update reaches {part:.2f} times as far as the mean update, along it; usual is "
            f"{usual:.2f} (limit {self.options.least * usual:.2f})."
        )
        return DetectorReport(self.name, part < self.options.least * usual, 1 - part / usual, evidence)
