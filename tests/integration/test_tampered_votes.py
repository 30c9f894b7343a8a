"""Votes, signatures and the contract itself, forged by a server that owns the chain and mines it on rules of its own.

The machine that it mines with leaves out one check of the contract, whose code on the chain stays the true one; roots,
receipts and hashes all follow. Or it deploys other code in the contract's place from the beginning. Hospitals that run
nothing again sign what they are told.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from forged_chains import TRANSACTIONS, call, input_of, lenient_machine, sent_again, unchecked
from tampering import FORMS, FinishedRun, Tampered, audit, honest_run

from blockchain.audit.auditor import audit as examine
from blockchain.audit.report import Status, Step
from blockchain.audit.sources.evidence import RawBlock
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.ledger.calls import decode_call

G, R, X, RULES, C = Step.GENESIS, Step.ROOTS, Step.EXECUTION, Step.RULES, Step.CHECKPOINTS
ACCEPT = 3  # place in a vote


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return honest_run(tmp_path_factory.getbasetemp())


def last_vote(copy: Tampered, data: Callable[[bytes], bytes]) -> None:
    """The server relays something else than the last vote."""
    number = copy.number("castVoteFor", -1)
    relayed = copy.transaction(number)
    other = sent_again(relayed, copy.run.server, data=data(input_of(relayed)))
    copy.bodies[number - 1][TRANSACTIONS] = [other]


def turn(data: bytes) -> bytes:
    """The opposite verdict, under the signature of the true one."""
    function, (vote, signature) = decode_call(data)
    turned = [*vote[:ACCEPT], not vote[ACCEPT], *vote[ACCEPT + 1 :]]
    return call(function, [turned, signature])


def forge_a_vote(copy: Tampered) -> None:
    last_vote(copy, turn)


def count_a_vote_twice(copy: Tampered) -> None:
    first = input_of(copy.transaction(copy.number("castVoteFor", -3)))
    last_vote(copy, lambda _data: first)


def replace_the_code(copy: Tampered) -> None:
    """The same contract at the same address, but that it counts votes as often as they come."""
    data = unchecked(input_of(copy.transaction(1)), "AlreadyVoted")
    copy.bodies[0][TRANSACTIONS] = [sent_again(copy.transaction(1), copy.run.server, data=data)]


def replace_the_code_and_use_it(copy: Tampered) -> None:
    replace_the_code(copy)
    count_a_vote_twice(copy)


@dataclass(frozen=True)
class Case:
    """A forgery: what is changed, the check that the forger's machine leaves out, and the steps that must fail."""

    name: str
    forge: Callable[[Tampered], None]
    check: str
    steps: tuple[Step, ...]
    deceived: tuple[Step, ...]


CASES = [
    Case("a forged signature", forge_a_vote, "WrongSigner", (R, X, C), (R, X, C)),
    Case("a vote counted twice", count_a_vote_twice, "AlreadyVoted", (R, X, C), (R, X, C)),
    Case("the contract's code replaced", replace_the_code, "", (G, RULES, C), (G, RULES)),
    Case("the contract's code replaced and used", replace_the_code_and_use_it, "", (G, RULES, C), (G, RULES)),
]


def forged(run: FinishedRun, case: Case) -> tuple[Tampered, list[tuple[bytes, ...]]]:
    """The forged chain, with its receipts, which nobody but the forger can show."""
    copy = Tampered.of(run)
    case.forge(copy)
    made = copy.mine(lenient_machine(case.check) if case.check else None)
    before = RunEvidence(run.folder)
    assert len(copy.bodies) == sum(1 for _ in before.blocks())
    copy.vouch(made.heads)
    return copy, made.receipts


@pytest.mark.parametrize("deceived", [False, True], ids=["hospitals saw the true chain", "hospitals were deceived"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_forged_history(finished: FinishedRun, tmp_path: Path, case: Case, deceived: bool) -> None:
    copy, _ = forged(finished, case)
    if not deceived:
        copy.trust, copy.checkpoints = finished.trust, ()
    expected = case.deceived if deceived else case.steps
    verdict = audit(copy.save(FORMS[deceived], tmp_path / "copy"), copy.trust)
    assert verdict.exit_code == 7
    assert verdict.failed() == list(expected), verdict.output
    assert verdict.last.startswith(f"not verified: step {expected[0].number} {expected[0].label}")


@dataclass
class NodesWord:
    """The run folder as its node shows it: nothing is run again, receipts are believed."""

    folder: RunEvidence
    receipts: list[tuple[bytes, ...]]
    live: bool = True

    def __getattr__(self, name: str) -> object:
        return getattr(self.folder, name)

    def blocks(self) -> Iterator[RawBlock]:
        for raw in self.folder.blocks():
            yield replace(raw, receipts=self.receipts[raw.number - 1])


@pytest.mark.parametrize(
    ("case", "step"),
    [(CASES[0], Step.SIGNATURES), (CASES[1], RULES)],
    ids=["a forged signature", "a vote counted twice"],
)
def test_where_nothing_can_be_run_again_the_rules_in_python_find_it(
    finished: FinishedRun, tmp_path: Path, case: Case, step: Step
) -> None:
    copy, receipts = forged(finished, case)
    evidence = NodesWord(RunEvidence(copy.save("folder", tmp_path / "copy")), receipts)
    report = examine(evidence, copy.trust).report  # type: ignore[arg-type]
    failed = [line for line in report.in_order() if line.status is Status.FAIL]
    assert report.exit_code == 7
    assert failed[0].step is step
    assert any(line.step is step and line.round_index == 2 and "VoteCast" in line.evidence for line in failed)
