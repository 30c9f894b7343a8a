"""Wall-clock seconds by stage, and the time of day."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

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


def utc_now() -> str:
    """The time of day as logs have it: UTC, ISO 8601, with milliseconds, such as 2026-01-31T09:05:00.123Z."""
    return f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


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
