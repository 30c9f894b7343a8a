"""An audit from beginning to end: runs the numbered steps of `Step` in order over one source of evidence."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from blockchain.attribution import Lot
from blockchain.audit.checks.agreed import check_agreed
from blockchain.audit.checks.budget import check_privacy
from blockchain.audit.checks.ciphertexts import check_round
from blockchain.audit.checks.counts import CheckedCounts, check_counts
from blockchain.audit.checks.left_out import check_left_out
from blockchain.audit.checks.replay import HistoryChecker
from blockchain.audit.checks.result import check_listed_rounds, check_result, check_roster, list_unread
from blockchain.audit.checks.rounds import RoundStory, heads_by_height, late_joiners, tell_rounds
from blockchain.audit.checks.rules import check_events, check_rules
from blockchain.audit.checks.shared_keys import Place, check_shared_keys
from blockchain.audit.checks.trusted import check_trust
from blockchain.audit.history import ExecutedBlock, ledger_events
from blockchain.audit.report import Report, Status, Step
from blockchain.audit.sources.evidence import Claims, Evidence
from blockchain.audit.sources.released import WithResult
from blockchain.audit.sources.round_keys import RoundKeys, WithRoundKeys
from blockchain.consortium.trust import TrustFile
from blockchain.ledger.events import LedgerCreated
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.folders.ciphertexts import RoundFiles
from fedward.progress import Progress, silent
from fedward.types import Address, HospitalId


class CheckedEvidence(Evidence, Protocol):
    """A source of evidence that can check whether it is complete."""

    def check_members(self, report: Report) -> None:
        """Check that every part of the source is there and intact; adds lines of step 1."""


@runtime_checkable
class ListedEvidence(Protocol):
    """A source that lists the rounds whose ciphertexts it knows of."""

    def rounds(self) -> tuple[int, ...]:
        """Their numbers, in order."""

    def round_files(self, round_index: int) -> RoundFiles:
        """Which ciphertexts make up a round."""


@runtime_checkable
class NodeWord(Protocol):
    """A source that can report what the contract's storage holds, as a node can."""

    def recorded_head(self) -> bytes:
        """The ledger head there (32 bytes); `EvidenceError` or `VerificationError` where the node gives none."""


class RoundCheck(Protocol):
    """Checks a round's ciphertexts, as `check_round` does."""

    def __call__(
        self, story: RoundStory, evidence: Evidence, report: Report, names: Mapping[Address, HospitalId]
    ) -> None:
        """Add the lines of the steps CIPHERTEXTS and ADDITION."""


@dataclass
class AuditResult:
    """What an audit found.

    Attributes:
        source: What was audited, as text for people.
        report: The lines of all steps; the exit code follows from them alone.
        claims: What the run says of itself; None where it could not be read.
        names: Hospitals by address, from the trust file, else as the run names them.
        stories: The rounds as the ledger tells them; empty where it could not be read.
        checkpoints: What the hospitals signed: the trust file's, and those that came with the evidence.
    """

    source: str
    report: Report = field(default_factory=Report)
    claims: Claims | None = None
    names: Mapping[Address, HospitalId] = field(default_factory=dict)
    stories: Sequence[RoundStory] = ()
    checkpoints: Sequence[SignedCheckpoint] = ()


def audit(
    evidence: CheckedEvidence,
    trust: TrustFile | None,
    progress: Progress = silent,
    check_ciphertexts: RoundCheck = check_round,
) -> AuditResult:
    """Verify a run from what was handed over and what the hospitals vouch for, without any key.

    Args:
        evidence: What was handed over; none of it is trusted.
        trust: What the hospitals vouch for; None: then the history may be wholly invented, and the audit ends
            with evidence missing at best.
        progress: Told how many blocks were executed, and then how many rounds' ciphertexts were added.
        check_ciphertexts: Runs steps 10 and 11 for a round.

    Guarantees:
        1. Every step has at least one line, whatever is broken; a step that could not be run says MISSING.
        2. Whatever the evidence's bytes are, no `FedwardError` is raised.
    """
    result = AuditResult(evidence.source)
    _examine(result, evidence, trust, progress, check_ciphertexts)
    _account_for_all_steps(result)
    return result


def _examine(
    result: AuditResult,
    evidence: CheckedEvidence,
    trust: TrustFile | None,
    progress: Progress,
    check_ciphertexts: RoundCheck,
) -> None:
    """Run all steps; return early where later steps have nothing to check."""
    report = result.report
    with report.guarding(Step.EVIDENCE):
        evidence.check_members(report)
    reading, claims = Report(), list[Claims]()
    with reading.guarding(Step.EVIDENCE):
        claims.append(evidence.claims())
    result.claims = claims[0] if claims else None
    report.lines += [line for line in reading.lines if line not in report.lines]  # step 1 may have said it already
    ledger = trust or result.claims
    if ledger is None:
        return
    result.names = _names(trust, result.claims)

    # The ledger that the trust file names is audited. Where the run names another one, step 13 fails.
    genesis_hash = trust.genesis_hash if trust else None
    checker = HistoryChecker(evidence, report, ledger.chain_id, ledger.contract, genesis_hash, progress)
    blocks: list[ExecutedBlock] = []
    with report.guarding(Step.EXECUTION):
        blocks = checker.run()
    if not blocks:
        return
    with report.guarding(Step.EVENTS):
        head = checker.contract_head()
        if evidence.live and isinstance(evidence, NodeWord):
            head = evidence.recorded_head()
        check_events(blocks, ledger.contract, head, report)
    with report.guarding(Step.RULES):
        check_rules(blocks, ledger.contract, ledger.chain_id, report, result.names)
    if result.claims:
        with report.guarding(Step.RULES):
            check_agreed(blocks, ledger.contract, result.claims, report)
    told = _tell_rounds(result, ledger, blocks)
    gap = _gap(checker, report)
    for index, story in enumerate(result.stories, start=1):
        with report.guarding(Step.CIPHERTEXTS, round_index=story.round_index), _beyond(gap, report, story, result):
            check_ciphertexts(story, evidence, report, result.names)
        progress(index, len(result.stories))
    if result.claims is None:
        return
    if told:  # without the rounds, nothing tells what was spent
        with report.guarding(Step.PRIVACY), _beyond(gap, report, None, result):
            check_privacy(result.stories, result.claims, report, result.names)
    _examine_trust(result, evidence, trust, checker, blocks)
    if told and gap is None:
        _examine_shares(result, evidence, Place(ledger.chain_id, ledger.contract))
        counts = _examine_counts(result, evidence)
        with report.guarding(Step.MODEL):
            _examine_result(result, evidence, result.claims, ledger.contract, blocks, counts)


def _tell_rounds(result: AuditResult, ledger: TrustFile | Claims, blocks: Sequence[ExecutedBlock]) -> bool:
    """Rebuild the rounds, and check who was left out of them; says whether the rounds could be told."""
    report, told = result.report, False
    with report.guarding(Step.RULES):
        result.stories = tell_rounds(blocks, ledger.contract)
        told = True
        if result.claims:
            lot = Lot(ledger.chain_id, ledger.contract)
            check_left_out(result.stories, result.claims, lot, report, result.names)
    return told


def _examine_result(
    result: AuditResult,
    evidence: CheckedEvidence,
    claims: Claims,
    contract: Address,
    blocks: Sequence[ExecutedBlock],
    counts: CheckedCounts,
) -> None:
    """Step 14: compare what was released with the ledger."""
    report, stories = result.report, result.stories
    listed: dict[int, RoundFiles] = {}
    if isinstance(evidence, ListedEvidence):
        for index in evidence.rounds():
            with report.guarding(Step.CIPHERTEXTS, round_index=index):
                listed[index] = evidence.round_files(index)
        check_listed_rounds(evidence.rounds(), stories, report)
    check_roster(claims, stories, late_joiners(blocks, contract), report)
    if isinstance(evidence, WithResult):
        created = (event for event in ledger_events(blocks, contract) if isinstance(event, LedgerCreated))
        initial = next((event.initial_model_digest for event in created), None)
        check_result(evidence.released(), claims, stories, initial, listed, counts, report)
    else:
        list_unread(claims, report, bundle=not evidence.live)


def _examine_shares(result: AuditResult, evidence: CheckedEvidence, place: Place) -> None:
    """Step 15: check what was dealt, answered and released, where the source holds it."""
    report = result.report
    with report.guarding(Step.SHARES):
        if isinstance(evidence, WithRoundKeys):
            check_shared_keys(result.stories, RoundKeys(evidence), place, report, result.names)
        else:
            report.missing(Step.SHARES, "This source holds nothing about the rounds' shared keys.")


def _examine_counts(result: AuditResult, evidence: CheckedEvidence) -> CheckedCounts:
    """Step 16: compare what was kept of validation counts with the votes, where the source holds it."""
    report = result.report
    if isinstance(evidence, WithRoundKeys):
        with report.guarding(Step.COUNTS):
            return check_counts(result.stories, RoundKeys(evidence), evidence, report, result.names)
    else:
        report.missing(Step.COUNTS, "This source holds no validation counts.")
    return CheckedCounts()


def _gap(checker: HistoryChecker, report: Report) -> Step | None:
    """The step that shows that recorded transactions are missing from those that ran here; None: none is missing."""
    chain = (Step.HEADERS, Step.ROOTS, Step.EXECUTION)
    if checker.complete and not any(report.failed(step) for step in chain):
        return None
    bad = {line.step for line in report.lines if line.status in (Status.FAIL, Status.MISSING)}
    return next((step for step in chain if step in bad), Step.EVIDENCE)


@contextmanager
def _beyond(gap: Step | None, report: Report, story: RoundStory | None, result: AuditResult) -> Iterator[None]:
    """Turn a hospital's FAIL into MISSING where the part of the history that is missing may explain it.

    Where the history is incomplete, a commitment that is not in it may still have been made, so its absence says
    nothing against the hospital. Two kinds of lines change: ciphertexts without a commitment, in the round in which the
    history breaks off, and an epsilon that the events in the history do not add up to.

    Args:
        gap: The step that found the history incomplete, and itself says FAIL or MISSING; None: the history is complete.
        report: Takes the lines.
        story: The round whose ciphertexts are checked in the `with` block; None: budgets are checked there.
        result: Has the hospitals' names.
    """
    start = len(report.lines)
    yield
    if gap is None or (story and story.ended):
        return
    committed = {str(result.names.get(address, address)) for address in story.updates} if story else set()
    for place, line in enumerate(report.lines[start:], start=start):
        about_absence = line.hospital is not None and line.hospital not in committed
        if line.status is Status.FAIL and about_absence and (story or line.round_index is None):
            told = f"{line.evidence} That may follow from step {gap.number} ({gap.label}): the history is not whole."
            report.lines[place] = replace(line, status=Status.MISSING, evidence=told)


def _examine_trust(
    result: AuditResult,
    evidence: CheckedEvidence,
    trust: TrustFile | None,
    checker: HistoryChecker,
    blocks: Sequence[ExecutedBlock],
) -> None:
    """Step 13: compare the chain with what the hospitals saw."""
    report, claims = result.report, result.claims
    handed_over: tuple[SignedCheckpoint, ...] = ()
    with report.guarding(Step.CHECKPOINTS):
        handed_over = evidence.checkpoints()
    result.checkpoints = tuple(dict.fromkeys((*(trust.checkpoints if trust else ()), *handed_over)))
    if claims is None or checker.genesis_hash is None:
        return
    with report.guarding(Step.CHECKPOINTS):
        contract = trust.contract if trust else claims.contract
        heads = heads_by_height(blocks, contract)
        seen = (checker.block_hashes, heads, checker.genesis_hash, result.stories, handed_over)
        check_trust(claims, *seen, trust, report, late_joiners(blocks, contract))


def _names(trust: TrustFile | None, claims: Claims | None) -> dict[Address, HospitalId]:
    """Hospitals by address: as the trust file names them, or without a trust file as the run does."""
    if trust:
        return {address: hospital for hospital, address in trust.hospitals.items()}
    return {member.address: member.hospital for member in claims.roster} if claims else {}


def _account_for_all_steps(result: AuditResult) -> None:
    """Give every step without a line one that says that it was not checked, and why."""
    report = result.report
    told = {line.step for line in report.lines}
    bad = [line.step for line in report.in_order() if line.status in (Status.FAIL, Status.MISSING)]
    for step in Step:
        if step in told:
            continue
        earlier = [each for each in bad if each.number < step.number] or bad
        if earlier:
            cause = earlier[0]
            report.missing(step, f"Not checked, because step {cause.number} ({cause.label}) did not succeed.")
        elif not result.stories:
            report.note(step, "There is nothing to check yet: no round was opened.")
        else:
            report.missing(step, "Not checked: nothing was found that this step could compare.")
