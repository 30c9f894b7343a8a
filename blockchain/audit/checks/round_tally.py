"""The tally of one round during an audit: counts of its calls, and the lines that report them."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from blockchain.audit.checks.rounds import readable_reason
from blockchain.audit.report import Report, Step
from blockchain.ledger.events import LedgerEvent, RoundAborted, SubmissionsClosed, UpdateCommitted, VoteCast
from blockchain.twin.rounds import LedgerModel, ModelRound
from blockchain.twin.values import ABORTED, ACCEPTED, OPEN, REJECTED, VOTING

OUTCOMES = {OPEN: "it is still open", VOTING: "it is still voted on", ACCEPTED: "accepted", REJECTED: "rejected"}

Naming = Callable[[str], str]


@dataclass
class RoundTally:
    """Counts of a round's calls.

    Attributes:
        round_index: Its number; 0: before the first.
        calls: Calls that succeeded, all as the rules allow.
        refused: Calls that were reverted while this was the latest round, as the rules demand.
        relayed, direct: Commitments and votes with an EIP-712 signature, and by the hospital's own transaction.
        forged: Commitments and votes that were not their hospital's.
        broken: Whether a call went against the rules.
        last_submission: Unix time of the last one.
        submitted: Hospitals that submitted, in that order.
        digests: By hospital, digest of the candidate that it decrypted and accepted.
        rejects: Number of votes against.
        exclusions: Place on the roster and reason, of submissions that are not in the aggregate.
        abortion: Why the round was aborted.
    """

    round_index: int
    calls: int = 0
    refused: int = 0
    relayed: int = 0
    direct: int = 0
    forged: int = 0
    broken: bool = False
    last_submission: int = 0
    submitted: list[str] = field(default_factory=list)
    digests: dict[str, bytes] = field(default_factory=dict)
    rejects: int = 0
    exclusions: Sequence[tuple[int, bytes]] = ()
    abortion: str = ""

    def count(self, timestamp: int, function: str, events: Sequence[LedgerEvent]) -> None:
        """Count one more call that followed the rules, and its events."""
        self.calls += 1
        self.relayed += function in ("submitUpdateFor", "castVoteFor")
        self.direct += function in ("submitUpdate", "castVote")
        for event in events:
            self._note(timestamp, event)

    def _note(self, timestamp: int, event: LedgerEvent) -> None:
        """Keep from an event what the lines report."""
        match event:
            case UpdateCommitted():
                self.last_submission = timestamp
                self.submitted.append(event.hospital)
            case SubmissionsClosed():
                self.exclusions = event.exclusions
            case VoteCast(accept=True):
                self.digests[event.hospital] = event.candidate_digest
            case VoteCast():
                self.rejects += 1
            case RoundAborted():
                self.abortion = readable_reason(event.reason)

    def report(self, model: LedgerModel, report: Report, name: Naming) -> None:
        """The lines of a round that kept the rules."""
        number, record = self.round_index, model.round(self.round_index)
        report.ok(Step.RULES, self._story(record), round_index=number, checks=self.calls + self.refused)
        for index, reason in self.exclusions:
            report.note(
                Step.RULES,
                f"Submitted, but not in the aggregate: {readable_reason(reason)}.",
                round_index=number,
                hospital=name(model.roster[index].account),
            )
        if record.phase == ABORTED and record.included_mask == 0 and self.submitted:
            who = ", ".join(map(name, self.submitted))
            report.note(
                Step.RULES, f"Submitted, but never added, for the round was given up: {who}.", round_index=number
            )
        self._report_candidates(record, report, name)
        self._report_signatures(report)

    def _report_candidates(self, record: ModelRound, report: Report, name: Naming) -> None:
        """Whether the votes of an accepted round agree on a candidate, counted from the votes alone; who differs."""
        number, carried = self.round_index, majority(self.digests.values(), self.rejects)
        if record.phase == ACCEPTED and carried != record.candidate_digest:
            found = "no candidate" if carried is None else f"the candidate 0x{carried[:8].hex()}…"
            text = f"It was accepted as the candidate 0x{record.candidate_digest[:8].hex()}…, its votes carry {found}."
            report.fail(Step.RULES, text, round_index=number)
        if len(set(self.digests.values())) > 1:
            who = ", ".join(f"{name(hospital)} 0x{digest[:8].hex()}…" for hospital, digest in self.digests.items())
            report.note(
                Step.RULES, f"Accepting hospitals voted for different candidate digests: {who}.", round_index=number
            )

    def _story(self, record: ModelRound) -> str:
        """The round in one sentence."""
        parts = [f"{record.submitted_mask.bit_count()} of {record.roster_mask.bit_count()} hospitals submitted"]
        if self.submitted:
            parts[0] += f", the last {record.submission_deadline - self.last_submission} s before the deadline"
        if record.included_mask:
            parts.append(
                f"{record.included_mask.bit_count()} are in the aggregate, with weight {record.included_weight} of "
                f"{record.enrolled_total}"
            )
            parts.append(f"{record.accepts} accepting and {record.rejects} rejecting votes, all in time")
        if record.witnesses:
            parts.append(f"{record.witnesses} witnesses attested")
        parts.append(OUTCOMES.get(record.phase) or f"aborted ({self.abortion})")
        return "; ".join(parts) + "."

    def _report_signatures(self, report: Report) -> None:
        """Step 9, where nothing was forged."""
        signed = self.relayed + self.direct
        if signed and not self.forged:
            report.ok(
                Step.SIGNATURES,
                f"{signed} commitments and votes are their hospital's: {self.relayed} by EIP-712 signature, "
                f"{self.direct} by its own transaction.",
                round_index=self.round_index,
                checks=signed,
            )
        elif not signed:
            report.note(Step.SIGNATURES, "Nobody committed or voted.", round_index=self.round_index)


def majority(accepted: Iterable[bytes], rejects: int) -> bytes | None:
    """The candidate that more than half of a round's votes accept; None where there is none.

    Args:
        accepted: The candidate digest of each accepting vote, 32 bytes.
        rejects: Number of votes against.
    """
    named = Counter(accepted)
    for digest, count in named.most_common(1):
        if 2 * count > named.total() + rejects:
            return digest
    return None
