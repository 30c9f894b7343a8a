"""Lookup tables of DICOM files: modality LUT, VOI LUT and palettes, as files really hold them.

A descriptor says how many entries there are (0: 65,536), which value the first one stands for, and how many bits an
entry takes. Files disagree with their own descriptors in known ways, and each has one sensible reading:

- fewer bits are used than declared (16 declared, 12 filled): the range is that of the entries;
- entries of 8 bits lie two in a word;
- the first value is negative, and stored without a sign.

References:
    DICOM PS3.3, C.11.1.1, C.11.2.1.1 and C.7.6.3.1.5; PS3.5, 6.2 (OW, US, SS).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fedward.dataset.problems import UnreadableImageError

_WORD = 0x10000


@dataclass(frozen=True)
class LookupTable:
    """Entries, and the value that the first of them stands for.

    Attributes:
        first: As stored without a sign, in [0, 65535].
        entries: uint16, shape (n,), n from 1 to 65,536.
    """

    first: int
    entries: NDArray[np.uint16]

    @property
    def top(self) -> float:
        """The largest value of the bits that the entries use, at least 8 of them."""
        return top_of(int(self.entries.max()))

    def first_for(self, low: float, high: float) -> int:
        """The first value with its sign: of the two readings, the one with more of [low, high] inside the table."""
        readings = (self.first, self.first - _WORD)
        return max(readings, key=lambda first: _overlap(low, high, first, first + len(self.entries) - 1))

    def look_up(self, values: NDArray[Any], first: int) -> NDArray[np.uint16]:
        """The entry of each value; values outside take the nearest."""
        places = np.rint(values).astype(np.int64) - first
        found: NDArray[np.uint16] = self.entries[np.clip(places, 0, len(self.entries) - 1)]
        return found


def top_of(largest: int) -> float:
    """The smallest 2^k - 1, k at least 8, that holds a whole number."""
    return float(max(255, 2 ** largest.bit_length() - 1))


def read_table(item: Dataset, descriptor: str, data: str, little_endian: bool) -> LookupTable:
    """Read a table.

    Args:
        item: The sequence item, or the header for palettes.
        descriptor: Keyword of the descriptor.
        data: Keyword of the entries.
        little_endian: Byte order of entries that are stored as plain bytes.

    Raises:
        UnreadableImageError: the descriptor is no three numbers, or there are fewer entries than it says.
    """
    described = item.get(descriptor)
    if described is None or isinstance(described, int | str | bytes) or len(described) != 3:
        raise UnreadableImageError("the descriptor of its lookup table is incomplete")
    count, first, bits = (int(number) % _WORD for number in described)
    count = count or _WORD
    if not 1 <= bits <= 16:
        raise UnreadableImageError("the descriptor of its lookup table declares impossible bits")
    words = _words(item, data, little_endian)
    if len(words) < count and bits <= 8 and 2 * len(words) >= count:
        words = np.stack([words & 0xFF, words >> 8], axis=1).ravel()
    if len(words) < count:
        raise UnreadableImageError("its lookup table is shorter than its descriptor says")
    return LookupTable(first, words[:count].astype(np.uint16))


def _words(item: Dataset, keyword: str, little_endian: bool) -> NDArray[np.uint16]:
    """The entries as words of 16 bits, however they are stored."""
    content = item.get(keyword)
    if isinstance(content, bytes):
        return np.frombuffer(content[: len(content) // 2 * 2], dtype="<u2" if little_endian else ">u2").astype(
            np.uint16
        )
    if content is None or content == "":
        raise UnreadableImageError("its lookup table is missing")
    numbers = [content] if isinstance(content, int) else list(content)
    return (np.array([int(number) for number in numbers], dtype=np.int64) % _WORD).astype(np.uint16)


def _overlap(low: float, high: float, first: int, last: int) -> float:
    """How much of a range of values lies between the first and last value of a table; negative: the gap."""
    return min(high, last) - max(low, first)
