"""Values on the ledger: roster entries, rules, key in force, reasons, a round's opening, phase and outcome."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from blockchain.ledger.encoding import encode_mask
from fedward.types import Address

# Reasons to exclude an update whose commitment the contract has accepted; an audit checks them again.
WRONG_PRIVACY_EVENT, CHUNK_MISMATCH, MALFORMED_CIPHERTEXT, SHARES_MISMATCH = (
    "WrongPrivacyEvent",
    "ChunkMismatch",
    "MalformedCiphertext",
    "SharesMismatch",
)
# Reasons to leave out an update that nothing is wrong with: `blockchain.attribution`.
LEFT_OUT, SUSPENDED = "LeftOut", "Suspended"
REFUSED_WHEN_COMMITTED = (WRONG_PRIVACY_EVENT, CHUNK_MISMATCH, MALFORMED_CIPHERTEXT, SHARES_MISMATCH)


class RoundPhase(Enum):
    """How far a round is; it only ever moves to a later phase, and the last three are final."""

    OPEN = 1
    VOTING = 2
    ACCEPTED = 3
    REJECTED = 4
    ABORTED = 5


class LedgerHead(NamedTuple):
    """One moment of the ledger: block height, block hash (32 bytes) and running hash over all events (32 bytes)."""

    height: int
    block_hash: bytes
    ledger_head: bytes


class KeyContext(NamedTuple):
    """The key in force: epoch, from 1; fingerprint, 32 bytes, zeros while not set; dealer, None while none is named."""

    epoch: int
    fingerprint: bytes
    dealer: Address | None


@dataclass(frozen=True)
class LedgerRules:
    """The rules of every round, as fixed at deployment; a quorum of 0 is more than half of a round's roster.

    Attributes:
        min_included: Fewest updates in an aggregate.
        reject_quorum: Rejecting votes that reject a round.
        min_votes: Votes without which a round is aborted.
        release_threshold: Hospitals whose releases open an aggregate; 0: more than two thirds of a round's roster.
        submission_duration_s: Seconds from a round's opening in which updates are taken.
        voting_duration_s: Seconds from the recording of the aggregate in which votes and attestations are taken.
        witness_required: Whether a round is accepted only if a witness has attested to its aggregate.
    """

    min_included: int
    reject_quorum: int
    min_votes: int
    release_threshold: int
    submission_duration_s: int
    voting_duration_s: int
    witness_required: bool


@dataclass(frozen=True)
class RosterEntry:
    """A hospital that takes part in a round.

    Attributes:
        index: Its place on the roster, from 0; it never changes.
        address: Its account.
        weight: Its enrolled example count.
    """

    index: int
    address: Address
    weight: int


def encode_set(roster: Sequence[RosterEntry], included: Iterable[int]) -> int:
    """A set of hospitals as releases name it: bit i for the i-th hospital on a round's roster, from 0.

    Not by places, as the ledger's own masks: who is on a roster and in which order a hospital has agreed to, and which
    places they have it knows from its node only. Told others, it would release for another set under the same mask.

    Args:
        roster: The round's.
        included: Places on it; others are passed over.
    """
    inside = set(included)
    return encode_mask(number for number, entry in enumerate(roster) if entry.index in inside)


@dataclass(frozen=True)
class RoundOpening:
    """What was fixed when a round was opened.

    Attributes:
        round_index: From 1.
        ledger_head: 32 bytes; the running hash right after the opening.
        base_id: 32 bytes; identifies the model that the round starts from.
        context_fingerprint: 32 bytes; identifies the channel key that releases are encrypted under.
        roster: The hospitals that take part.
        enrolled_total: Sum of their weights.
        submission_deadline: Unix seconds; the last at which an update is taken.
        threshold: Hospitals whose releases open the round's aggregate.
    """

    round_index: int
    ledger_head: bytes
    base_id: bytes
    context_fingerprint: bytes
    roster: tuple[RosterEntry, ...]
    enrolled_total: int
    submission_deadline: int
    threshold: int


@dataclass(frozen=True)
class RoundRecord:
    """How far a round is: phase, votes, and which updates its aggregate includes.

    Attributes:
        round_index: From 1.
        phase: How far the round is.
        base_id: 32 bytes; identifies the model that the round started from.
        aggregate_hash: 32 bytes; zeros until submissions are closed.
        included: Places on the roster whose updates are in the aggregate.
        included_weight: Sum of their weights.
        enrolled_total: Sum of all weights at the opening.
        submissions, accepts, rejects: Numbers of hospitals.
        agreeing: The most accepting votes that name one and the same candidate.
        candidate_digest: 32 bytes; the candidate that they name, zeros before the first of them.
        witnesses: Number of witnesses who attested to the aggregate.
        reject_quorum, min_votes, threshold: The round's rules, resolved at its opening.
        submission_deadline, voting_deadline: Unix seconds, the last at which either is taken; the latter 0 until
            submissions are closed.
    """

    round_index: int
    phase: RoundPhase
    base_id: bytes
    aggregate_hash: bytes
    included: tuple[int, ...]
    included_weight: int
    enrolled_total: int
    submissions: int
    accepts: int
    rejects: int
    agreeing: int
    candidate_digest: bytes
    witnesses: int
    reject_quorum: int
    min_votes: int
    threshold: int
    submission_deadline: int
    voting_deadline: int
