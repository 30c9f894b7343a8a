"""Searches the memory of a running process, and counts what was read of it."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np

PAGE = os.sysconf("SC_PAGE_SIZE")
_PIECE_PAGES = 1024
_THERE = np.uint64(0b11 << 62)  # in a page's entry of pagemap: present, or swapped out
_KERNEL = ("[vvar", "[vsyscall")  # mapped into every process, and no memory of its own


@dataclass(frozen=True)
class Search:
    """What came out of a search.

    Attributes:
        found: Which of the bytes that were looked for are there.
        read: Bytes that were read.
        there: Bytes that the process has in memory or swapped out, in mappings that it can read itself.
    """

    found: frozenset[bytes]
    read: int
    there: int


def search(process_id: int, needles: Collection[bytes]) -> Search:
    """Look for some pieces of bytes in all that a process has in memory, shared memory included.

    Pages that were never touched are passed by: Ray's shared store and thread stacks are gigabytes of them.
    """
    found, read, there = set[bytes](), 0, 0
    overlap = max(map(len, needles)) - 1
    folder = Path(f"/proc/{process_id}")
    with FileIO(folder / "mem") as memory, FileIO(folder / "pagemap") as pagemap:
        for low, high in _readable(folder):
            tail, end = b"", -1
            for start, stop in _touched(pagemap, low, high):
                there += stop - start
                try:
                    memory.seek(start)
                    content = memory.read(stop - start)
                except OSError:  # of a device, or unmapped since
                    continue
                read += len(content)
                # Bytes may lie across two pieces.
                joined = (tail if start == end else b"") + content
                found |= {needle for needle in needles if needle in joined}
                tail, end = content[-overlap:], start + len(content)
    return Search(frozenset(found), read, there)


def _readable(folder: Path) -> Iterator[tuple[int, int]]:
    """Address ranges of the mappings that a process can read."""
    for line in (folder / "maps").read_text().splitlines():
        if line.split()[1].startswith("r") and not any(name in line for name in _KERNEL):
            low, high = line.split()[0].split("-")
            yield int(low, 16), int(high, 16)


def _touched(pagemap: FileIO, low: int, high: int) -> Iterator[tuple[int, int]]:
    """The parts of a range that have pages, in pieces of a few megabytes at most."""
    for first in range(low // PAGE, high // PAGE, _PIECE_PAGES):
        count = min(_PIECE_PAGES, high // PAGE - first)
        pagemap.seek(8 * first)
        there = np.frombuffer(pagemap.read(8 * count), np.uint64) & _THERE != 0
        edges = np.flatnonzero(np.diff(there, prepend=False, append=False)).tolist()
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            yield (first + start) * PAGE, (first + stop) * PAGE
