"""The end of runs that did not go as planned: what was lost on the way is missed, not invented."""

import time
from pathlib import Path
from unittest import mock

import pytest
from federation import PRIVATE_SCATTER, Federation
from shared_runs import SharedRuns

from commands.simulate.conclusion import conclude
from fedward.errors import BudgetError, ResourceError
from fedward.figures.histograms import UNDECIDED
from fedward.folders.server import ServerFolder
from fedward.learning.model_file import load_card
from fedward.privacy.accounting import PrivacyLedger, epsilon
from fedward.privacy.mechanism import expected_event
from fedward.timing import Stopwatch
from fedward.types import HospitalId


def summary_of(federation: Federation) -> dict[str, object]:
    """What `conclude` leaves in `summary.json`."""
    return conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())


def test_a_round_whose_line_was_lost_is_written_down_after_the_restart(
    tmp_path: Path, shared_runs: SharedRuns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full when the round, decided on the ledger, is to be logged: its model is in force all the same."""

    def full(_folder: ServerFolder, _metrics: dict[str, object]) -> None:
        raise ResourceError("The disk is full.", "Make room.")

    with shared_runs.federation(tmp_path / "run") as federation:
        with monkeypatch.context() as patched:
            patched.setattr(ServerFolder, "log_round", full)
            with pytest.raises(ResourceError):
                federation.lead_round()
        assert federation.folder.server.rounds() == []
        assert federation.server().decided_rounds() == 1
        assert federation.server().decided_rounds() == 1
        (line,) = federation.folder.server.rounds()
        assert (line["round"], line["phase"]) == (1, "accepted")
        assert line["ledger_head"] == federation.ledger.head().ledger_head.hex()
        assert summary_of(federation)["rounds"] == {"opened": 1, "accepted": 1, "rejected": 0, "aborted": 0}
        assert load_card(federation.folder.model).thresholds == tuple(line["thresholds"]), (
            "of the counts that were kept"
        )
        (federation.folder.server.counts.path / "round-0001.json").unlink()
        assert summary_of(federation)["rounds"]["accepted"] == 1
        assert load_card(federation.folder.model).thresholds == (UNDECIDED,)
    told = " ".join(capsys.readouterr().err.split())
    assert "Of the last accepted round there are no validation figures" in told
    assert "the model is the initial one" not in told


def test_a_run_that_accepted_nothing_says_so_also_where_a_round_was_interrupted(
    tmp_path: Path, shared_runs: SharedRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    with shared_runs.federation(tmp_path / "run") as federation:
        federation.ledger.open_round()
        assert federation.server().decided_rounds() == 0  # aborts it, as after every restart
        with mock.patch("client.accepts", return_value=False):
            assert federation.lead_round()["phase"] == "rejected"
        assert summary_of(federation)["rounds"] == {"opened": 2, "accepted": 0, "rejected": 1, "aborted": 1}
    assert "No round was accepted, so the model is the initial one" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("mode", "unit"), [("none", None), ("update", "hospital"), ("sample", "patient")])
def test_privacy_is_accounted_and_reported(
    tmp_path: Path, shared_runs: SharedRuns, mode: str, unit: str | None
) -> None:
    chosen = (*PRIVATE_SCATTER, ("privacy.mode", mode), ("privacy.delta", 1e-6))
    with shared_runs.federation(tmp_path / "run", *chosen) as federation:
        for _ in range(2):
            assert federation.lead_round()["phase"] == "accepted"
        told = summary_of(federation)["privacy"]
        spent = epsilon([expected_event(federation.settings.privacy)] * 2)
    assert told == {"mode": mode, "unit": unit, "epsilon": spent, "delta": 1e-6 if unit else None}
    assert (spent is None) == (unit is None)


def test_bytes_a_parameter_are_those_of_updates_where_everybody_abstained_at_last(
    tmp_path: Path, shared_runs: SharedRuns
) -> None:
    with shared_runs.federation(tmp_path / "run", *PRIVATE_SCATTER, ("privacy.budget", 4.0)) as federation:
        federation.lead_round()
        event = expected_event(federation.settings.privacy)
        for number in (1, 2, 3):
            own = PrivacyLedger(federation.folder.hospital(HospitalId(f"hospital-{number}")).privacy_record)
            for _ in range(50):
                own.charge(1, event)
        with pytest.raises(BudgetError):
            federation.lead_round()
        assert federation.ledger.submission_count() == 6
        encryption = summary_of(federation)["encryption"]
    assert isinstance(encryption, dict)
    assert encryption["bytes_per_parameter"] > 8, "not the 74 bytes of an abstention"
