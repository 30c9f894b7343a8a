"""Rounds of privacy mode `sample`: what is recorded, what is refused, and what a crash costs."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from expected_replies import failure_in, submission_in
from federation import Federation, founded
from flwr.app import Message
from shared_runs import SharedRuns

import client
import server
from blockchain.ledger.records import RoundPhase
from fedward import local_update
from fedward import settings as setting
from fedward.ciphertexts.packing import round_plan
from fedward.errors import BudgetError, QuorumError, ResourceError
from fedward.files import read_lines
from fedward.folders.hospital import HospitalFolder
from fedward.messages import wire
from fedward.privacy.accounting import PrivacyLedger, epsilon
from fedward.privacy.mechanism import expected_event
from fedward.tables import Scalar
from fedward.types import HospitalId, ModelUpdate, Partition, SampledUpdate

SAMPLE: tuple[tuple[str, Scalar], ...] = (
    ("privacy.mode", "sample"),
    ("privacy.sampling-rate", 0.5),
    ("privacy.steps", 2),
    ("privacy.noise-multiplier", 2.0),
)


@pytest.fixture
def private(tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run", *SAMPLE) as federation:
        yield federation


def record(federation: Federation, number: int) -> PrivacyLedger:
    return PrivacyLedger(federation.folder.hospital(HospitalId(f"hospital-{number}")).privacy_record)


def cost(rounds: int) -> float:
    found = epsilon([expected_event(setting.load(None, *SAMPLE).privacy)] * rounds)
    assert found
    return found


def test_what_each_hospital_spent_is_on_the_ledger_as_in_its_own_record(private: Federation) -> None:
    metrics = [private.lead_round() for _ in range(2)]
    assert [entry["phase"] for entry in metrics] == ["accepted", "accepted"]
    assert [entry["train_loss"] for entry in metrics] == [None, None], "a loss without noise stays at home"
    event = expected_event(private.settings.privacy)
    assert (event.mode, event.unit, event.sampling_rate, event.steps) == ("sample", "patient", 0.5, 2)
    for number, member in enumerate(private.folder.server.load_record().roster, start=1):
        assert private.ledger.privacy_events(member.address) == {1: event, 2: event}
        assert record(private, number).spent() == [event] * 2
        assert epsilon(record(private, number).spent()) == cost(2)


def test_two_runs_of_the_same_seed_are_not_noised_alike(tmp_path: Path) -> None:
    models = []
    for name in ("a", "b"):
        with founded(tmp_path / name, *SAMPLE) as federation:
            federation.lead_round()
            folder = federation.folder.hospital(HospitalId("hospital-1"))
            models.append(folder.load_candidate())
    assert models[0]
    assert models[1]
    assert not (models[0].weights == models[1].weights).all()


def test_a_hospital_whose_budget_is_spent_leaves_and_the_others_go_on(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", *SAMPLE, ("privacy.budget", cost(2))) as federation:
        own = record(federation, 1)
        own.charge(1, expected_event(federation.settings.privacy))  # of an earlier run, say
        before = own.spent()
        assert federation.lead_round()["submitted"] == 3
        spent = own.spent()
        assert len(spent) == len(before) + 1
        trained, really = [], local_update.train_privately

        def noting(partition: Partition, *arguments: Any, **named: Any) -> SampledUpdate:
            trained.append(partition.hospital)
            return really(partition, *arguments, **named)

        with mock.patch("fedward.local_update.train_privately", noting):
            metrics = federation.lead_round()
        assert trained == ["hospital-2", "hospital-3"], "a refusal comes before training"
        assert metrics["phase"] == "accepted"
        assert metrics["submitted"] == 2
        assert "beyond the budget" in str(metrics["failures"])
        assert "per patient" in str(metrics["failures"])
        assert own.spent() == spent, "what was refused is not charged"
        with pytest.raises(BudgetError) as stopped:
            federation.lead_round()
        assert stopped.value.exit_code == 4
        assert len(record(federation, 2).spent()) == 2


def test_a_run_that_paid_for_an_aborted_round_ends_with_the_model_it_has(
    tmp_path: Path, shared_runs: SharedRuns
) -> None:
    with shared_runs.federation(
        tmp_path / "run", *SAMPLE, ("privacy.budget", cost(2)), ("training.rounds", 2)
    ) as federation:
        for number in (1, 2, 3):
            record(federation, number).charge(1, expected_event(federation.settings.privacy))  # then the power failed
        server.lead_rounds(federation.server())
        phases = [federation.ledger.round(index).phase for index in (1, 2)]
        assert phases == [RoundPhase.ACCEPTED, RoundPhase.ABORTED]
        assert [len(record(federation, number).spent()) for number in (1, 2, 3)] == [2, 2, 2]
        last = json.loads(read_lines(federation.folder.server.progress)[-1])
        assert (last["event"], last["decided"]) == ("budget-spent", 1)
        assert "beyond the budget" in last["what"]


def test_a_pause_ends_a_run_after_its_round_and_it_goes_on_later(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", *SAMPLE, ("training.rounds", 3)) as federation:
        folder = federation.folder.server
        folder.ask_to_pause()
        server.lead_rounds(federation.server())
        assert federation.ledger.latest_round() == 0, "it was asked before the first round"
        folder.pause.unlink()
        real, led = server.decide, list[int]()

        def decide(*arguments: Any) -> Any:
            led.append(arguments[1].round_index)
            folder.ask_to_pause()  # while the first round runs
            return real(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server, "decide", decide)
            server.lead_rounds(federation.server())
        assert led == [1, 2], "the second was opened with the decision on the first, and is led to its end"
        assert [federation.ledger.round(at).phase for at in (1, 2)] == [RoundPhase.ACCEPTED] * 2
        assert federation.ledger.latest_round() == 2


def test_a_run_without_budget_for_one_round_fails(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", *SAMPLE, ("privacy.budget", cost(1) / 2)) as federation:
        with pytest.raises(BudgetError):
            server.lead_rounds(federation.server())
        assert record(federation, 1).spent() == []


def test_an_aborted_round_stays_spent(private: Federation) -> None:
    private.grid.absent = frozenset({2, 3})
    with pytest.raises(QuorumError):
        private.lead_round()
    assert len(record(private, 1).spent()) == 1
    private.grid.absent = frozenset()
    private.lead_round()
    assert [len(record(private, number).spent()) for number in (1, 2, 3)] == [2, 1, 1]


def test_a_crash_between_charge_and_submission_is_charged_once_more_and_a_retry_never_again(
    private: Federation,
) -> None:
    private.server().ledger.open_round()
    request = Message(wire.round_records(1, {}), dst_node_id=1, message_type="train")
    private.grid.absent = frozenset({1})  # asked by hand below
    private.grid.push_messages([request])
    request, context = private.grid.requests[0], private.context(1)
    with mock.patch.object(HospitalFolder, "save_submission", side_effect=ResourceError("The disk is full.", "Wait.")):
        assert failure_in(client.take_part(request, context)).exit_code == ResourceError.exit_code
    event = expected_event(private.settings.privacy)
    assert record(private, 1).spent() == [event], "on the disk before anything is kept or sent"
    replies = [client.take_part(request, context) for _ in range(3)]
    assert record(private, 1).spent() == [event] * 2
    chunks = round_plan(len(private.initial), 3, private.settings).chunks
    sent = [submission_in(reply, chunks) for reply in replies]
    assert sent[0].signed == sent[1].signed == sent[2].signed
    assert sent[0].chunks == sent[1].chunks == sent[2].chunks


# ---- a record that is older than the ledger -----------------------------------------------------------------------


@pytest.mark.parametrize("case", ["lost", "older copy"])
def test_a_hospital_whose_record_lacks_what_it_released_gives_nothing(private: Federation, case: str) -> None:
    own = private.folder.hospital(HospitalId("hospital-1")).privacy_record
    private.lead_round()
    copy = own.read_bytes()
    private.lead_round()
    whole = own.read_bytes()
    if case == "lost":
        own.unlink()
    else:
        own.write_bytes(copy)
    with mock.patch("fedward.local_update.train_privately", side_effect=local_update.train_privately) as trained:
        metrics = private.lead_round()
    assert trained.call_count == 2, "a refusal comes before training"
    assert (metrics["phase"], metrics["submitted"], metrics["accepts"]) == ("accepted", 2, 3)
    assert f"older than the ledger, which has an update of this hospital in round {1 if case == 'lost' else 2}" in str(
        metrics["failures"]
    )
    assert [rejection["reason"] for rejection in metrics["rejections"]] == ["Abstained"]  # type: ignore[attr-defined]
    own.write_bytes(whole)
    assert private.lead_round()["submitted"] == 3, "the newest copy has every release; the abstention was none"
    assert len(record(private, 1).spent()) == 3


def test_a_folder_that_went_back_amid_a_round_does_not_let_a_second_update_out(private: Federation) -> None:
    private.server().ledger.open_round()
    folder = private.folder.hospital(HospitalId("hospital-1"))
    request = Message(wire.round_records(1, {}), dst_node_id=1, message_type="train")
    private.grid.push_messages([request])
    request, context = private.grid.requests[0], private.context(1)
    stored = folder.load_submission(1)
    assert stored
    shutil.rmtree(folder.path / "outbox")
    folder.privacy_record.unlink()
    for committed in (False, True):
        if committed:
            private.server().ledger.submit_for(stored.signed)
        with mock.patch("fedward.local_update.train_privately", side_effect=BudgetError("It would train.", "")):
            failure = failure_in(client.take_part(request, context))
        assert ("older than the ledger" in failure.what) is committed
    assert record(private, 1).spent() == []


# ---- no outcome is free -------------------------------------------------------------------------------------------


def test_a_round_whose_training_came_to_nothing_is_charged(private: Federation) -> None:
    really = local_update.train_privately

    def diverging(partition: Partition, *arguments: Any, **named: Any) -> SampledUpdate:
        update = really(partition, *arguments, **named)
        if partition.hospital != "hospital-1":
            return update
        return dataclasses.replace(update, delta=np.full_like(update.delta, np.nan))

    with mock.patch("fedward.local_update.train_privately", diverging):
        metrics = private.lead_round()
    assert metrics["submitted"] == 2
    assert "not finite" in str(metrics["failures"])
    assert [len(record(private, number).spent()) for number in (1, 2, 3)] == [1, 1, 1]


def test_in_mode_update_training_that_came_to_nothing_does_not_show(tmp_path: Path, shared_runs: SharedRuns) -> None:
    really = local_update.train

    def diverging(partition: Partition, *arguments: Any) -> ModelUpdate:
        update = really(partition, *arguments)
        if partition.hospital != "hospital-1":
            return update
        return dataclasses.replace(update, delta=np.full_like(update.delta, np.inf), loss=float("nan"))

    with (
        shared_runs.federation(tmp_path / "run", ("privacy.mode", "update")) as federation,
        mock.patch("fedward.local_update.train", diverging),
    ):
        metrics = federation.lead_round()
        assert (metrics["submitted"], metrics["failures"], metrics["rejections"]) == (3, [], [])
        assert [len(record(federation, number).spent()) for number in (1, 2, 3)] == [1, 1, 1]
