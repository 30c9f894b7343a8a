"""Wall-clock seconds by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = (
    "preprocess",
    "train",
    "privatize",
    "encrypt",
    "commit",
    "verify",
    "aggregate",
    "decrypt",
    "detect",
    "vote",
    "evaluate",
)


class Stopwatch:
    """Adds up wall seconds under the names of the stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time inside the `with` block, also where it ends in an error."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add({stage: time.perf_counter() - start})

    def add(self, seconds: dict[str, float]) -> None:
        """Add times that were measured elsewhere."""
        for stage, value in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + value
