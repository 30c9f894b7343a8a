"""A round's validation counts: what the server kept is compared with what the votes on the ledger name.

Of counts in the clear anybody can then pool the same figures as the server. A hospital opens the sum of encrypted ones
only if the ledger agrees on whose counts it is: each of them is on the round's roster and has voted, and they are at
least as many as an aggregate must have. A smaller sum would show single hospitals' counts.
"""

from collections.abc import Sequence

from blockchain.closed_sums import ClosedSum, SumOpener
from blockchain.kept_counts import added_again, differences
from blockchain.ledger.events import VoteCast
from blockchain.ledger.reader import LedgerReader
from fedward.ciphertexts.encrypted_counts import EncryptedCounts, check_counts, counts_layout
from fedward.errors import EvidenceError, VerificationError
from fedward.figures.histograms import ScoreHistogram
from fedward.folders.ciphertexts import CiphertextSource
from fedward.folders.round_counts import RoundCounts
from fedward.sharing.signed import SentRelease
from fedward.sharing.terms import Purpose

_REMEDY = "Do not use this model's thresholds; ask the server for that round's counts."


def check_counts_kept(kept: RoundCounts, round_index: int, source: CiphertextSource, ledger: LedgerReader) -> None:
    """Check, at a hospital, that what the server kept are the counts that the votes name, and their sum.

    Raises:
        VerificationError: some are others, or they do not add up to the kept sum.
        EvidenceError: some are missing.
    """
    opening, record = ledger.opening_and_round(round_index)
    included = {entry.address for entry in opening.roster if entry.index in record.included}
    signed = {event.hospital: event.counts_hash for event in ledger.events(VoteCast, round_index)}
    found = sorted(differences(kept, signed, included), key=lambda difference: difference.missing)
    if found:
        kind = EvidenceError if found[0].missing else VerificationError
        what = f"The validation counts of {found[0].hospital} in round {round_index} {found[0].what}."
        raise kind(what, _REMEDY)
    if kept.total and added_again(kept, source) != kept.total:
        what = f"The encrypted validation counts of round {round_index} do not add up to the sum that the server kept."
        raise VerificationError(what, _REMEDY)


def open_counts(
    counts: EncryptedCounts,
    releases: Sequence[SentRelease],
    round_index: int,
    findings: int,
    least: int,
    ledger: LedgerReader,
    opener: SumOpener,
) -> ScoreHistogram:
    """Open a round's sum of histograms of validation scores.

    Args:
        counts: The sum, as the server kept it.
        releases: What hospitals released for it.
        round_index: The round.
        findings: Number of findings.
        least: The fewest hospitals whose sum is opened.
        ledger: Where roster, weights and votes are recorded.
        opener: Decrypts the sum.

    Raises:
        VerificationError: the sum is of too few hospitals, or of some that have not voted.
        EvidenceError: the hospital lacks the key of this round.
        EncryptionError: the sum does not decode, or not to counts that honest hospitals can have.

    Limits: whether the sum is that of these hospitals' counts is for `check_counts_kept`. A hospital can lie about its
    images as long as the sum looks like counts.
    """
    opening, inside = ledger.opening(round_index), {address.lower() for address in counts.hospitals}
    voters = {event.hospital.lower() for event in ledger.events(VoteCast, round_index)}
    weights = {entry.address.lower(): entry.weight for entry in opening.roster}
    if len(inside) != len(counts.hospitals) or not inside <= voters & set(weights):
        raise VerificationError(
            f"The validation counts of round {round_index} are said to be of hospitals that have not voted in it.",
            "Ask the server for the sum that it made from that round's ballots.",
        )
    if len(inside) < least:
        raise VerificationError(
            f"The validation counts of round {round_index} are of {len(inside)} hospitals, "
            f"fewer than the {least} that are needed.",
            "Do not open them: they would show single hospitals' counts.",
        )
    layout = counts_layout(findings, len(opening.roster), opening.enrolled_total)
    places = tuple(sorted(entry.index for entry in opening.roster if entry.address.lower() in inside))
    closed = ClosedSum(opening, Purpose.COUNTS, places, counts.chunks, releases)
    total = layout.from_fields(opener.open(closed, layout.plan).sums)
    check_counts(total, sum(weights[address] for address in inside))
    return total
