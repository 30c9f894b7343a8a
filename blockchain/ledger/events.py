"""The contract's events as types: a frozen dataclass for each, with the arguments that it has in the contract.

An attribute is named as the contract's argument, in this project's way of writing: `updateRoot` is `update_root`. Only
`round` is `round_index`, as everywhere here. tests/contract/test_events.py compares names and types with the compiled
contract.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError

from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.encoding import EncodedEvent, as_address
from blockchain.ledger.records import LedgerRules
from fedward.errors import VerificationError
from fedward.types import Address

Exclusions = tuple[tuple[int, bytes], ...]  # of submitted updates that are not added: place on the roster, reason


@dataclass(frozen=True, kw_only=True)
class LedgerEvent:
    """One state change, as the contract emitted it.

    Attributes:
        ledger_head: 32 bytes; hash over all events up to and with this one.
        block: Number of its block.
        transaction_hash: 32 bytes.
    """

    ledger_head: bytes
    block: int
    transaction_hash: bytes

    @property
    def name(self) -> str:
        """The event's name in the contract."""
        return type(self).__name__


@dataclass(frozen=True, kw_only=True)
class RoundEvent(LedgerEvent):
    """An event that concerns one round."""

    round_index: int


@dataclass(frozen=True, kw_only=True)
class LedgerCreated(LedgerEvent):
    """The ledger was deployed; the first event of every history. Digests are 32 bytes."""

    chain_id: int
    ledger: Address
    settings_digest: bytes
    initial_model_digest: bytes
    rules: LedgerRules


@dataclass(frozen=True, kw_only=True)
class RoleAssigned(LedgerEvent):
    """An account got a role, which 32 bytes name: the hash of the role's name, or zeros for the admin."""

    role: bytes
    account: Address


@dataclass(frozen=True, kw_only=True)
class RoleRemoved(LedgerEvent):
    """An account lost a role, or gave it up."""

    role: bytes
    account: Address


@dataclass(frozen=True, kw_only=True)
class HospitalRegistered(LedgerEvent):
    """A hospital joined the roster, at a place that it keeps for good, with the key (32 bytes) to seal to."""

    hospital: Address
    index: int
    weight: int
    x25519_key: bytes


@dataclass(frozen=True, kw_only=True)
class HospitalRevoked(LedgerEvent):
    """A hospital left the roster for good, which starts a key epoch."""

    hospital: Address
    index: int
    key_epoch: int


@dataclass(frozen=True, kw_only=True)
class KeyRotated(LedgerEvent):
    """A hospital replaced the key (32 bytes) to seal to."""

    hospital: Address
    x25519_key: bytes


@dataclass(frozen=True, kw_only=True)
class DealerNamed(LedgerEvent):
    """A hospital was named to make the consortium's keys."""

    hospital: Address


@dataclass(frozen=True, kw_only=True)
class KeyEpochStarted(LedgerEvent):
    """A key epoch began, without a key yet: the last epoch's key was given up, or a hospital joined."""

    key_epoch: int
    started_by: Address


@dataclass(frozen=True, kw_only=True)
class ContextSet(LedgerEvent):
    """The dealer named the channel key of an epoch, by its fingerprint: 32 bytes."""

    key_epoch: int
    context_fingerprint: bytes


@dataclass(frozen=True, kw_only=True)
class RoundOpened(RoundEvent):
    """A round opened; hospitals sign the ledger head after this event. `RoundOpening` explains the attributes."""

    base_id: bytes
    context_fingerprint: bytes
    roster_mask: int
    enrolled_total: int
    submission_deadline: int
    reject_quorum: int
    min_votes: int
    threshold: int


@dataclass(frozen=True, kw_only=True)
class UpdateCommitted(RoundEvent):
    """A hospital's signed commitment was accepted; roots are 32 bytes. `decode_event` decodes the privacy event."""

    hospital: Address
    update_root: bytes
    update_bytes: int
    shares_root: bytes
    weight: int
    privacy: EncodedEvent


@dataclass(frozen=True, kw_only=True)
class SubmissionsClosed(RoundEvent):
    """The aggregate was recorded, by its hash of 32 bytes, and voting began."""

    aggregate_hash: bytes
    included_mask: int
    included_weight: int
    exclusions: Exclusions
    voting_deadline: int


@dataclass(frozen=True, kw_only=True)
class VoteCast(RoundEvent):
    """A hospital's vote was counted; digest and hashes are 32 bytes."""

    hospital: Address
    accept: bool
    candidate_digest: bytes
    counts_hash: bytes
    evidence_hash: bytes


@dataclass(frozen=True, kw_only=True)
class RoundWitnessed(RoundEvent):
    """A witness attested to the aggregate: 32 bytes, the round's own."""

    witness: Address
    aggregate_hash: bytes


@dataclass(frozen=True, kw_only=True)
class RoundAccepted(RoundEvent):
    """A round ended and its aggregate was accepted: as the candidate (32 bytes) that most of the votes name.

    The base id is that of the next round: 32 bytes.
    """

    accepts: int
    rejects: int
    candidate_digest: bytes
    base_id: bytes


@dataclass(frozen=True, kw_only=True)
class RoundRejected(RoundEvent):
    """A round ended by enough votes against its aggregate; the base id stays."""

    accepts: int
    rejects: int


@dataclass(frozen=True, kw_only=True)
class RoundAborted(RoundEvent):
    """A round ended without a decision; the base id stays. The reason is a word: ASCII, padded with zeros."""

    reason: bytes


EVENTS: dict[str, type[LedgerEvent]] = {
    kind.__name__: kind
    for kind in (
        *(LedgerCreated, RoleAssigned, RoleRemoved, HospitalRegistered, HospitalRevoked, KeyRotated, DealerNamed),
        *(KeyEpochStarted, ContextSet, RoundOpened, UpdateCommitted, SubmissionsClosed, VoteCast, RoundWitnessed),
        *(RoundAccepted, RoundRejected, RoundAborted),
    )
}


def read_event(
    topics: tuple[bytes, ...], data: bytes, block: int = 0, transaction_hash: bytes = b""
) -> LedgerEvent | None:
    """Decode an event from the chain; None for OpenZeppelin's own, which carry no ledger head.

    Args:
        topics: Words of 32 bytes, the first of which names the event.
        data: The encoded arguments that are no topics.
        block: Number of its block.
        transaction_hash: 32 bytes.

    Raises:
        VerificationError: the event is malformed.
    """
    shape = load_artifact().events().get(topics[0]) if topics else None
    if shape is None:
        return None
    try:
        values = shape.decode(topics, data)
    except (DecodingError, StopIteration, ValueError) as error:
        raise VerificationError(
            f"An event {shape.name} of block {block} is malformed.", "Compare this ledger with another copy."
        ) from error
    return event_of(shape.name, values, block, transaction_hash)


def event_of(name: str, values: Mapping[str, Any], block: int = 0, transaction_hash: bytes = b"") -> LedgerEvent:
    """Build an event from its name and its arguments as eth_abi gives them, under their names in the contract."""
    fields = {field_name(field): _ours(field, value) for field, value in values.items()}
    return EVENTS[name](block=block, transaction_hash=transaction_hash, **fields)


def contract_fields(event: LedgerEvent) -> dict[str, Any]:
    """An event's arguments under their names in the contract, the ledger head last."""
    shape = next(shape for shape in load_artifact().events().values() if shape.name == event.name)
    return {name: getattr(event, field_name(name)) for name, _, _ in shape.fields}


@functools.cache
def field_name(name: str) -> str:
    """This project's name for an argument of the contract."""
    return "round_index" if name == "round" else re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _ours(name: str, value: Any) -> Any:
    """An argument's value in this project's types; eth_abi gives only addresses as texts."""
    if isinstance(value, str):
        return as_address(value)
    return LedgerRules(*value) if name == "rules" else value
