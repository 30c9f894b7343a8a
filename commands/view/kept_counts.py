"""The validation counts that a run's folder keeps of the model in force, one finding at a time.

They are all that pages draw curves of: single scores, of test images too, are in no run's folder.
"""

from dataclasses import dataclass
from typing import Any

from commands.view.shelf import Run
from fedward.errors import VerificationError
from fedward.figures.histograms import UNDECIDED, ScoreHistogram
from fedward.figures.validation import pooled
from fedward.folders.round_counts import PlainCounts, RoundCounts
from fedward.folders.simulation import SimulationFolder


@dataclass(frozen=True)
class FindingCounts:
    """One finding's counts of validation images by score.

    Attributes:
        pooled: Of all hospitals together, none with more images than it is enrolled for: one finding.
        hospitals: Of each place of the roster; None where the folder has none.
    """

    pooled: ScoreHistogram
    hospitals: tuple[ScoreHistogram | None, ...]

    def of(self, place: int | None) -> ScoreHistogram:
        """Those of a hospital that has some, else all."""
        own = self.hospitals[place] if place is not None and 0 <= place < len(self.hospitals) else None
        return self.pooled if own is None else own


@dataclass(frozen=True)
class KeptCounts:
    """What a folder has of the model in force.

    Attributes:
        round_index: The round that gave this model; None before one did.
        counts: Its counts; None where there are none, or none in the clear.
        missing: Why there are none, in sentences; "" where there are.
        thresholds: The model's threshold of each finding, as the round's line has them.
    """

    round_index: int | None
    counts: RoundCounts | None
    missing: str
    thresholds: tuple[float, ...]

    def finding(self, run: Run, index: int) -> FindingCounts | None:
        """The counts of one finding; None where there are none.

        Raises:
            VerificationError: they cannot be those of any images.
        """
        if self.counts is None:
            return None
        found = []
        for member in run.record.roster:
            kept = self.counts.plain.get(member.address)
            found.append(None if kept is None else _only(kept, index, str(member.hospital)).capped(member.weight))
        together = pooled((each, member.weight) for each, member in zip(found, run.record.roster, strict=True) if each)
        return None if together is None else FindingCounts(together, tuple(found))


def kept_counts(run: Run) -> KeptCounts:
    """What a run's folder has of its latest accepted model.

    Raises:
        EvidenceError: the file of counts is damaged.
    """
    line = next((entry for entry in reversed(run.rounds) if entry.get("phase") == "accepted"), None)
    if line is None:
        undecided = (UNDECIDED,) * len(run.record.findings)
        return KeptCounts(None, None, "No round was accepted yet, so there is no model to tell of.", undecided)
    index, thresholds = int(line["round"]), _thresholds(line, len(run.record.findings))
    counts = SimulationFolder(run.path).server.counts.load(index)
    if counts is not None and counts.plain:
        return KeptCounts(index, counts, "", thresholds)
    missing = (
        "This run encrypts validation counts (metrics.encrypted), and only hospitals together open their sum: the "
        "folder has thresholds, and no scores to draw curves of."
        if counts is not None and counts.encrypted
        else f"This folder keeps no validation counts of round {index}, which gave the model."
    )
    return KeptCounts(index, None, missing, thresholds)


def _thresholds(line: dict[str, Any], findings: int) -> tuple[float, ...]:
    """The thresholds of a round's line; one half where it has none."""
    stated: Any = line.get("thresholds")
    fits = isinstance(stated, list) and len(stated) == findings
    if not fits or not all(isinstance(each, int | float) for each in stated):
        return (UNDECIDED,) * findings
    return tuple(float(each) for each in stated)


def _only(kept: PlainCounts, index: int, hospital: str) -> ScoreHistogram:
    """The histogram of one finding, so that no page needs memory for all of them."""
    if index < min(len(kept.positives), len(kept.negatives)):
        one = PlainCounts((kept.positives[index],), (kept.negatives[index],), kept.loss_sum, kept.n).histogram()
        if one is not None:
            return one
    raise VerificationError(
        f"The validation counts of {hospital} cannot be those of any images.", "Restore that file from a backup."
    )
