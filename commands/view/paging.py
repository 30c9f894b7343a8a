"""Long lists in pages: a part of a list, and where the others are."""

from dataclasses import dataclass

ROUNDS, EVENTS, BLOCKS = 100, 50, 100  # in a part


@dataclass(frozen=True)
class Part:
    """Which part of a list a page shows.

    Attributes:
        name: Of the list, in addresses.
        number: Of the part, from 1 on; the newest come first.
        last: Number of the last part, at least 1.
        size: Entries in a part.
    """

    name: str
    number: int
    last: int
    size: int

    @classmethod
    def of(cls, name: str, wanted: str, entries: int, size: int) -> "Part":
        """The part that is asked for, or the nearest that there is; the first where that is no number."""
        last = max(1, -(-entries // size))
        number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else 1
        return cls(name, min(max(number, 1), last), last, size)

    @property
    def skip(self) -> int:
        """How many entries come before it."""
        return (self.number - 1) * self.size
