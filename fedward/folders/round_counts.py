"""What the server keeps of a round's validation counts: all that it pooled, so that anybody can pool it again.

counts/round-0001.json

Votes sign the hash of the counts that came with them. Counts in the clear stand in the file itself; of encrypted ones
it lists the ciphertexts, which are kept by their hash like those of updates.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from fedward.checked_json import Matching, read_json, to_json
from fedward.errors import EvidenceError
from fedward.figures.histograms import BINS, ScoreHistogram
from fedward.figures.validation import MAX_IMAGES, adds_up, pooled
from fedward.files import make_folder, write_atomic
from fedward.folders.ciphertexts import Digest
from fedward.tables import Between
from fedward.types import Address

Hospital = Annotated[Address, Matching("0x[0-9a-fA-F]{40}", "an address of 0x and 40 hexadecimal digits")]
Bins = Mapping[int, Annotated[int, Between(1, MAX_IMAGES)]]
MAX_FINDINGS = 1000
_RESTORE = "Restore that file from a backup."


@dataclass(frozen=True)
class PlainCounts:
    """One hospital's `ScoreHistogram`, of which most bins are empty.

    Attributes:
        positives, negatives: By finding: images by bin, bins without any left out.
        loss_sum, n: As of the histogram.
    """

    positives: tuple[Bins, ...]
    negatives: tuple[Bins, ...]
    loss_sum: float
    n: Annotated[int, Between(0, MAX_IMAGES)]

    @classmethod
    def of(cls, counts: ScoreHistogram) -> "PlainCounts":
        """The same counts."""
        return cls(_filled(counts.positives), _filled(counts.negatives), counts.loss_sum, counts.n)

    def histogram(self) -> ScoreHistogram | None:
        """The histogram again; None where these cannot be the counts of any images."""
        if len(self.positives) != len(self.negatives) or not 0 < len(self.positives) <= MAX_FINDINGS:
            return None
        if any(at >= BINS for bins in (*self.positives, *self.negatives) for at in bins):
            return None
        counts = ScoreHistogram(_rows(self.positives), _rows(self.negatives), self.loss_sum, self.n)
        return counts if adds_up(counts) else None


@dataclass(frozen=True)
class RoundCounts:
    """The validation counts of a round, by hospital: all in the clear, or all encrypted.

    Attributes:
        plain: Counts in the clear, of every hospital whose vote the contract took.
        encrypted: Of each hospital in the encrypted sum: the SHA-256 of its ciphertexts, in order.
        total: SHA-256 of the sum's ciphertexts, in order; none where it is of too few hospitals to be opened.
    """

    plain: Mapping[Hospital, PlainCounts]
    encrypted: Mapping[Hospital, tuple[Digest, ...]]
    total: tuple[Digest, ...]

    def pooled(self, weights: Mapping[Address, int]) -> ScoreHistogram | None:
        """All counts in the clear together; None where there are none.

        Args:
            weights: The roster's, in its order: no hospital counts more images than it is enrolled for.
        """
        kept = ((self.plain[hospital], most) for hospital, most in weights.items() if hospital in self.plain)
        return pooled((counts, most) for plain, most in kept if (counts := plain.histogram()))

    def ciphertexts(self) -> set[str]:
        """The names of all ciphertexts in it."""
        return {name for names in (self.total, *self.encrypted.values()) for name in names}


class CountsFolder:
    """Counts by round; every file is whole or not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, round_index: int, counts: RoundCounts) -> None:
        """Keep a round's counts."""
        make_folder(self.path)
        write_atomic(self._file(round_index), json.dumps(to_json(counts), sort_keys=True).encode())

    def load(self, round_index: int) -> RoundCounts | None:
        """A round's counts; None where there are none.

        Raises:
            EvidenceError: the file is damaged.
        """
        path = self._file(round_index)
        if not path.exists():
            return None
        return read_json(RoundCounts, path, f"The counts of round {round_index}", _RESTORE, EvidenceError)

    def _file(self, round_index: int) -> Path:
        return self.path / f"round-{round_index:04d}.json"


def _filled(rows: NDArray[np.int64]) -> tuple[dict[int, int], ...]:
    return tuple({int(at): int(row[at]) for at in np.flatnonzero(row)} for row in rows)


def _rows(findings: Sequence[Bins]) -> NDArray[np.int64]:
    rows = np.zeros((len(findings), BINS), np.int64)
    for row, filled in zip(rows, findings, strict=True):
        row[list(filled.keys())] = list(filled.values())
    return rows
