"""Round stories: each round rebuilt from the ledger's events alone: who took part, what each did, how it ended."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from blockchain.audit.history import ExecutedBlock, ledger_events
from blockchain.ledger.encoding import decode_event, decode_mask, decode_reason
from blockchain.ledger.events import (
    HospitalRegistered,
    LedgerCreated,
    LedgerEvent,
    RoundAborted,
    RoundAccepted,
    RoundEvent,
    RoundOpened,
    RoundRejected,
    RoundWitnessed,
    SubmissionsClosed,
    UpdateCommitted,
    VoteCast,
)
from blockchain.ledger.fold import EMPTY_HEAD
from blockchain.ledger.records import RosterEntry, RoundPhase
from fedward.errors import VerificationError
from fedward.types import Address, PrivacyEvent

_REMEDY = "Compare with another copy of this ledger: the contract's code never emits this."


@dataclass(frozen=True)
class Moment:
    """A block's number and its Unix time in seconds."""

    block: int
    timestamp: int


@dataclass(frozen=True)
class CommittedUpdate:
    """What a hospital committed to.

    Attributes:
        hospital: Its address.
        at: When.
        update_root: 32 bytes; Merkle root of its ciphertexts' hashes.
        update_bytes: Total length of its ciphertexts.
        shares_root: 32 bytes; Merkle root of its sealed key shares' hashes.
        weight: Its example count.
        event: The privacy event that it declares.
        ledger_head: 32 bytes; the running hash right after it was recorded.
    """

    hospital: Address
    at: Moment
    update_root: bytes
    update_bytes: int
    shares_root: bytes
    weight: int
    event: PrivacyEvent
    ledger_head: bytes


@dataclass(frozen=True)
class RecordedVote:
    """A hospital's verdict: digest of the model that it saw, hashes of its counts and reports (32 bytes each)."""

    hospital: Address
    at: Moment
    accept: bool
    candidate_digest: bytes
    counts_hash: bytes
    evidence_hash: bytes


@dataclass(frozen=True)
class Attestation:
    """A witness's word that it added the included updates and got this hash (32 bytes)."""

    witness: Address
    at: Moment
    aggregate_hash: bytes


@dataclass
class RoundStory:
    """One round, as far as it went.

    Attributes:
        round_index: From 1.
        settings_digest: 32 bytes; of the settings that the ledger was created with, the same for all rounds.
        opened: When.
        base_id: 32 bytes; identifies the model that the round starts from.
        context_fingerprint: 32 bytes; identifies the channel key that releases are encrypted under.
        roster: The hospitals that take part, by place.
        enrolled_total: Sum of their weights.
        submission_deadline: Unix seconds.
        threshold: Hospitals whose releases open the aggregate.
        updates: What each hospital committed to, in the order of the ledger.
        closed: When the aggregate was recorded; None: not yet, or never.
        closing_head: 32 bytes; the running hash right after that; zeros until closed.
        aggregate_hash: 32 bytes; None until closed.
        included: Places on the roster whose updates are in the aggregate.
        included_weight: Sum of their weights.
        exclusions: Why a committed update is not in the aggregate, by hospital; printable ASCII.
        voting_deadline: Unix seconds; None until closed.
        votes: In the order of the ledger.
        witnesses: In the order of the ledger.
        ended: When the outcome was recorded; None: still running.
        outcome: How far the round is, or how it ended.
        candidate_digest: 32 bytes; the candidate that an accepted round's votes carry. None: not accepted.
        abort_reason: Why it was aborted, printable ASCII; None where it was not.
    """

    round_index: int
    settings_digest: bytes
    opened: Moment
    base_id: bytes
    context_fingerprint: bytes
    roster: tuple[RosterEntry, ...]
    enrolled_total: int
    submission_deadline: int
    threshold: int
    updates: dict[Address, CommittedUpdate] = field(default_factory=dict)
    closed: Moment | None = None
    closing_head: bytes = EMPTY_HEAD
    aggregate_hash: bytes | None = None
    included: tuple[int, ...] = ()
    included_weight: int = 0
    exclusions: dict[Address, str] = field(default_factory=dict)
    voting_deadline: int | None = None
    votes: list[RecordedVote] = field(default_factory=list)
    witnesses: list[Attestation] = field(default_factory=list)
    ended: Moment | None = None
    outcome: RoundPhase = RoundPhase.OPEN
    candidate_digest: bytes | None = None
    abort_reason: str | None = None

    @property
    def included_updates(self) -> tuple[CommittedUpdate, ...]:
        """The updates that the ledger says are in the aggregate, by place on the roster."""
        return tuple(self.updates[entry.address] for entry in self.roster if entry.index in self.included)

    def is_included(self, hospital: Address) -> bool:
        """Whether the ledger says that a hospital's update is in the aggregate."""
        return any(entry.address == hospital and entry.index in self.included for entry in self.roster)


def tell_rounds(blocks: Iterable[ExecutedBlock], contract: Address) -> list[RoundStory]:
    """Rebuild all rounds of a ledger from its events.

    Args:
        blocks: All blocks after block 0, in order.
        contract: The ledger.

    Returns:
        The rounds from 1, without a gap.

    Raises:
        VerificationError: an event is malformed, or does not fit those before it; nothing else, whatever the blocks.
    """
    teller = _Teller()
    for block in blocks:
        moment = Moment(block.number, block.timestamp)
        for event in ledger_events([block], contract):
            teller.hear(event, moment)
    return teller.stories


def late_joiners(blocks: Iterable[ExecutedBlock], contract: Address) -> frozenset[Address]:
    """The hospitals that joined after the last round was opened.

    Raises:
        VerificationError: an event is malformed.
    """
    late: set[Address] = set()
    for block in blocks:
        for event in ledger_events([block], contract):
            if isinstance(event, HospitalRegistered):
                late.add(event.hospital)
            elif isinstance(event, RoundOpened):
                late.clear()
    return frozenset(late)


def heads_by_height(blocks: Iterable[ExecutedBlock], contract: Address) -> dict[int, bytes]:
    """The ledger head (32 bytes) after each block, as the events carry it; zeros before the contract's first event.

    Raises:
        VerificationError: an event is malformed.
    """
    heads, head = {}, EMPTY_HEAD
    for block in blocks:
        for event in ledger_events([block], contract):
            head = event.ledger_head
        heads[block.number] = head
    return heads


class _Teller:
    """Takes the events in order and builds the stories."""

    def __init__(self) -> None:
        self.stories: list[RoundStory] = []
        self._settings_digest: bytes | None = None
        self._members: list[RosterEntry] = []

    def hear(self, event: LedgerEvent, moment: Moment) -> None:
        """Take one event in; an event that concerns no round is skipped."""
        match event:
            case LedgerCreated():
                self._settings_digest = event.settings_digest
            case HospitalRegistered():
                self._register(event)
            case RoundOpened():
                self._open(event, moment)
            case RoundEvent():
                _continue(self._running(event), event, moment)

    def _register(self, event: HospitalRegistered) -> None:
        """A place on the roster is the number of hospitals before it, and is kept for ever."""
        if event.index != len(self._members):
            raise _misfit(f"a hospital at place {event.index} where {len(self._members)} is next")
        self._members.append(RosterEntry(event.index, event.hospital, event.weight))

    def _open(self, event: RoundOpened, moment: Moment) -> None:
        """Begin the next round."""
        places = decode_mask(event.roster_mask)
        if self._settings_digest is None or event.round_index != len(self.stories) + 1:
            raise _misfit(f"the opening of round {event.round_index} where {len(self.stories) + 1} is next")
        if any(place >= len(self._members) for place in places):
            raise _misfit(f"round {event.round_index} with hospitals that are not on the roster")
        self.stories.append(
            RoundStory(
                round_index=event.round_index,
                settings_digest=self._settings_digest,
                opened=moment,
                base_id=event.base_id,
                context_fingerprint=event.context_fingerprint,
                roster=tuple(self._members[place] for place in places),
                enrolled_total=event.enrolled_total,
                submission_deadline=event.submission_deadline,
                threshold=event.threshold,
            )
        )

    def _running(self, event: RoundEvent) -> RoundStory:
        """The round that an event is about: the latest, not ended, and in the phase that the event belongs to."""
        story = self.stories[-1] if self.stories else None
        if story is None or story.round_index != event.round_index:
            raise _misfit(f"{event.name} of round {event.round_index}, which is not running")
        if story.outcome not in _PHASES[type(event)]:
            raise _misfit(f"{event.name} of round {story.round_index} while it is {story.outcome.name.lower()}")
        return story


def _continue(story: RoundStory, event: RoundEvent, moment: Moment) -> None:
    """Add an event of a running round to its story."""
    match event:
        case UpdateCommitted():
            _commit(story, event, moment)
        case SubmissionsClosed():
            _close(story, event, moment)
        case VoteCast():
            _vote(story, event, moment)
        case RoundWitnessed():
            story.witnesses.append(Attestation(event.witness, moment, event.aggregate_hash))
        case RoundAccepted():
            story.ended, story.outcome = moment, RoundPhase.ACCEPTED
            story.candidate_digest = event.candidate_digest
        case RoundRejected():
            story.ended, story.outcome = moment, RoundPhase.REJECTED
        case RoundAborted():
            story.ended, story.outcome = moment, RoundPhase.ABORTED
            story.abort_reason = readable_reason(event.reason)


def _commit(story: RoundStory, event: UpdateCommitted, moment: Moment) -> None:
    hospital = _on_roster(story, event.hospital)
    if hospital in story.updates:
        raise _misfit(f"a second update of {hospital} in round {story.round_index}")
    story.updates[hospital] = CommittedUpdate(
        hospital=hospital,
        at=moment,
        update_root=event.update_root,
        update_bytes=event.update_bytes,
        shares_root=event.shares_root,
        weight=event.weight,
        event=decode_event(event.privacy),
        ledger_head=event.ledger_head,
    )


def _close(story: RoundStory, event: SubmissionsClosed, moment: Moment) -> None:
    addresses = {entry.index: entry.address for entry in story.roster}
    included = decode_mask(event.included_mask)
    reasons = dict(event.exclusions)
    for place in (*included, *reasons):
        if addresses.get(place) not in story.updates:
            raise _misfit(f"the closing of round {story.round_index} with place {place}, which committed to nothing")
    if set(included) & set(reasons):
        raise _misfit(f"the closing of round {story.round_index} with an update both included and excluded")
    story.closed, story.outcome = moment, RoundPhase.VOTING
    story.aggregate_hash, story.closing_head = event.aggregate_hash, event.ledger_head
    story.included, story.included_weight = included, event.included_weight
    story.exclusions = {addresses[place]: readable_reason(reason) for place, reason in reasons.items()}
    story.voting_deadline = event.voting_deadline


def _vote(story: RoundStory, event: VoteCast, moment: Moment) -> None:
    hospital = _on_roster(story, event.hospital)
    if any(vote.hospital == hospital for vote in story.votes):
        raise _misfit(f"a second vote of {hospital} in round {story.round_index}")
    story.votes.append(
        RecordedVote(
            hospital=hospital,
            at=moment,
            accept=event.accept,
            candidate_digest=event.candidate_digest,
            counts_hash=event.counts_hash,
            evidence_hash=event.evidence_hash,
        )
    )


_PHASES: dict[type[RoundEvent], tuple[RoundPhase, ...]] = {
    UpdateCommitted: (RoundPhase.OPEN,),
    SubmissionsClosed: (RoundPhase.OPEN,),
    VoteCast: (RoundPhase.VOTING,),
    RoundWitnessed: (RoundPhase.VOTING,),
    RoundAccepted: (RoundPhase.VOTING,),
    RoundRejected: (RoundPhase.VOTING,),
    RoundAborted: (RoundPhase.OPEN, RoundPhase.VOTING),
}


def readable_reason(word: bytes) -> str:
    """A reason as people may be shown it: without the control characters that its writer may have put in."""
    return "".join(character if " " <= character <= "~" else "?" for character in decode_reason(word))


def _on_roster(story: RoundStory, address: Address) -> Address:
    """The hospital's address, if it takes part in the round."""
    if all(entry.address != address for entry in story.roster):
        raise _misfit(f"{address} in round {story.round_index}, where it does not take part")
    return address


def _misfit(what: str) -> VerificationError:
    return VerificationError(f"The ledger's events tell of {what}.", _REMEDY)
