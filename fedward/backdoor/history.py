"""What detectors measured of accepted models, and measure of the candidate: so they compare it with rounds before.

A hospital keeps these numbers, not the models. A detector asks by names that begin with its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedward.folders.measure_book import MeasuredModel

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """Measures by name, of the accepted models that this hospital judged, and of the candidate.

    Attributes:
        secret: What this hospital's detectors draw from; nobody else knows it.
        accepted: What was measured of accepted models, oldest first.
        ends_with_current: Whether the last of them is the model in force.
        candidate: Measures of the candidate; detectors fill it in.
    """

    secret: bytes = field(default=b"", repr=False)
    accepted: Sequence[MeasuredModel] = ()
    ends_with_current: bool = False
    candidate: dict[str, Wide] = field(default_factory=dict)

    def before(self, name: str, until: int | None = None) -> list[Wide]:
        """What was measured of accepted models under this name, oldest first; of some it may be missing.

        Args:
            name: The measure's.
            until: The last round whose model counts; None: all do.
        """
        models = [each for each in self.accepted if until is None or each.round_index <= until]
        return [each.measures[name] for each in models if name in each.measures]

    def of_current(self, name: str, compute: Callable[[], Wide]) -> Wide:
        """A measure of the model in force: as it was measured when that was the candidate, else computed."""
        known = self.accepted[-1].measures if self.ends_with_current else {}
        return known[name] if name in known else compute()

    def of_candidate(self, name: str, measure: Wide) -> Wide:
        """Keep a measure of the candidate for later rounds; returns it."""
        self.candidate[name] = measure
        return measure
