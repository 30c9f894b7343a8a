"""A round's validation counts: what the server kept is compared with what the votes on the ledger name.

Of counts in the clear anybody can then pool the same figures as the server. A hospital opens the sum of encrypted ones
only if the ledger agrees on whose counts it is: each of them is on the round's roster and has voted, and they are at
least as many as an aggregate must have. A smaller sum would show single hospitals' counts.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from blockchain.closed_sums import ClosedSum, SumOpener
from blockchain.ledger.events import VoteCast
from blockchain.ledger.reader import LedgerReader
from fedward.ciphertexts.encrypted_counts import EncryptedCounts, check_counts, counts_layout
from fedward.ciphertexts.serialized import check_stored, sum_ciphertexts
from fedward.errors import EvidenceError, VerificationError
from fedward.figures.histograms import ScoreHistogram
from fedward.files import merkle_root, sha256
from fedward.folders.ciphertexts import CiphertextSource
from fedward.folders.round_counts import PlainCounts, RoundCounts
from fedward.messages.ballots import NO_COUNTS, counts_hash
from fedward.sharing.signed import SentRelease
from fedward.sharing.terms import Purpose
from fedward.types import Address

_SHOWN = 16  # digits of a hash
_REMEDY = "Do not use this model's thresholds; ask the server for that round's counts."


@dataclass(frozen=True)
class Difference:
    """Where kept counts are not what a vote names.

    Attributes:
        hospital: Whose.
        what: What is wrong with its counts, as in "hash to ...".
        missing: Whether they are not there, rather than others.
    """

    hospital: Address
    what: str
    missing: bool = False


def differences(kept: RoundCounts, signed: Mapping[Address, bytes], included: Set[Address]) -> Iterator[Difference]:
    """Compare a round's kept counts with its votes.

    Args:
        kept: What the server kept.
        signed: By hospital that voted: the hash of the counts that its vote names, 32 bytes; zeros: none.
        included: The hospitals whose updates are in the aggregate; only their encrypted counts are added.
    """
    kinds = {len(counts.positives) for counts in kept.plain.values()} | {
        len(names) for names in kept.encrypted.values()
    }
    for hospital in sorted({*kept.plain, *kept.encrypted}):
        named = signed.get(hospital, NO_COUNTS)
        found = _hash(kept.plain.get(hospital), kept.encrypted.get(hospital, ()))
        if named == NO_COUNTS:
            yield Difference(hospital, "are kept, and no vote of this round names any")
        elif hospital in kept.encrypted and hospital not in included:
            yield Difference(hospital, "are in the encrypted sum, and its update is not in the aggregate")
        elif found != named:
            text = f"{found.hex()[:_SHOWN]}…" if found else "nothing that any images give"
            yield Difference(hospital, f"hash to {text}, its vote names {named.hex()[:_SHOWN]}…")
        elif (kept.plain and kept.encrypted) or len(kinds) > 1:
            yield Difference(hospital, "are of another kind or number than others' in this round")
    for hospital, named in signed.items():
        wanted = named != NO_COUNTS and (not kept.encrypted or hospital in included)
        if wanted and hospital not in kept.plain and hospital not in kept.encrypted:
            yield Difference(hospital, "are named by its vote, and not kept", missing=True)


def _hash(plain: PlainCounts | None, encrypted: Sequence[str]) -> bytes:
    """What a vote names of such counts; empty where they are no counts."""
    if encrypted:
        return merkle_root([bytes.fromhex(name) for name in encrypted])
    counts = plain.histogram() if plain else None
    return counts_hash(counts, ()) if counts else b""


def added_again(kept: RoundCounts, source: CiphertextSource) -> tuple[str, ...]:
    """The SHA-256 of the sums of the kept encrypted counts, position by position, as `RoundCounts.total` has them.

    Raises:
        EvidenceError: a ciphertext is missing.
        VerificationError, EncryptionError: one is another than its hash says, or none that can be added.
    """
    return tuple(
        sha256(sum_ciphertexts(check_stored(source.chunk(name), name) for name in names)).hex()
        for names in zip(*kept.encrypted.values(), strict=True)
    )


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
