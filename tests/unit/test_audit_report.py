"""What an audit's report says: its exit code, its counts, its order, and its JSON."""

import json

import pytest

from blockchain.audit.report import Report, Status, Step
from fedward.errors import EvidenceError, LedgerError, VerificationError


def report_of(*statuses: Status) -> Report:
    """A report with one line a status, each in another step."""
    report = Report()
    write = {
        Status.OK: report.ok,
        Status.FAIL: report.fail,
        Status.MISSING: report.missing,
        Status.NOTE: report.note,
    }
    for step, status in zip(Step, statuses, strict=False):
        write[status](step, "Something was compared.")
    return report


@pytest.mark.parametrize(
    ("statuses", "exit_code"),
    [
        ((Status.OK,), 0),
        ((Status.OK, Status.NOTE), 0),
        ((Status.OK, Status.MISSING), 8),
        ((Status.MISSING, Status.OK), 8),
        ((Status.OK, Status.FAIL, Status.OK), 7),
        ((Status.MISSING, Status.FAIL), 7),
        ((Status.FAIL, Status.MISSING), 7),
        ((), 8),  # an audit that compared nothing has verified nothing
    ],
)
def test_a_contradiction_outweighs_what_is_missing_and_that_outweighs_success(
    statuses: tuple[Status, ...], exit_code: int
) -> None:
    report = report_of(*statuses)
    assert report.exit_code == exit_code
    assert report.to_json()["verified"] is (exit_code == 0)
    assert report.to_json()["exit_code"] == exit_code


def test_only_comparisons_that_were_made_are_counted() -> None:
    report = Report()
    report.ok(Step.HEADERS, "40 blocks follow from the ones before.", checks=40)
    report.fail(Step.RULES, "The round was closed too early.", round_index=2, checks=2)
    report.missing(Step.CIPHERTEXTS, "A ciphertext is missing.", checks=7)
    report.note(Step.EXECUTION, "The node's word.")
    assert report.checks_run == report.to_json()["checks_run"] == 42
    assert report.failed(Step.RULES)
    assert not report.failed(Step.CIPHERTEXTS)
    assert not report.failed(Step.HEADERS)


def test_lines_stand_by_step_then_round_then_as_found() -> None:
    report = Report()
    report.ok(Step.SIGNATURES, "c", round_index=2, hospital="b")
    report.ok(Step.SIGNATURES, "d", round_index=2, hospital="a")
    report.ok(Step.SIGNATURES, "b", round_index=1)
    report.ok(Step.EVIDENCE, "a")
    assert [line.evidence for line in report.in_order()] == ["a", "b", "c", "d"]
    assert [entry["evidence"] for entry in report.to_json()["steps"]] == ["a", "b", "c", "d"]


def test_json_has_exactly_the_promised_keys() -> None:
    report = Report()
    report.fail(Step.CIPHERTEXTS, "It differs.", round_index=3, hospital="hospital-2")
    report.ok(Step.EVIDENCE, "It is whole.")
    shown = json.loads(json.dumps(report.to_json()))
    assert list(shown) == ["verified", "exit_code", "checks_run", "steps", "not_verified"]
    assert shown["steps"] == [
        {"name": "evidence", "status": "OK", "round": None, "hospital": None, "evidence": "It is whole."},
        {"name": "ciphertexts", "status": "FAIL", "round": 3, "hospital": "hospital-2", "evidence": "It differs."},
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EvidenceError("It is gone.", "Look."), Status.MISSING),
        (VerificationError("It differs.", "Look."), Status.FAIL),
        (LedgerError("It is refused.", "Look."), Status.FAIL),
    ],
)
def test_an_error_inside_a_step_becomes_its_line(error: Exception, status: Status) -> None:
    report = Report()
    with report.guarding(Step.RULES, round_index=4, hospital="hospital-1"):
        raise error
    (line,) = report.lines  # type: ignore[unreachable]  # not for one who knows that errors stop there
    assert (line.step, line.status, line.evidence) == (Step.RULES, status, str(error))
    assert (line.round_index, line.hospital) == (4, "hospital-1")


def test_a_bug_inside_a_step_is_not_taken_for_a_finding() -> None:
    report = Report()
    with pytest.raises(ZeroDivisionError), report.guarding(Step.RULES):
        raise ZeroDivisionError
    assert report.lines == []


def test_the_steps_are_numbered_without_a_gap_and_named_once() -> None:
    assert [step.number for step in Step] == list(range(1, len(Step) + 1))
    assert len({step.label for step in Step}) == len(Step)
