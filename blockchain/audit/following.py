"""A live audit: polls a node, audits again whenever a round changed, and attests as a witness."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blockchain.audit.auditor import AuditResult, audit
from blockchain.audit.checks.ciphertexts import check_round
from blockchain.audit.checks.rounds import RoundStory, tell_rounds
from blockchain.audit.report import Line, Report, Status, Step
from blockchain.audit.sources.evidence import Evidence
from blockchain.audit.sources.node_evidence import NodeEvidence
from blockchain.consortium.trust import TrustFile
from blockchain.ledger.records import RoundPhase
from fedward.errors import EvidenceError, FedwardError, LedgerError, VerificationError
from fedward.types import Address


class RememberedRounds:
    """Runs steps 10 and 11 on a growing chain, and keeps each round's lines, so that it is read and added once.

    A round that still takes updates is skipped: its list of ciphertexts may be newer than the blocks that were read. A
    round with something MISSING is checked again next time.
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[object, ...], list[Line]] = {}

    def __call__(self, story: RoundStory, evidence: Evidence, report: Report, names: Mapping[Address, Any]) -> None:
        """As `check_round`."""
        if story.closed is None and story.ended is None:
            text = f"Round {story.round_index} is open: {len(story.updates)} updates are committed, none is added yet."
            report.note(Step.CIPHERTEXTS, text, round_index=story.round_index)
            return
        roots = tuple(update.update_root for update in story.updates.values())
        key = (story.round_index, story.aggregate_hash, story.included, roots)
        if key not in self._lines:
            own = Report()
            check_round(story, evidence, own, names)
            report.lines += own.lines
            if all(line.status is not Status.MISSING for line in own.lines):
                self._lines[key] = own.lines
            return
        report.lines += self._lines[key]


@dataclass(frozen=True)
class Witness:
    """The witness that attests.

    Attributes:
        address: Its account.
        attest: Adds a round's updates again and sends the attestation, as `attest_round` does; raises what that raises.
    """

    address: Address
    attest: Callable[[int], None]


@dataclass
class Follower:
    """Follows a run over its node: audits and, as a witness, attests.

    Args:
        evidence: The node, and where the run's ciphertexts lie.
        contract: The ledger.
        trust: What the hospitals vouch for, or None.
        witness: Who attests, or None.
        tell: Takes a sentence for people.

    Attributes:
        last: The last audit; None before the first.
        stories: The rounds as the node last reported them, all unchecked.
    """

    evidence: NodeEvidence
    contract: Address
    trust: TrustFile | None
    witness: Witness | None
    tell: Callable[[str], None]
    last: AuditResult | None = None
    stories: list[RoundStory] = field(default_factory=list)
    _stage: object = None
    _check: RememberedRounds = field(default_factory=RememberedRounds)
    _owed: int = 0  # a round that waits for the attestation
    _settled: int = 0  # the last round that was attested to, or never will be

    def look(self) -> AuditResult | None:
        """Look at the chain once; returns an audit's result if a round was opened, closed or ended since, else None.

        Raises:
            EvidenceError: the node cannot be reached: look again later.
            VerificationError: its answers are unusable, or contradict each other.
        """
        height = self.evidence.refresh()
        stage: object
        try:
            self.stories = tell_rounds(self.evidence.told(), self.contract)
            stage = [(story.closed, story.ended) for story in self.stories]
        except VerificationError:  # the audit will say what is wrong
            stage = height
        if self.last is not None and stage == self._stage:
            self._attest(self.last)
            return None
        self.last = audit(self.evidence, self.trust, check_ciphertexts=self._check)
        self._stage = stage
        story = self.stories[-1] if self.stories else None
        self._owed = story.round_index if story and story.outcome is RoundPhase.VOTING else 0
        self._attest(self.last)
        return self.last

    def _attest(self, result: AuditResult) -> None:
        """Attest to the round that is voted on, if no line of the audit says FAIL."""
        owed = self._owed
        if self.witness is None or owed <= self._settled:
            return
        if any(word.witness == self.witness.address for word in self.stories[owed - 1].witnesses):
            self._settled = owed
            return
        failed = next((line for line in result.report.in_order() if line.status is Status.FAIL), None)
        if failed:
            self._settled = owed
            self.tell(f"The witness does not attest to round {owed}: {failed.evidence}")
            return
        try:
            self.witness.attest(owed)
        except FedwardError as error:
            if isinstance(error, LedgerError) and error.reason == "AlreadyWitnessed":
                self._settled = owed
                return
            again = isinstance(error, EvidenceError) or (isinstance(error, LedgerError) and not error.reason)
            self._settled = self._settled if again else owed
            self.tell(f"The witness did not attest to round {owed}{', and will try again' if again else ''}: {error}")
            return
        self._settled = owed
        self.tell(f"The witness {self.witness.address} attested to round {owed}.")
