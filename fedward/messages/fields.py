"""Typed and bounded access to the entries of Flower records in messages from outside.

What a hospital says about itself is shown to people, and added to what the others say. No single hospital may spoil the
one or the other. So every number is finite and bounded, and every text short and printable.
"""

import math

from flwr.app import ConfigRecord, MetricRecord, RecordDict

from fedward.errors import VerificationError
from fedward.timing import STAGES

LARGEST_FIGURE = 1e6  # of a mean loss or of seconds: far more than there is
LONGEST_TEXT = 500
MOST_MEMBERS = 128  # places on the ledger's roster
SAME_VERSION = "Run the same version of Fedward at every hospital."


class Fields:
    """The entries of one Flower record of a message from outside.

    Every method raises `VerificationError` where a value is missing, of the wrong type or out of bounds.
    """

    def __init__(self, records: RecordDict, name: str) -> None:
        if name not in records or not isinstance(records[name], ConfigRecord | MetricRecord):
            raise malformed(f"has no record {name!r}")
        self._values = dict(records[name].items())
        self._name = name

    def __bool__(self) -> bool:
        return bool(self._values)

    def _get(self, key: str, wanted: tuple[type, ...]) -> object:
        value = self._values.get(key)
        if not isinstance(value, wanted):
            raise malformed(f"has no proper {self._name}.{key}")
        return value

    def text(self, key: str) -> str:
        """A text, cut to `LONGEST_TEXT`; control characters, which could steer a terminal, become spaces."""
        text = str(self._get(key, (str,)))[:LONGEST_TEXT]
        return "".join(letter if letter.isprintable() else " " for letter in text)

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self._get(key, (int,))
        if not isinstance(value, int) or isinstance(value, bool):  # Python counts True as a whole number
            raise malformed(f"has no whole number in {self._name}.{key}")
        return value

    def wholes(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        values = self._get(key, (list,))
        if not isinstance(values, list) or any(type(value) is not int for value in values):
            raise malformed(f"has no list of numbers in {self._name}.{key}")
        return tuple(values)

    def places(self, key: str) -> tuple[int, ...]:
        """Places on the ledger's roster: ascending, each once."""
        values = self.wholes(key)
        if any(not 0 <= place < MOST_MEMBERS for place in values) or list(values) != sorted(set(values)):
            raise malformed(f"lists in {self._name}.{key} what are no places on the roster")
        return values

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._get(key, (int, float))
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise malformed(f"has no finite number in {self._name}.{key}")
        return float(value)

    def has(self, key: str) -> bool:
        """Whether there is anything under a key."""
        return key in self._values

    def figure(self, key: str, largest: float = LARGEST_FIGURE) -> float:
        """A number from zero to `largest`."""
        value = self.number(key)
        if not 0 <= value <= largest:
            raise malformed(f"has {self._name}.{key} out of bounds")
        return value

    def content(self, key: str, size: int | None = None) -> bytes:
        """Bytes: exactly `size` of them, where that is given."""
        value = self._get(key, (bytes,))
        if not isinstance(value, bytes) or size not in (None, len(value)):
            raise malformed(f"has no {size} bytes in {self._name}.{key}")
        return value

    def content_up_to(self, key: str, most: int) -> bytes:
        """Bytes, at most so many."""
        value = self._get(key, (bytes,))
        if not isinstance(value, bytes) or len(value) > most:
            raise malformed(f"has more than {most} bytes in {self._name}.{key}")
        return value

    def contents(self, key: str) -> tuple[bytes, ...]:
        """A list of bytes."""
        values = self._get(key, (list,))
        if not isinstance(values, list) or any(type(value) is not bytes for value in values):
            raise malformed(f"has no list of bytes in {self._name}.{key}")
        return tuple(values)

    def stage_seconds(self) -> dict[str, float]:
        """Seconds by stage; there are no other keys."""
        if not set(self._values) <= set(STAGES):
            raise malformed(f"has an unknown stage in {self._name}")
        return {key: self.figure(key) for key in self._values}


def malformed(problem: str) -> VerificationError:
    """The error for a message with a problem."""
    return VerificationError(f"A message {problem}.", SAME_VERSION)
