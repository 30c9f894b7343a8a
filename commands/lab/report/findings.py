"""Sorts what was measured into the areas of NIST AI 100-2, and lists beside it what was not.

Vassilev et al. 2025, "Adversarial Machine Learning: A Taxonomy and Terminology of Attacks and Mitigations" (NIST AI
100-2e2025), divides attacks on predictive models by the stage of learning, and the attacker's goals, capabilities and
knowledge: evasion, poisoning, privacy. Its identifiers (NISTAML.nnn) are that edition's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blockchain.audit.auditor import AuditResult
from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Status, Step
from blockchain.ledger.records import RoundPhase
from commands.lab.report.results import LabResult
from commands.lab.report.run_facts import RunFacts
from commands.lab.sheets import Sheet

OF_RUN, OF_METHOD, NOT_MEASURED = "this run", "the method, not this run", "not measured"

TAXONOMY = (
    "Areas and terms are those of NIST AI 100-2e2025 (Vassilev et al. 2025, Adversarial Machine Learning: A Taxonomy"
    " and Terminology of Attacks and Mitigations), for predictive models."
)


@dataclass(frozen=True)
class Line:
    """One thing that was measured, or was not.

    Attributes:
        what: What is asked.
        result: The answer in words, with its interval where it has one.
        basis: `OF_RUN`, `OF_METHOD` or `NOT_MEASURED`.
        command: What measures it, as it is typed.
    """

    what: str
    result: str
    basis: str
    command: str


@dataclass(frozen=True)
class Area:
    """One kind of attack, or of protection.

    Attributes:
        name: Its name.
        threat: Who attacks, in the taxonomy's terms: stage, goal, capability, knowledge.
        lines: What is known.
        tables: Of labs, under the basis on which they rest.
    """

    name: str
    threat: str
    lines: tuple[Line, ...]
    tables: tuple[tuple[str, Sheet], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Known:
    """All that a report is made of.

    Attributes:
        run: The run's folder, as it was given.
        facts: What the run says of itself.
        audit: What its audit found.
        results: What labs found, by their names.
    """

    run: Path
    facts: RunFacts
    audit: AuditResult = field(repr=False)
    results: Mapping[str, Sequence[LabResult]] = field(repr=False)

    def basis(self, result: LabResult) -> str:
        """On what a lab's result rests."""
        return OF_RUN if result.is_of(self.facts.model.weights_sha256) else OF_METHOD

    @property
    def audit_command(self) -> str:
        """What audits the run."""
        return f"main.py audit {self.run}"


def areas_of(known: Known) -> tuple[Area, ...]:
    """All areas."""
    return (
        Area("Diagnosis", "Nobody attacks: the model on test images of patients not trained on.", _scores(known)),
        Area(
            "Evasion",
            "Stage: deployment. Goal: integrity violations, a wrong diagnosis (NISTAML.022 evasion, NISTAML.025"
            " black-box evasion). Capability: testing data control, an image changed by little. Knowledge: white-box,"
            " the model is known; or black-box, as the columns say.",
            _of_lab(known, "robustness", "Images that are attacked before diagnosis"),
            _tables(known, "robustness"),
        ),
        Area(
            "Poisoning",
            "Stage: training. Goal: integrity violations (NISTAML.023 backdoor poisoning, NISTAML.024 targeted"
            " poisoning, NISTAML.026 model poisoning) or availability breakdown (NISTAML.011 model poisoning)."
            " Capability: training data control, model control: a hospital that sends what it likes. Knowledge:"
            " white-box.",
            (*_votes(known), *_of_lab(known, "backdoor", "Attacks of a hospital, and what finds them")),
            _tables(known, "backdoor"),
        ),
        Area(
            "Privacy",
            "Stage: training and deployment. Goal: privacy compromises: data reconstruction from updates (NISTAML.032),"
            " membership inference from models (NISTAML.033). Capability: the server's or a hospital's view, as each"
            " row says. Knowledge: white-box, or the model's scores alone.",
            (
                _budget(known),
                *_bounds(known),
                *_of_lab(known, "leakage-run", "Images rebuilt from what each party of this run holds"),
                *_of_lab(known, "leakage", "Images rebuilt from updates"),
                *_of_lab(known, "membership", "Patients told to have been trained on"),
            ),
            (
                *_tables(known, "leakage-run"),
                *_tables(known, "leakage"),
                *_tables(known, "membership"),
            ),
        ),
        Area(
            "Encryption",
            "Goal: privacy compromises. Capability: the server's, who gets ciphertexts, and any disk or cable.",
            (_encryption(known), *_of_lab(known, "image-encryption", "Images that hide their label from classifiers")),
            _tables(known, "image-encryption"),
        ),
        Area(
            "Record",
            "Goal: another history than the one that happened. Capability: to write the ledger's or the run's files.",
            (_entry(known), *_audited(known)),
        ),
    )


def _scores(known: Known) -> tuple[Line, ...]:
    command = f"main.py evaluate {known.run} --data DATA"
    if known.facts.scores is None:
        return (Line("Accuracy and AUC", "no test images were scored", NOT_MEASURED, command),)
    pooled = known.facts.scores.pooled
    return tuple(
        Line(
            f"{title}, {pooled.n:,} images of {pooled.patients:,} patients",
            measured(value, pooled.intervals.get(name)),
            OF_RUN,
            command,
        )
        for name, title, value in (("accuracy", "Accuracy", pooled.accuracy), ("auc", "AUC", pooled.auc))
    )


def measured(value: float | None, ends: Sequence[float] | None) -> str:
    """A figure with its interval of 95 %."""
    if value is None:
        return "undefined on these images"
    return f"{value:.4f}" + (f" (95 %: {ends[0]:.4f} to {ends[1]:.4f})" if ends else " (no interval can be given)")


def _of_lab(known: Known, lab: str, what: str) -> tuple[Line, ...]:
    """What a lab said, or that nobody asked it."""
    found = known.results.get(lab, ())
    if not found:
        words = f"leakage --run {known.run}" if lab == "leakage-run" else lab
        return (Line(what, "not measured", NOT_MEASURED, f"main.py lab {words} --full --data DATA --out DIR"),)
    return tuple(Line(what, each.verdict or "see the tables", known.basis(each), each.command) for each in found)


def _tables(known: Known, lab: str) -> tuple[tuple[str, Sheet], ...]:
    return tuple(
        (f"lab {lab} on {each.data}: of {known.basis(each)}", sheet)
        for each in known.results.get(lab, ())
        for sheet in each.sheets
    )


def _votes(known: Known) -> tuple[Line, ...]:
    facts = known.facts
    told = f"{facts.rounds.accepted} accepted, {facts.rounds.rejected} rejected, {facts.rounds.aborted} aborted"
    lines = [Line(f"How {facts.rounds.opened} rounds ended", told, OF_RUN, known.audit_command)]
    if facts.attack is not None:
        lines.append(Line("Attack that was simulated", "this run has a malicious hospital", OF_RUN, "main.py simulate"))
    count = len(facts.objections)
    lines.append(Line("Objections of hospitals' detectors", f"{count}", OF_RUN, known.audit_command))
    return tuple(lines)


def _budget(known: Known) -> Line:
    privacy = known.facts.privacy
    if privacy.epsilon is None:
        return Line("Privacy budget", "none is stated: training added no noise", OF_RUN, known.audit_command)
    told = f"epsilon at most {privacy.epsilon:.4g} for a {privacy.unit}, delta {privacy.delta:g}"
    return Line("Privacy budget", told, OF_RUN, known.audit_command)


def _bounds(known: Known) -> tuple[Line, ...]:
    """What epsilon is at least, of trainings that state one."""
    lines = []
    for result in known.results.get("membership", ()):
        for row in result.summary["rows"]:
            if row["preset"] and row["stated"] is not None:
                told = f"at least {row['bound']['epsilon']:.2f}, stated at most {row['stated']:.2f}: {row['verdict']}"
                planted = "" if row["noise"] == 1 else "Planted mistake: "
                lines.append(Line(f"{planted}Epsilon of {row['name']}", told, known.basis(result), result.command))
    command = "main.py lab membership --full --data DATA --out DIR"
    return tuple(lines) or (Line("Epsilon from below", "not measured", NOT_MEASURED, command),)


def _encryption(known: Known) -> Line:
    facts = known.facts.encryption
    told = (
        f"CKKS, ring degree {facts.ring_degree:,}, {facts.security_bits} bits of security by the standard's table; "
        f"sums are {'exact' if facts.exact else 'approximate'}, a wrong value in the run has a chance of "
        f"at most {facts.wrong_decode_in_run:.1e}"
    )
    return Line("Updates on their way to the server", told, OF_RUN, f"main.py info {known.run} --plan")


def last_accepted(stories: Sequence[RoundStory]) -> RoundStory | None:
    """The round whose candidate is the model in force; None where the initial model is."""
    accepted = [story for story in stories if story.outcome is RoundPhase.ACCEPTED]
    return accepted[-1] if accepted else None


def _entry(known: Known) -> Line:
    """Whether the ledger has the model's digest, and where."""
    what, story, digest = "The model's entry in the ledger", last_accepted(known.audit.stories), known.facts.model
    if story is None or story.ended is None or story.candidate_digest is None:
        return Line(what, "no accepted round was found in the ledger", NOT_MEASURED, known.audit_command)
    same = story.candidate_digest == digest.weights_sha256
    told = f"round {story.round_index}, block {story.ended.block:,}: 0x{story.candidate_digest.hex()}"
    return Line(what, told if same else f"CONTRADICTS: {told} is another model's", OF_RUN, known.audit_command)


def _audited(known: Known) -> tuple[Line, ...]:
    """How the audit ended, and each step that does not hold."""
    report, lines = known.audit.report, []
    verdict = {0: "verified", 7: "something contradicts the ledger", 8: "evidence is missing"}[report.exit_code]
    lines.append(Line("Audit", f"{verdict}; {report.checks_run:,} checks", OF_RUN, known.audit_command))
    for each in report.in_order():
        if each.status in (Status.FAIL, Status.MISSING):
            basis = OF_RUN if each.status is Status.FAIL else NOT_MEASURED
            name = f"Audit, step {each.step.number}, {each.step.label}: {each.status.value}"
            lines.append(Line(name, each.evidence, basis, known.audit_command))
    return tuple(lines)


def model_step_fails(known: Known) -> bool:
    """Whether the released result is not the ledger's."""
    return known.audit.report.failed(Step.MODEL)
