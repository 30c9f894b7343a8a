"""The detector `update-norm`: finds mean updates that are much longer than a hospital's own update explains.

Whoever replaces the model has to multiply its update, for it is averaged with the others' (Bagdasaryan et al. 2020,
"How To Backdoor Federated Learning"). What is compared is the mean update, before any server optimizer, whose momentum
makes steps grow on its own.

How long honest updates are depends on the model that they start from: one that a bad round has moved away calls for
longer ones, and as long as candidates are rejected it stays in force. So a hospital compares with its own update from
the same model, which grows alike: it judges the quotient of both norms, among those of accepted rounds.

The quotient also depends on how many updates are in the mean. Of what each update has, a part is common to all and
stays; the rest differs, and shrinks with the number of updates. Quotient and number of a round tell how large the
common part is, and from that follows the quotient that the same updates would have had in a mean of another number.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedward.backdoor.inspection import MeanUpdates
from fedward.plugins import UpdateNormOptions
from fedward.types import DetectorReport

WINDOW = 5  # accepted rounds that are compared with; with fewer there is no judgment
_MEASURED = 3  # numbers of a round: see `inspect`


@dataclass(frozen=True)
class UpdateNorm:
    """Rejects a candidate whose mean update, over the hospital's own, is above `ratio` times what is usual."""

    options: UpdateNormOptions
    name: ClassVar[str] = "update-norm"

    def inspect(self, view: MeanUpdates) -> DetectorReport:
        """Compare with the last five accepted rounds that this hospital trained in and judged."""
        norm, own, concentration = view.updates.norm, view.updates.own_norm, view.updates.concentration
        if not all(map(math.isfinite, (norm, own, concentration))) or own == 0:
            return DetectorReport(
                self.name, False, 0.0, "The size of the mean update, or of the own one, is not known."
            )
        known = [each for each in view.history.before(self.name) if each.shape == (_MEASURED,)]
        view.history.of_candidate(self.name, np.array([norm, own, concentration]))
        before = known[-WINDOW:]
        if len(before) < WINDOW:
            return DetectorReport(self.name, False, 0.0, f"Only {len(before)} accepted rounds to compare with.")
        rounds = [tuple(map(float, each)) for each in before]
        usual = float(np.median([_expected(norm, own, spread, concentration) for norm, own, spread in rounds]))
        ratio = norm / own / max(usual, 1e-12)
        evidence = (
            f"The mean update's norm is {norm:.4g}, {norm / own:.2f} times that of the hospital's own: {ratio:.2f} "
            f"times what is usual for as many updates after the last {WINDOW} accepted."
        )
        return DetectorReport(self.name, ratio > self.options.ratio, ratio, evidence)


def _expected(norm: float, own: float, concentration: float, then: float) -> float:
    """What a round's quotient of mean and own norm would have been with another number of updates in the mean.

    Args:
        norm: L2 norm of the round's mean update.
        own: L2 norm of the hospital's own update, above 0.
        concentration: Of the weights in the mean: the sum of their squares, where they add up to 1.
        then: The concentration to tell the quotient for.
    """
    square = (norm / own) ** 2
    common = min(max((square - concentration) / max(1 - concentration, 1e-12), 0.0), 1.0)  # share of the squared norm
    return math.sqrt(square * (common + (1 - common) * then) / (common + (1 - common) * concentration))
