"""Step 16, counts: the kept validation counts are those that votes name; which figures they give.

Counts in the clear are pooled again. Encrypted ones are added again; what they say, only hospitals can open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.round_keys import RoundKeys
from blockchain.kept_counts import added_again, differences
from blockchain.ledger.records import RoundPhase, encode_set
from fedward.figures.validation import validation_figures
from fedward.files import merkle_root
from fedward.folders.ciphertexts import CiphertextSource
from fedward.folders.round_counts import RoundCounts
from fedward.sharing.terms import Purpose
from fedward.types import Address


@dataclass
class CheckedCounts:
    """What the step found.

    Attributes:
        figures: By round: the validation figures that follow from counts in the clear, all of which votes name.
        encrypted: The rounds whose counts only hospitals can open.
        ciphertexts: Names of all ciphertexts of counts.
    """

    figures: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    encrypted: set[int] = field(default_factory=set)
    ciphertexts: set[str] = field(default_factory=set)


def check_counts(
    stories: Sequence[RoundStory],
    keys: RoundKeys,
    source: CiphertextSource,
    report: Report,
    names: Mapping[Address, str],
) -> CheckedCounts:
    """Check what was kept of each round's validation counts.

    Args:
        stories: All rounds, as the ledger tells them.
        keys: What the source holds about rounds.
        source: Where the ciphertexts are.
        report: Takes the lines.
        names: Name of each hospital, for the lines.
    """
    found = CheckedCounts(ciphertexts=keys.counted_ciphertexts())
    for story in stories:
        if story.ended is None:
            report.note(Step.COUNTS, f"Round {story.round_index} is not decided yet.", round_index=story.round_index)
            continue
        with report.guarding(Step.COUNTS, round_index=story.round_index):
            _check_round(story, keys, source, report, names, found)
    return found


def _check_round(
    story: RoundStory,
    keys: RoundKeys,
    source: CiphertextSource,
    report: Report,
    names: Mapping[Address, str],
    found: CheckedCounts,
) -> None:
    index, about = story.round_index, {"round_index": story.round_index}
    signed = {vote.hospital: vote.counts_hash for vote in story.votes}
    kept = keys.counts(index)
    if kept is None and story.outcome is RoundPhase.ABORTED:
        report.note(Step.COUNTS, f"Round {index} was aborted, and no validation counts of it were kept.", **about)
        return
    kept = kept or RoundCounts({}, {}, ())
    if kept.encrypted:
        found.encrypted.add(index)
    included = {entry.address for entry in story.roster if entry.index in story.included}
    whole = True
    for difference in differences(kept, signed, included):
        whole = False
        who = names.get(difference.hospital, difference.hospital)
        tell = report.missing if difference.missing else report.fail
        tell(Step.COUNTS, f"{who}'s validation counts {difference.what}.", hospital=who, **about)
    if not whole:
        return
    inside = len(kept.plain) + len(kept.encrypted)
    if kept.encrypted:
        text = f"The encrypted validation counts of {inside} hospitals are those that their votes name by their hash."
        report.ok(Step.COUNTS, text, checks=inside, **about)
        _check_total(story, kept, keys, source, report)
        return
    if kept.total:
        report.fail(Step.COUNTS, "A sum of encrypted counts is kept, and no encrypted counts.", **about)
        return
    counts = kept.pooled({entry.address: entry.weight for entry in story.roster})
    if kept.plain:
        found.figures[index] = validation_figures(counts)
    images = f", of {counts.n} images together" if counts else ""
    text = f"The validation counts of {inside} hospitals are those that their votes name by their hash{images}."
    report.ok(Step.COUNTS, text, checks=inside, **about)


def _check_total(
    story: RoundStory, kept: RoundCounts, keys: RoundKeys, source: CiphertextSource, report: Report
) -> None:
    """Add the encrypted counts again, and compare with the kept sum, and with what hospitals released a key for."""
    about = {"round_index": story.round_index}
    releases = keys.releases(story.round_index, Purpose.COUNTS) or ()
    if not kept.total:
        if releases:
            report.missing(Step.COUNTS, "Hospitals released the key of a sum of counts, which is not kept.", **about)
        else:
            report.note(Step.COUNTS, "No sum of the encrypted counts was kept to be opened.", **about)
        return
    if added_again(kept, source) != kept.total:
        text = f"The encrypted counts of {len(kept.encrypted)} hospitals do not add up to the kept sum."
        report.fail(Step.COUNTS, text, **about)
        return
    mask = encode_set(story.roster, (entry.index for entry in story.roster if entry.address in kept.encrypted))
    opened = (merkle_root([bytes.fromhex(name) for name in kept.total]), mask.to_bytes(32, "big"))
    if any((sent.signed.release.sum_hash, sent.signed.release.included_mask) != opened for sent in releases):
        report.fail(Step.COUNTS, "Hospitals released the key of another sum of counts than the kept one.", **about)
        return
    text = f"The encrypted counts of {len(kept.encrypted)} hospitals add up to the kept sum."
    report.ok(Step.COUNTS, text, checks=len(kept.total), **about)
