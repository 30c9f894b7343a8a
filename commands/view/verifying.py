"""Verifies one round: the steps of an audit for it and for the history that it rests on, in a thread of its own."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blockchain.audit.auditor import AuditResult
from blockchain.audit.checks.ciphertexts import check_round
from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Line, Report, Status, Step
from blockchain.audit.sources.evidence import Evidence
from commands.view.pages import page
from commands.view.shelf import Run
from fedward.errors import FedwardError
from fedward.types import Address, HospitalId

# What is asked of the history as a whole: a round stands in it.
_HISTORY = (
    Step.EVIDENCE, Step.GENESIS, Step.HEADERS, Step.ROOTS, Step.SENDERS, Step.EXECUTION, Step.EVENTS, Step.RULES,
    Step.SIGNATURES, Step.CHECKPOINTS,
)  # fmt: skip
_WORST = (Status.FAIL, Status.MISSING, Status.NOTE, Status.OK)


@dataclass
class Verification:
    """The verification of one round.

    Attributes:
        round_index: The round.
        done: How many blocks or rounds of those that there are were looked at.
        of: How many there are; 0 before that is known.
        result: What the audit found; None while it goes on.
        problem: Why it broke off; "" where it did not.
    """

    round_index: int
    done: int = 0
    of: int = 0
    result: AuditResult | None = None
    problem: str = ""

    def progress(self, done: int, of: int) -> None:
        """Take note of how far it is."""
        self.done, self.of = done, of

    @property
    def ended(self) -> bool:
        """Whether there is something to show."""
        return self.result is not None or bool(self.problem)


@dataclass(frozen=True)
class OneRound:
    """Steps 10 and 11 for one round; the others' ciphertexts are not read."""

    round_index: int

    def __call__(
        self, story: RoundStory, evidence: Evidence, report: Report, names: Mapping[Address, HospitalId]
    ) -> None:
        """As `check_round`."""
        if story.round_index == self.round_index:
            check_round(story, evidence, report, names)


class Verifier:
    """Verifies one round at a time, and keeps what it found of each until that is asked for anew.

    Args:
        reading: Held while a run's store is read.
    """

    def __init__(self, reading: threading.Lock) -> None:
        self._reading, self._starting = reading, threading.Lock()
        self._known: dict[tuple[Path, int], Verification] = {}

    def of(self, run: Run, round_index: int) -> Verification | None:
        """The last verification of a round; None where there was none."""
        return self._known.get((run.path, round_index))

    def start(self, run: Run, round_index: int) -> bool:
        """Begin; says whether it did, for there is one at a time."""
        with self._starting:
            if not all(each.ended for each in self._known.values()):
                return False
            made = self._known[run.path, round_index] = Verification(round_index)
        threading.Thread(target=self._verify, args=(run.path, made), daemon=True).start()
        return True

    def _verify(self, path: Path, made: Verification) -> None:
        from commands.audit.examination import audited

        try:
            with self._reading:
                made.result = audited(path, None, OneRound(made.round_index), made.progress)
        except (FedwardError, OSError) as error:
            made.problem = f"The audit broke off: {error}"
        finally:  # whatever else went wrong is told in the terminal, and the page must not wait for ever
            if not made.ended:
                made.problem = "The audit broke off: the terminal says why."


def verification_page(run: Run, index: int, found: Verification | None) -> str:
    """How far it is, or what was found."""
    lines = found.result.report.in_order() if found and found.result else []
    own = [line for line in lines if line.round_index == index]
    history = [line for line in lines if line.round_index is None and line.step in _HISTORY]
    both = {line.status for line in (*own, *history)}
    return page(
        "verification",
        run=run,
        index=index,
        live=bool(found and not found.ended),
        found=found,
        own=_by_step(own),
        history=_by_step(history),
        checks=sum(line.checks for line in (*own, *history)),
        worst=next((status.value for status in _WORST if status in both), Status.MISSING.value),
    )


def _by_step(lines: list[Line]) -> list[tuple[int, str, str, list[Line]]]:
    """Each step's number, question and worst status, with its lines."""
    found = []
    for step in dict.fromkeys(line.step for line in lines):
        of_step = [line for line in lines if line.step is step]
        worst = next(status.value for status in _WORST if any(line.status is status for line in of_step))
        found.append((step.number, step.question, worst, of_step))
    return found
