"""Step 12 of an audit: epsilon follows from what was recorded, and what was recorded from the settings."""

import dataclasses
import math

import pytest
from audit_material import ADDRESSES, NAMES, NO_PRIVACY, claims, committed, lines, only, story

from blockchain.audit.checks.budget import check_privacy, recomputed_epsilon
from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Report, Status, Step
from blockchain.audit.sources.evidence import ClaimedMember, Claims
from blockchain.ledger.records import RoundPhase
from fedward import settings as setting
from fedward.errors import VerificationError
from fedward.privacy.accounting import epsilon
from fedward.privacy.mechanism import expected_event
from fedward.types import HospitalId, PrivacyEvent

CHUNKS = (b"any",)
PRIVATE = setting.load(None, ("privacy.mode", "update"), ("privacy.noise-multiplier", 2.0), ("privacy.clip-norm", 0.5))
EVENT = expected_event(PRIVATE.privacy)
ROSTER = tuple(ClaimedMember(HospitalId(NAMES[address]), address, 10) for address in ADDRESSES)


def rounds(*events: PrivacyEvent, digest: bytes = PRIVATE.digest()) -> list[RoundStory]:
    """An accepted round in which each of the first hospitals declares one of these, a rejected and an aborted one."""
    updates = [committed(place, CHUNKS, event) for place, event in enumerate(events)]
    places = range(len(events))
    return [
        story(updates, bytes([9]) * 32, included=places, settings_digest=digest),
        story(
            updates,
            bytes([8]) * 32,
            included=places,
            settings_digest=digest,
            round_index=2,
            outcome=RoundPhase.REJECTED,
        ),
        story(updates, settings_digest=digest, round_index=3, outcome=RoundPhase.ABORTED, abort_reason="quorum lost"),
    ]


def stated(*values: float, **changes: object) -> Claims:
    epsilons = {member.hospital: value for member, value in zip(ROSTER, values, strict=False)}
    usual = {"settings": PRIVATE.guaranteed(), "roster": ROSTER, "epsilons": epsilons, "delta": EVENT.delta}
    return claims(**(usual | changes))


def checked(told: list[RoundStory], said: Claims) -> Report:
    report = Report()
    check_privacy(told, said, report, NAMES)
    return report


def test_epsilon_counts_every_round_whatever_became_of_it() -> None:
    spent = epsilon([EVENT] * 3)
    assert spent
    report = checked(rounds(EVENT, EVENT), stated(spent, spent))
    assert {line.status for line in report.lines} == {Status.OK}
    texts = [line.evidence for line in report.lines if line.hospital]
    assert texts[0] == (
        f"hospital-1: epsilon {spent:.6g} at delta 1e-05, unit hospital, from 3 events, as the run states."
    )
    assert texts[2] == "hospital-3: no differential privacy was declared, in 0 events."
    assert "6 updates declare the privacy event" in report.lines[1].evidence


@pytest.mark.parametrize("wrong", [0.0, 1.0, math.inf, math.nan, -1.0])
def test_another_epsilon_than_the_recorded_one_is_found(wrong: float) -> None:
    spent = epsilon([EVENT] * 3)
    line = only(checked(rounds(EVENT), stated(wrong)), Step.PRIVACY, Status.FAIL)
    assert line.hospital == "hospital-1"
    assert repr(wrong) in line.evidence
    assert repr(spent) in line.evidence


@pytest.mark.parametrize(("change", "holds"), [(-1e-10, True), (1e-10, True), (-1e-8, False)])
def test_epsilon_is_compared_to_nine_digits(change: float, holds: bool) -> None:
    spent = epsilon([EVENT] * 3)
    assert spent
    assert checked(rounds(EVENT), stated(spent * (1 + change))).failed(Step.PRIVACY) is not holds


@pytest.mark.parametrize("told", [rounds(EVENT), rounds()], ids=["some arrived", "none arrived"])
def test_a_hospital_that_spent_more_than_arrived_is_noted_and_not_accused(told: list[RoundStory]) -> None:
    """Charged before it leaves: an update that came too late, or was cut short by a crash, is spent all the same."""
    more = epsilon([EVENT] * 5)
    assert more
    report = checked(told, stated(more, releases={HospitalId("hospital-1"): 5}))
    assert "more releases than reached the ledger" in only(report, Step.PRIVACY, Status.NOTE).evidence
    assert not report.failed(Step.PRIVACY)


@pytest.mark.parametrize("releases", [{}, {HospitalId("hospital-1"): 3}, {HospitalId("hospital-1"): 4}])
def test_a_larger_epsilon_than_its_releases_make_is_found(releases: dict[HospitalId, int]) -> None:
    """As of less noise than was declared: whoever states it says that the declared events are not the true ones."""
    noisier = epsilon([dataclasses.replace(EVENT, noise_multiplier=EVENT.noise_multiplier / 2)] * 3)
    assert noisier
    assert only(checked(rounds(EVENT), stated(noisier, releases=releases)), Step.PRIVACY, Status.FAIL)


def test_leaving_out_the_rejected_round_is_found() -> None:
    fewer = epsilon([EVENT] * 2)
    assert fewer
    assert only(checked(rounds(EVENT), stated(fewer)), Step.PRIVACY, Status.FAIL)


def test_another_delta_is_found() -> None:
    spent = epsilon([EVENT] * 3)
    assert spent
    line = only(checked(rounds(EVENT), stated(spent, delta=1e-6)), Step.PRIVACY, Status.FAIL)
    assert "delta 1e-06" in line.evidence


def test_leaving_out_an_update_for_an_event_that_is_right_is_found() -> None:
    told = rounds(EVENT, EVENT)
    told[0].exclusions, told[0].included = {ADDRESSES[1]: "WrongPrivacyEvent"}, (0,)
    line = only(checked(told, stated(delta=None)), Step.PRIVACY, Status.FAIL)
    assert (line.hospital, line.round_index) == ("hospital-2", 1)


def with_budget(**changes: float) -> Claims:
    """A run whose settings have a budget, or a target, and whose hospital states what it spent."""
    tables = {name.replace("_", "-"): value for name, value in changes.items()}
    agreed = PRIVATE.guaranteed()
    agreed["privacy"] = {**agreed["privacy"], **tables}
    return stated(delta=None, settings=agreed)


@pytest.mark.parametrize("key", ["budget", "target_epsilon"])
@pytest.mark.parametrize(("share", "holds"), [(1.0, True), (1.001, True), (0.999, False), (0.5, False)])
def test_more_than_the_agreed_budget_is_found(key: str, share: float, holds: bool) -> None:
    spent = epsilon([EVENT] * 3)
    assert spent
    said = with_budget(**{key: spent * share})
    assert said.settings is not None
    report = checked(rounds(EVENT, digest=setting.digest_of(said.settings)), said)
    found = [line for line in report.lines if line.hospital == "hospital-1" and "budget" in line.evidence]
    assert [line.status for line in found] == [Status.OK if holds else Status.FAIL]
    assert report.failed(Step.PRIVACY) is not holds


def test_the_budget_goes_before_the_target() -> None:
    spent = epsilon([EVENT] * 3)
    assert spent
    said = with_budget(budget=spent / 2, target_epsilon=spent * 2)
    assert said.settings is not None
    report = checked(rounds(EVENT, digest=setting.digest_of(said.settings)), said)
    assert f"more than the budget of {spent / 2:g}" in only(report, Step.PRIVACY, Status.FAIL).evidence


def test_a_run_that_states_nothing_still_learns_its_epsilon() -> None:
    report = checked(rounds(EVENT), stated(delta=None))
    assert any(line.evidence.endswith("from 3 events; the run states none.") for line in report.lines)
    assert report.exit_code == 0


def test_less_noise_than_the_settings_ask_for_fails_where_added_and_is_noted_where_not() -> None:
    weak = dataclasses.replace(EVENT, noise_multiplier=0.5)
    report = checked(rounds(weak), stated(delta=None))
    failed = lines(report, Step.PRIVACY, Status.FAIL)
    assert [line.round_index for line in failed] == [1, 2]
    assert "noise multiplier 0.5 where the settings have 2.0" in failed[0].evidence
    assert failed[0].hospital == "hospital-1"
    assert only(report, Step.PRIVACY, Status.NOTE).round_index == 3


def test_no_privacy_where_none_is_asked_for_holds() -> None:
    plain = setting.load()
    report = checked(rounds(NO_PRIVACY, digest=plain.digest()), stated(settings=plain.guaranteed(), delta=None))
    assert {line.status for line in report.lines} == {Status.OK}
    assert any("no differential privacy was declared, in 3 events" in line.evidence for line in report.lines)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_an_epsilon_without_any_privacy_is_found(value: float) -> None:
    plain = setting.load()
    told = rounds(NO_PRIVACY, digest=plain.digest())
    line = only(checked(told, stated(value, settings=plain.guaranteed())), Step.PRIVACY, Status.FAIL)
    assert "declare no differential privacy" in line.evidence


def test_private_and_open_updates_of_one_hospital_are_both_said() -> None:
    told = rounds(EVENT)
    told[2].updates[ADDRESSES[0]] = dataclasses.replace(told[2].updates[ADDRESSES[0]], event=NO_PRIVACY)
    report = checked(told, stated(delta=None))
    assert any("committed 1 updates without differential privacy" in line.evidence for line in report.lines)


def test_an_epsilon_of_somebody_unknown_is_found() -> None:
    line = only(checked(rounds(EVENT), stated(epsilons={HospitalId("ghost"): 1.0})), Step.PRIVACY, Status.FAIL)
    assert line.hospital == "ghost"


# ---- settings -------------------------------------------------------------------------------------------------------


def test_other_settings_than_the_ledgers_are_found() -> None:
    changed = setting.replace(PRIVATE, "training.rounds", 7)
    report = checked(rounds(EVENT), stated(settings=changed.guaranteed(), delta=None))
    line = only(report, Step.PRIVACY, Status.FAIL)
    assert PRIVATE.digest().hex() in line.evidence
    assert changed.digest().hex() in line.evidence


def test_missing_settings_are_missing_evidence() -> None:
    report = checked(rounds(EVENT), stated(settings=None, delta=None))
    assert only(report, Step.PRIVACY, Status.MISSING)
    assert report.exit_code == 8


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"privacy": 5},
        {"privacy": {"mode": "update"}},
        {"privacy": {**PRIVATE.guaranteed()["privacy"], "mode": "sample"}},
        {"privacy": {**PRIVATE.guaranteed()["privacy"], "noise-multiplier": 10**400}},
        {"privacy": {1: 2}},
        {"privacy": {"mode": b"bytes"}},
    ],
)
def test_damaged_settings_fail_and_raise_nothing(tables: dict[str, object]) -> None:
    assert checked(rounds(EVENT), stated(settings=tables, delta=None)).exit_code == 7


def test_a_ledger_without_rounds_has_spent_nothing() -> None:
    report = checked([], stated(delta=None))
    assert not report.failed(Step.PRIVACY)
    assert only(report, Step.PRIVACY, Status.NOTE)


# ---- events that no accountant can count ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"noise_multiplier": 0.0},
        {"noise_multiplier": 1e-30},
        {"noise_multiplier": 1e-200},
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.5},
        {"sampling_rate": 3.4e8},
        {"sampling_rate": 1e-30, "noise_multiplier": 1e-30},
        {"sampling_rate": 0.5, "noise_multiplier": 1e-3},
        {"steps": 0},
        {"steps": 2**32 - 1, "noise_multiplier": 1e-20},
        {"delta": 0.0},
        {"delta": 1.0},
        {"delta": 3.4e8},
    ],
)
def test_an_event_without_a_finite_epsilon_fails_and_raises_nothing_else(change: dict[str, float]) -> None:
    event = dataclasses.replace(EVENT, **change)  # type: ignore[arg-type]
    try:
        found = recomputed_epsilon([event])
    except VerificationError:
        pass
    else:
        assert found is not None
        assert math.isfinite(found)
    report = checked(rounds(event), stated(1.0))
    assert any(line.hospital == "hospital-1" for line in lines(report, Step.PRIVACY, Status.FAIL))


@pytest.mark.parametrize("change", [{"noise_multiplier": 0.0}, {"sampling_rate": 1.5}, {"delta": 1.0}, {"steps": 0}])
def test_what_bounds_nothing_has_no_epsilon(change: dict[str, float]) -> None:
    with pytest.raises(VerificationError):
        recomputed_epsilon([dataclasses.replace(EVENT, **change)])  # type: ignore[arg-type]
