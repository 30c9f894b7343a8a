"""The report of an audit: numbered steps, each with lines that say OK, FAIL, MISSING or NOTE and give evidence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from fedward.errors import EvidenceError, FedwardError, VerificationError


class Status(Enum):
    """How a check ended."""

    OK = "OK"
    FAIL = "FAIL"  # something contradicts the ledger
    MISSING = "MISSING"  # nothing contradicts the ledger, but something that the check needs is missing
    NOTE = "NOTE"  # what a reader should know; decides nothing


class Step(Enum):
    """The numbered steps, in their order; a value is the step's number, name and question."""

    EVIDENCE = (1, "evidence", "Is everything that was handed over whole and readable?")
    GENESIS = (2, "genesis", "Does the chain begin where the hospitals say, and is the contract the known one?")
    HEADERS = (3, "headers", "Does every block follow from the one before it?")
    ROOTS = (4, "roots", "Are the transactions and receipts those that the headers name?")
    SENDERS = (5, "senders", "Is every transaction signed, and for this chain?")
    EXECUTION = (6, "execution", "Does running every transaction again give the recorded state?")
    EVENTS = (7, "events", "Do the events add up to the ledger head in the contract's storage?")
    RULES = (8, "rules", "Did every round keep the rules?")
    SIGNATURES = (9, "signatures", "Did the hospitals sign every commitment and vote?")
    CIPHERTEXTS = (10, "ciphertexts", "Are the stored ciphertexts those that were committed and recorded?")
    ADDITION = (11, "addition", "Do the included ciphertexts add up to the recorded aggregate?")
    PRIVACY = (12, "privacy", "Does the declared privacy budget follow from the recorded events?")
    CHECKPOINTS = (13, "checkpoints", "Is this the history that the hospitals saw?")
    MODEL = (14, "model", "Is the released result that of the ledger?")
    SHARES = (15, "shares", "Were the keys' shares tested, and was each sum's key released for one set only?")
    COUNTS = (16, "counts", "Are the kept validation counts those that the hospitals' votes name?")

    @property
    def number(self) -> int:
        """Its place, from 1."""
        return self.value[0]

    @property
    def label(self) -> str:
        """Its name, as shown and as in `--json`."""
        return self.value[1]

    @property
    def question(self) -> str:
        """What it asks."""
        return self.value[2]


@dataclass(frozen=True)
class Line:
    """One line of an audit.

    Attributes:
        step: Which step it belongs to.
        status: How it ended.
        evidence: One sentence: what was compared, with figures; for FAIL both sides of what differs.
        round_index: The round that it is about, or None.
        hospital: The hospital that it is about, by name or else address, or None.
        checks: Number of single comparisons behind this line.
    """

    step: Step
    status: Status
    evidence: str
    round_index: int | None = None
    hospital: str | None = None
    checks: int = 1


@dataclass
class Report:
    """Gathers lines in the order in which they are found."""

    lines: list[Line] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)  # files, and what of files, that nothing was compared with

    def ok(self, step: Step, evidence: str, **about: Any) -> None:
        """Something holds; `about`: round_index, hospital, checks."""
        self.lines.append(Line(step, Status.OK, evidence, **about))

    def fail(self, step: Step, evidence: str, **about: Any) -> None:
        """Something contradicts the ledger."""
        self.lines.append(Line(step, Status.FAIL, evidence, **about))

    def missing(self, step: Step, evidence: str, **about: Any) -> None:
        """Something that the check needs is missing."""
        self.lines.append(Line(step, Status.MISSING, evidence, **about))

    def note(self, step: Step, evidence: str, **about: Any) -> None:
        """Something that a reader should know."""
        self.lines.append(Line(step, Status.NOTE, evidence, checks=0, **about))

    def not_verified(self, what: str) -> None:
        """A file, or what of a file, that was compared with nothing: it is listed, and decides nothing."""
        if what not in self.unverified:
            self.unverified.append(what)

    @contextmanager
    def guarding(self, step: Step, **about: Any) -> Iterator[None]:
        """Turn a `FedwardError` raised inside into a line: missing evidence as MISSING, all else as FAIL."""
        try:
            yield
        except EvidenceError as error:
            self.missing(step, str(error), **about)
        except FedwardError as error:
            self.fail(step, str(error), **about)

    def failed(self, step: Step) -> bool:
        """Whether a line of a step says FAIL."""
        return any(line.step is step and line.status is Status.FAIL for line in self.lines)

    @property
    def checks_run(self) -> int:
        """Number of single comparisons that were made, those that found something missing left out."""
        return sum(line.checks for line in self.lines if line.status in (Status.OK, Status.FAIL))

    @property
    def exit_code(self) -> int:
        """0 verified, 7 something contradicts, 8 nothing contradicts but evidence is missing."""
        statuses = {line.status for line in self.lines}
        if Status.FAIL in statuses:
            return VerificationError.exit_code
        complete = statuses and Status.MISSING not in statuses
        return 0 if complete else EvidenceError.exit_code

    def in_order(self) -> list[Line]:
        """The lines by step, then round, then as found."""
        return sorted(self.lines, key=lambda line: (line.step.number, line.round_index or 0))

    def to_json(self) -> dict[str, Any]:
        """What `audit --json` prints."""
        return {
            "verified": self.exit_code == 0,
            "exit_code": self.exit_code,
            "checks_run": self.checks_run,
            "steps": [
                {
                    "name": line.step.label,
                    "status": line.status.value,
                    "round": line.round_index,
                    "hospital": line.hospital,
                    "evidence": line.evidence,
                }
                for line in self.in_order()
            ],
            "not_verified": list(self.unverified),
        }
