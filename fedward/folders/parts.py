"""Several byte strings in one file, since flushing a file takes milliseconds, however short it is."""

import itertools
from collections.abc import Sequence

_MOST_DIGITS = 15  # of a length; Python refuses to parse numbers of thousands of digits


def joined(parts: Sequence[bytes]) -> bytes:
    """Parts as one: a line with their lengths, then one after the other."""
    return " ".join(str(len(part)) for part in parts).encode() + b"\n" + b"".join(parts)


def parted(content: bytes) -> tuple[bytes, ...]:
    """The parts that `joined` made one of.

    Raises:
        ValueError: the content is nothing that `joined` made.
    """
    line, _, rest = content.partition(b"\n")
    lengths = line.split()
    if not all(length.isdigit() and len(length) <= _MOST_DIGITS for length in lengths):
        raise ValueError("its first line is no list of lengths")
    ends = list(itertools.accumulate(map(int, lengths), initial=0))
    if ends[-1] != len(rest):
        raise ValueError("its length is not the sum of its parts'")
    return tuple(rest[start:end] for start, end in itertools.pairwise(ends))
