"""The lab of membership on a few drawn images: who memorized is found, nothing is found of nothing, bounds hold."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_units import in_this_process

from commands.lab import membership
from commands.lab.membership import Asked, run_lab
from commands.lab.membership_tables import sheets
from fedward.errors import DataError, UsageError, VerificationError
from fedward.labs.membership import summary as verdicts
from fedward.labs.membership.likelihood import likelihood_ratios
from fedward.labs.membership.plan import EPSILON_1, GAUSSIAN, MEMORIZED, NULL, PLAIN, QUICK, RESPONSE, WEAK
from fedward.labs.membership.summary import BROKEN, HOLDS, LEAK, PASS

SMALL = ("data.synthetic-images=160", "data.image-size=16", "training.rounds=2", "privacy.steps=2")
PLAN = dataclasses.replace(QUICK, cases=(PLAIN, EPSILON_1), patients=40, canaries=16, shadows=6, targets=6)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab of one seed, run by the command."""
    path = tmp_path_factory.mktemp("lab") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership, "QUICK", PLAN)
        patch.setattr(membership, "run_units", in_this_process)
        run_lab(path, Asked("synthetic", False, "", SMALL), "table")
    return path


@pytest.fixture(scope="module")
def summary(lab: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lab / "summary.json").read_bytes())
    return found


def row(summary: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (row for row in summary["rows"] if row["name"] == name)
    return dict(found)


def test_who_is_known_by_heart_is_found_and_who_is_not_trained_on_is_not(summary: dict[str, Any]) -> None:
    planted, null = row(summary, MEMORIZED.name), row(summary, NULL.name)
    assert planted["verdict"] == LEAK
    assert planted["by_scores"]["auc"] > 0.99
    assert planted["by_scores"]["found"] > 0.9
    assert planted["bound"]["epsilon"] > 1
    assert null["sure_bound"] == 0
    assert abs(null["by_scores"]["auc"] - 0.5) < 0.15


def test_bounds_of_known_mechanisms_lie_below_what_they_state_and_above_nothing(summary: dict[str, Any]) -> None:
    for case in (RESPONSE, GAUSSIAN):
        found = row(summary, case.name)
        assert found["verdict"] == HOLDS
        assert 0.3 < found["bound"]["epsilon"] < found["stated"]
    weak = row(summary, WEAK.name)
    assert weak["verdict"] == BROKEN
    assert weak["stated"] == row(summary, GAUSSIAN.name)["stated"]


def test_training_has_its_rows(summary: dict[str, Any], lab: Path) -> None:
    plain, private = row(summary, PLAIN.name), row(summary, EPSILON_1.name)
    assert plain["stated"] is None
    assert plain["by_weights"]["auc"] > 0.7, "of training without privacy, whoever sees its rounds tells members"
    assert 0.9 < private["stated"] <= 1
    assert private["bound"]["epsilon"] < private["stated"]
    assert plain["by_scores"]["others"] == private["by_scores"]["others"] > 100
    assert plain["by_scores"]["rate"] == 1 / plain["by_scores"]["others"], "0.1 % of so few is not one"
    assert "epsilon is at least" in summary["verdict"]
    (table,) = sheets(summary)
    assert [line[0] for line in table.rows] == [each["name"] for each in summary["rows"]]
    for name in ("curves.png", "epsilons.png", "table-1.csv"):
        assert (lab / name).stat().st_size > 100, name


def test_a_lab_that_finds_nothing_in_a_model_that_memorized_ends_in_an_error(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(membership, "QUICK", PLAN)
    monkeypatch.setattr(membership, "run_units", lambda *_: None)  # all was run
    monkeypatch.setattr(verdicts, "auc_parts", lambda *_: (0.5, np.zeros(1)))
    with pytest.raises(VerificationError, match="memorized has an AUC"):
        run_lab(lab, Asked("synthetic", False, "", SMALL), "json")
    assert json.loads(capsys.readouterr().out)["faults"]


def test_more_than_is_stated_is_a_fault(summary: dict[str, Any]) -> None:
    broken = row(summary, EPSILON_1.name) | {"sure_bound": 1.5}
    (fault,) = verdicts.faults([broken])
    assert "at least 1.50 is found" in fault
    assert not verdicts.faults([broken | {"noise": 0.1}]), "less noise than stated was planted"
    assert verdicts.faults([row(summary, WEAK.name) | {"bound": {"epsilon": 0.1}, "sure_bound": 0.0}])
    assert verdicts.verdict_of(row(summary, NULL.name) | {"bound": {"epsilon": 0.0}}) in (PASS, LEAK)


def test_a_likelihood_ratio_tells_what_shadows_tell() -> None:
    """Two shadows with each person and two without: a target like those with scores above 0."""
    inside = np.array([[True, False], [True, False], [False, True], [False, True], [True, True]])
    looked = np.where(inside, 3.0, 0.0) + np.array([0.1, -0.1, 0.1, -0.1, 0.0])[:, None]
    assert (likelihood_ratios(looked, inside, 4) > 0).all()
    assert (likelihood_ratios(np.vstack([looked[:4], looked[2:3] * 0]), inside, 4) < 0).all()


def test_cases_are_chosen_by_name_and_too_few_patients_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Asked("synthetic", True, "2", (), "scatter-five-hospitals").plan().cases[0].hospitals == 5
    with pytest.raises(UsageError, match="no case 'cnn'"):
        Asked("synthetic", False, "", (), "cnn").plan()
    monkeypatch.setattr(membership, "QUICK", dataclasses.replace(PLAN, patients=500))
    monkeypatch.setattr(membership, "run_units", lambda _results, units, run, _report: [run(unit) for unit in units])
    with pytest.raises(DataError, match="too few for 500"):
        run_lab(tmp_path / "out", Asked("synthetic", False, "", SMALL), "table")
