"""Encrypted validation counts: a hospital opens their sum after checking on the ledger whose counts were added.

The server says which hospitals' counts are in the sum. A hospital opens the sum only if the ledger agrees: each of them
is on the round's roster and has voted, and they are at least as many as an aggregate must have. A smaller sum would
show single hospitals' counts.
"""

from collections.abc import Sequence

from blockchain.closed_sums import ClosedSum, SumOpener
from blockchain.ledger.events import VoteCast
from blockchain.ledger.reader import LedgerReader
from fedward.ciphertexts.encrypted_counts import EncryptedCounts, check_counts, counts_layout
from fedward.errors import VerificationError
from fedward.figures.histograms import ScoreHistogram
from fedward.sharing.signed import SentRelease
from fedward.sharing.terms import Purpose


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

    Limits: a server can leave hospitals out, or add one's counts twice; a hospital can lie about its images as long as
    the sum looks like counts. Neither is detected here.
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
