"""The twin's values (roster places, rounds, events), its refusals as the contract's custom errors, and small checks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from eth_utils.crypto import keccak

from fedward.sharing.terms import default_threshold
from fedward.types import Address

NO_ROUND, OPEN, VOTING, ACCEPTED, REJECTED, ABORTED = range(6)
MAX_ROSTER = 128
MAX_UINT8, MAX_UINT32, MAX_UINT40, MAX_UINT128 = 2**8 - 1, 2**32 - 1, 2**40 - 1, 2**128 - 1
ADMIN_ROLE = bytes(32)
REGISTRAR_ROLE, AGGREGATOR_ROLE, WITNESS_ROLE = (
    keccak(text=f"{name}_ROLE") for name in ("REGISTRAR", "AGGREGATOR", "WITNESS")
)
NOBODY = "0x" + "0" * 40
NO_WORD = bytes(32)

Recover = Callable[[bytes, bytes], Address | None]
Exclusions = Sequence[tuple[int, bytes]]


class Refused(Exception):  # noqa: N818 - reads as what the contract did; it is an outcome, not a mishap
    """The contract would revert.

    Attributes:
        reason: Name of its custom error.
        fields: That error's arguments, in order; addresses in lower case.
    """

    def __init__(self, name: str, *fields: Any) -> None:
        super().__init__(name, *fields)
        self.reason = name
        self.fields = fields


class ModelEvent(NamedTuple):
    """An event that the contract would emit: its name, and its arguments by name, the ledger head last."""

    name: str
    values: Mapping[str, Any]


class ModelMember(NamedTuple):
    """A place on the roster, as `roster()` gives it."""

    account: str
    weight: int
    active: bool


class ModelRound(NamedTuple):
    """A round, with the members of `roundOf` in their order; masks have bit i set for place i on the roster."""

    phase: int = NO_ROUND
    reject_quorum: int = 0
    min_votes: int = 0
    threshold: int = 0
    accepts: int = 0
    agreeing: int = 0
    rejects: int = 0
    witnesses: int = 0
    submission_deadline: int = 0
    voting_deadline: int = 0
    enrolled_total: int = 0
    included_weight: int = 0
    roster_mask: int = 0
    submitted_mask: int = 0
    included_mask: int = 0
    voted_mask: int = 0
    opening_head: bytes = NO_WORD
    base_id: bytes = NO_WORD
    context_fingerprint: bytes = NO_WORD
    aggregate_hash: bytes = NO_WORD
    candidate_digest: bytes = NO_WORD


def name_word(name: str) -> bytes:
    """A short name as a word of 32 bytes."""
    return name.encode().ljust(32, b"\0")


def check_not_zero(field: str, word: bytes) -> None:
    """Refuse a word of zeros."""
    if word == NO_WORD:
        raise Refused("ZeroValue", name_word(field))


def check_equal(error: str, expected: object, given: object) -> None:
    """Refuse with this error, if the given value is not the expected one."""
    if given != expected:
        raise Refused(error, expected, given)


def check_exclusions(expected_mask: int, exclusions: Exclusions) -> None:
    """Refuse exclusions unless they name each of these places once, with a reason, and no other place."""
    named_mask = 0
    for index, reason in exclusions:
        # Places from 128 on have no bit: the contract's shift loses it.
        bit = 1 << index & MAX_UINT128
        if not expected_mask & bit or named_mask & bit or reason == NO_WORD:
            raise Refused("InvalidExclusion", index, reason)
        named_mask |= bit
    if named_mask != expected_mask:
        raise Refused("ExclusionsMissing", expected_mask, named_mask)


def resolve_quorum(quorum: int, active: int) -> int:
    """The number of votes that a rule asks for; more than half of the roster where the rule says 0."""
    if quorum > active:
        raise Refused("QuorumAboveRoster", quorum, active)
    return quorum or active // 2 + 1


def resolve_threshold(threshold: int, active: int) -> int:
    """Hospitals whose releases open an aggregate; more than two thirds of the roster where the rule says 0."""
    if threshold > active:
        raise Refused("QuorumAboveRoster", threshold, active)
    return threshold or default_threshold(active)
