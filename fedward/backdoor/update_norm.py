"""The detector `update-norm`: finds mean updates that are much larger than those of the rounds before.

Whoever replaces the model has to multiply its update, for it is averaged with the others' (Bagdasaryan et al. 2020,
"How To Backdoor Federated Learning"). What is compared is the mean update, before any server optimizer, whose momentum
makes steps grow on its own.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedward.backdoor.inspection import UpdateSizes
from fedward.plugins import UpdateNormOptions
from fedward.types import DetectorReport

WINDOW = 5  # accepted rounds that are compared with; with fewer there is no judgment


@dataclass(frozen=True)
class UpdateNorm:
    """Rejects a candidate whose mean update is more than `ratio` times the median of the last accepted ones."""

    options: UpdateNormOptions
    name: ClassVar[str] = "update-norm"

    def inspect(self, view: UpdateSizes) -> DetectorReport:
        """Compare the norm with those of the last five accepted rounds that this hospital judged."""
        norm = view.update_norm
        if not math.isfinite(norm):
            return DetectorReport(self.name, False, 0.0, "The size of the mean update is not known.")
        before = [float(each[0]) for each in view.history.before(self.name)][-WINDOW:]
        view.history.of_candidate(self.name, np.array([norm]))
        if len(before) < WINDOW:
            return DetectorReport(self.name, False, 0.0, f"Only {len(before)} accepted rounds to compare with.")
        usual = float(np.median(before))
        ratio = norm / max(usual, 1e-12)
        evidence = f"The mean update's norm is {norm:.4g}, {ratio:.2f} times the median of the last {WINDOW} accepted."
        return DetectorReport(self.name, ratio > self.options.ratio, ratio, evidence)
