"""An audit from beginning to end: the numbered steps of `Step`, in a straight line."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from blockchain.audit.checks.budget import check_privacy
from blockchain.audit.checks.ciphertexts import check_round
from blockchain.audit.checks.replay import HistoryChecker
from blockchain.audit.checks.rounds import RoundStory, heads_by_height, late_joiners, tell_rounds
from blockchain.audit.checks.rules import check_events, check_rules
from blockchain.audit.checks.trusted import check_trust
from blockchain.audit.history import ExecutedBlock
from blockchain.audit.report import Report, Status, Step
from blockchain.audit.sources.evidence import Claims, Evidence
from blockchain.consortium.trust import TrustFile
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.progress import Progress, silent
from fedward.types import Address, HospitalId


class CheckedEvidence(Evidence, Protocol):
    """A source that can say whether it is whole."""

    def check_members(self, report: Report) -> None:
        """Compare what was handed over with its own list; lines of step 1."""


@runtime_checkable
class NodeWord(Protocol):
    """A source that can be asked what the contract's storage holds."""

    def recorded_head(self) -> bytes:
        """The ledger head there (32 bytes); raises `EvidenceError` or `VerificationError` where it does not say."""


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
        source: What was audited, for people.
        report: The lines of all steps; it alone decides.
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
        evidence: What was handed over; nothing of it is believed.
        trust: What the hospitals vouch for; None: then the history may be wholly invented, and the audit ends
            with evidence missing at best.
        progress: Told how many blocks were executed, and then how many rounds' ciphertexts were added.
        check_ciphertexts: Makes the steps 10 and 11 for a round.

    Guarantees:
        1. Every step has at least one line, whatever is broken; a step that could not be made says MISSING.
        2. Whatever the evidence's bytes are, no `FedwardError` comes out.
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
    """Steps 1 to 13; returns early where nothing more can be told."""
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

    # What the trust file says is what is audited: a run that names another contract is shown that it lies.
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
    told = False
    with report.guarding(Step.RULES):
        result.stories = tell_rounds(blocks, ledger.contract)
        told = True
    gap = _gap(checker, report)
    for index, story in enumerate(result.stories, start=1):
        with report.guarding(Step.CIPHERTEXTS, round_index=story.round_index), _beyond(gap, report, story, result):
            check_ciphertexts(story, evidence, report, result.names)
        progress(index, len(result.stories))
    if result.claims is None:
        return
    if told:  # else nobody knows what was spent
        with report.guarding(Step.PRIVACY), _beyond(gap, report, None, result):
            check_privacy(result.stories, result.claims, report, result.names)
    _examine_trust(result, evidence, trust, checker, blocks)


def _gap(checker: HistoryChecker, report: Report) -> Step | None:
    """The step that shows that the transactions which ran here are not all that were recorded; None: they are."""
    chain = (Step.HEADERS, Step.ROOTS, Step.EXECUTION)
    if checker.complete and not any(report.failed(step) for step in chain):
        return None
    bad = {line.step for line in report.lines if line.status in (Status.FAIL, Status.MISSING)}
    return next((step for step in chain if step in bad), Step.EVIDENCE)


@contextmanager
def _beyond(gap: Step | None, report: Report, story: RoundStory | None, result: AuditResult) -> Iterator[None]:
    """Blame nobody for what he did after the history broke off: what he did may be in the part that is not here.

    A FAIL that only says that a hospital's commitment is not on the ledger becomes MISSING: a hospital's ciphertexts
    in the round that was broken off, and an epsilon that the events which are here do not add up to.

    Args:
        gap: The step that found the gap, which says FAIL or MISSING by itself; None: there is none.
        report: Takes the lines.
        story: The round whose ciphertexts are looked at; None: budgets are.
        result: Who is who.
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
    """Step 13: compare with what the hospitals saw."""
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
    """Who is who: the hospitals' own word before the run's."""
    if trust:
        return {address: hospital for hospital, address in trust.hospitals.items()}
    return {member.address: member.hospital for member in claims.roster} if claims else {}


def _account_for_all_steps(result: AuditResult) -> None:
    """A step without a line was not made: say so, and why."""
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
