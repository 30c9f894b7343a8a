"""Step 15 of the audit, shares: whatever is changed about who dealt, answered and released, it says so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cheats import cheating, dealing_wrong_shares
from federation import founded

from blockchain.audit.auditor import AuditResult, audit
from blockchain.audit.checks.shared_keys import Place, check_shared_keys
from blockchain.audit.report import Line, Report, Status, Step
from blockchain.audit.sources.round_keys import RoundKeys
from blockchain.audit.sources.run_evidence import RunEvidence

Change = Callable[[Any], Any]


class Finished:
    """A run of two rounds of four hospitals, in whose second one dealt wrong shares; and what its ledger tells."""

    def __init__(self, path: Path) -> None:
        self.path = path
        more = (("data.hospitals", 4), ("ledger.release-threshold", 0), ("metrics.encrypted", True))
        with founded(path, *more) as federation:
            federation.lead_round()
            with cheating(federation.grid, {4: dealing_wrong_shares(0, 1)}):
                federation.lead_round()
            self.place = Place(federation.ledger.chain_id, federation.ledger.contract)
        self.told: AuditResult = audit(RunEvidence(path), None)

    def lines(self, run: Path) -> list[Line]:
        """What the step says of a copy of the run, in which the ledger is as it was."""
        report = Report()
        with report.guarding(Step.SHARES):
            check_shared_keys(self.told.stories, RoundKeys(RunEvidence(run)), self.place, report, self.told.names)
        return report.lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("shares") / "run")


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    shutil.copytree(finished.path / "server", tmp_path / "run" / "server")
    return tmp_path / "run"


def statuses(lines: list[Line]) -> set[Status]:
    return {line.status for line in lines}


def test_an_honest_run_passes_and_the_dealer_of_wrong_shares_is_left_out_rightly(finished: Finished) -> None:
    lines = finished.lines(finished.path)
    assert statuses(lines) == {Status.OK}
    assert [line for line in finished.told.report.lines if line.step is Step.SHARES] == lines
    assert list(finished.told.stories[1].exclusions.values()) == ["WrongDealing"]
    assert sum("judgment that the round followed" in line.evidence for line in lines) == 2
    assert sum("this one sum of validation counts" in line.evidence for line in lines) == 2


def dealings(change: Change) -> Callable[[Path], None]:
    """Changes what is kept of the first round's dealings."""
    return lambda server: rewrite(server / "dealings" / "round-0001.json", change)


def releases(purpose: str, change: Change) -> Callable[[Path], None]:
    """Changes what is kept of the first round's releases."""
    return lambda server: rewrite(server / "releases" / f"round-0001-{purpose}.json", change)


def rewrite(path: Path, change: Change) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))))


def flip(text: str) -> str:
    return ("0" if text[0] != "0" else "1") + text[1:]


def first_hash(found: dict[str, Any]) -> dict[str, Any]:
    hospital = next(iter(found["hashes"]))
    found["hashes"][hospital][0] = flip(found["hashes"][hospital][0])
    return found


def without_dealer(found: dict[str, Any]) -> dict[str, Any]:
    del found["hashes"][next(iter(found["hashes"]))]
    return found


def answer_content(found: dict[str, Any]) -> dict[str, Any]:
    found["answers"][1]["content"] = found["answers"][1]["content"][:-2] + "00"
    return found


def answers_of_two(found: dict[str, Any]) -> dict[str, Any]:
    found["answers"] = found["answers"][:2]
    return found


def in_another_name(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found[0]["signed"]["release"]["hospital"] = found[1]["signed"]["release"]["hospital"]
    return found


def field(name: str, value: str) -> Change:
    def change(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found[0]["signed"]["release"][name] = value
        return found

    return change


def copied_from_second_round(server: Path) -> None:
    shutil.copy(server / "releases" / "round-0002-updates.json", server / "releases" / "round-0001-updates.json")


def round_that_never_was(server: Path) -> None:
    shutil.copy(server / "dealings" / "round-0001.json", server / "dealings" / "round-0009.json")


CHANGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a share's hash": (dealings(first_hash), "have root"),
    "a dealer fewer": (dealings(without_dealer), "nobody tested its shares"),
    "another challenge": (dealings(lambda found: found | {"ledger_head": "ab" * 32}), "none of the round's"),
    "an answer's numbers": (dealings(answer_content), "not signed for this round"),
    "too few answers": (dealings(answers_of_two), "2 hospitals answered"),
    "an answer twice": (
        dealings(
            lambda found: found | {"answers": [found["answers"][0] | {"content": found["answers"][1]["content"]}]}
        ),
        "not signed for this round",
    ),
    "a release's content": (
        releases("updates", lambda found: [found[0] | {"content": flip(found[0]["content"])}, *found[1:]]),
        "not signed for this round",
    ),
    "a release in another's name": (releases("updates", in_another_name), "not signed for this round"),
    "another set": (releases("updates", field("included_mask", "07".rjust(64, "0"))), "not signed for this round"),
    "another sum": (releases("updates", field("sum_hash", "cd" * 32)), "not signed for this round"),
    "another set of counts": (releases("counts", field("included_mask", "07".rjust(64, "0"))), "not signed"),
    "another round's releases": (copied_from_second_round, "not signed for this round"),
    "a round that never was": (round_that_never_was, "round 9, which never was"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_changed_fails(finished: Finished, copy: Path, name: str) -> None:
    change, words = CHANGED[name]
    change(copy / "server")
    lines = finished.lines(copy)
    assert any(line.status is Status.FAIL and words in line.evidence for line in lines), lines


REMOVED = {
    "dealings": (lambda server: (server / "dealings" / "round-0001.json").unlink(), "There is no dealings/round-0001"),
    "releases": (
        lambda server: (server / "releases" / "round-0001-updates.json").unlink(),
        "What hospitals released for the aggregate is not here",
    ),
    "all but two releases": (releases("updates", lambda found: found[:2]), "2 right releases"),
}


@pytest.mark.parametrize("name", REMOVED)
def test_what_is_removed_is_missing(finished: Finished, copy: Path, name: str) -> None:
    change, words = REMOVED[name]
    change(copy / "server")
    lines = finished.lines(copy)
    assert any(line.status is Status.MISSING and words in line.evidence for line in lines), lines
    assert Status.FAIL not in statuses(lines)


@pytest.mark.parametrize("name", ["releases", "all but two releases"])
def test_what_an_aborted_round_lacks_is_noted(finished: Finished, copy: Path, name: str) -> None:
    """A server that crashed between the set and the releases leaves such a round, and no result rests on it."""
    change, words = REMOVED[name]
    change(copy / "server")
    story, report = finished.told.stories[0], Report()
    story.abort_reason = "stopped"
    try:
        check_shared_keys([story], RoundKeys(RunEvidence(copy)), finished.place, report, finished.told.names)
    finally:
        story.abort_reason = None
    (line,) = [line for line in report.lines if words in line.evidence]
    assert line.status is Status.NOTE
    assert "was aborted (stopped); whether its sum was opened is not told" in line.evidence
    assert Status.MISSING not in statuses(report.lines)


def test_a_hospital_left_out_for_shares_that_fit_accuses_the_server(finished: Finished, copy: Path) -> None:
    """The ledger says that the fourth hospital dealt wrongly; with the first round's answers nothing shows that."""
    story = finished.told.stories[0]
    report = Report()
    accused = next(iter(story.updates))
    story.exclusions[accused] = "WrongDealing"
    try:
        check_shared_keys([story], RoundKeys(RunEvidence(copy)), finished.place, report, finished.told.names)
    finally:
        del story.exclusions[accused]
    assert any(
        line.status is Status.FAIL and "which the answers do not show" in line.evidence for line in report.lines
    ), report.lines
