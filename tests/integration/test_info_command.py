"""`main.py info`, and what every command has in common: streams, exit codes, one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_here

from commands import console
from commands.info.sheet import choices, protections
from fedward import settings as setting
from fedward.errors import EncryptionError, UsageError
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.types import Address

ROOT = Path(__file__).resolve().parents[2]


def test_info_prints_the_effective_settings_for_programs(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[training]\nrounds = 9\nseed = 4\n")
    done = run_here("info", "--json", "--config", str(tmp_path / "c.toml"), "--set", "training.seed=8")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    shown = json.loads(done.stdout)
    assert set(shown) == {"settings", "settings_digest", "choices", "protection"}
    expected = setting.load(tmp_path / "c.toml", ("training.seed", 8))
    assert shown["settings"] == setting.to_tables(expected)
    assert (shown["settings"]["training"]["rounds"], shown["settings"]["training"]["seed"]) == (9, 8)
    assert shown["settings_digest"] == expected.digest().hex()
    assert shown["protection"] == protections(expected)
    assert shown["choices"] == choices()


def test_info_of_a_run_shows_that_runs_settings_for_people(tmp_path: Path) -> None:
    folder = SimulationFolder.create(tmp_path / "run")
    tables = setting.to_tables(setting.load(None, ("training.rounds", 77), ("privacy.mode", "update")))
    folder.server.save_record(RunRecord("r", "", {}, tables, "", "", (), (), 1, Address("0xc"), (), (), ""))
    done = run_here("info", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "rounds = 77" in done.stdout
    assert "is and is not protected" in done.stdout
    assert "epsilon" in done.stdout
    for names in choices().values():
        for name in names:
            assert name in done.stdout


def test_a_run_of_other_settings_is_not_read_as_if_it_had_these(tmp_path: Path) -> None:
    folder = SimulationFolder.create(tmp_path / "run")
    tables = setting.to_tables(setting.load()) | {"voting": {"tolerance": 0.1}}
    folder.server.save_record(RunRecord("r", "", {}, tables, "", "", (), (), 1, Address("0xc"), (), (), ""))
    done = run_here("info", str(tmp_path / "run"))
    assert (done.returncode, done.stdout) == (UsageError.exit_code, "")
    assert "'voting'" in done.stderr
    assert "version of Fedward that started the run" in done.stderr


def test_the_plan_states_what_each_layout_costs_and_holds() -> None:
    done = run_here("info", "--plan", "--hospitals", "25", "--parameters", "7000000", "--resolution", "1e-5", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["preset"] == "exact"
    assert set(shown["layouts"]) == {"exact", "fine", "small", "planned"}
    for name, figures in shown["layouts"].items():
        assert (figures["hospitals"], figures["parameters"]) == (25, 7_000_000), name
        assert figures["wrong_decode_log2"] <= -40
    assert shown["layouts"]["planned"]["resolution"] <= 1e-5
    for_people = run_here("info", "--plan")
    assert for_people.returncode == 0
    assert "97,521 parameters of 5 hospitals" in for_people.stdout
    for said in ("bytes a parameter", "largest sum", "noise margin", "wrong decode", "ring degree", "security"):
        assert said in for_people.stdout


@pytest.mark.parametrize("wrong", [("--hospitals", "0"), ("--parameters", "0"), ("--resolution", "1e-30")])
def test_a_plan_that_does_not_fit_is_refused_in_one_sentence(wrong: tuple[str, str]) -> None:
    done = run_here("info", "--plan", *wrong)
    assert done.returncode == EncryptionError.exit_code
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)


def test_a_stop_is_one_sentence_on_stderr_and_its_exit_code() -> None:
    """As a process of its own: this is how any command ends."""
    command = [sys.executable, "main.py", "info", "no-such-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 8
    assert done.stdout == ""
    assert done.stderr.startswith("Error: The run's record could not be read from no-such-run")
    assert len(done.stderr.splitlines()) == 1


def test_verbose_shows_the_traceback_too() -> None:
    done = run_here("-v", "info", "--set", "training.round=1")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "Did you mean 'training.rounds'?" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("text", ["training.rounds", ""])
def test_an_assignment_needs_a_value(text: str) -> None:
    with pytest.raises(UsageError, match="no value"):
        setting.parse_assignment(text)
    assert setting.parse_assignment(" training.rounds = 3 ") == ("training.rounds", "3")
    assert setting.parse_assignment("data.source=a=b") == ("data.source", "a=b")


def test_protections_say_what_the_settings_do_and_no_more() -> None:
    none = protections(setting.load())["Patients, from the model"]
    assert none.startswith("not protected")
    few, many = (
        protections(setting.load(None, ("privacy.mode", "update"), ("training.rounds", rounds)))
        for rounds in (1, 50)
    )  # fmt: skip
    assert few["Patients, from the model"] != many["Patients, from the model"]
    assert "'hospital'" in few["Patients, from the model"]
    assert "epsilon" in few["Patients, from the model"]


def test_without_a_detector_nothing_is_said_to_guard_the_model() -> None:
    with_one, without = (
        protections(setting.load(None, ("detectors.names", names)))["The model, from backdoors"]
        for names in ("validation-loss", "")
    )
    assert "votes by its own validation images" in with_one
    assert without.startswith("not protected")


def test_brackets_in_a_text_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    for say in (console.error, console.warn, console.note):
        say("the file [bold]odd[/bold] [/] was named [red]")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "[bold]odd[/bold] [/] was named [red]" in captured.err


def test_data_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.data({"auc": None, "n": 3})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"auc": None, "n": 3}
    assert captured.err == ""
