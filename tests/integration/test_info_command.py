"""`main.py info`, and what every command has in common: streams, exit codes, one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import run_here
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from commands import console
from commands.info.sheet import choices, protections
from encryption import RoundKey
from fedward import settings as setting
from fedward.errors import EncryptionError, UsageError
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.sharing.dealing import deal_key
from fedward.sharing.sealed_releases import ChannelKey, encrypt_release
from fedward.sharing.sealed_shares import seal_shares
from fedward.sharing.terms import Purpose, ReleaseTerms, ShareTerms
from fedward.tables import parse_assignment
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
    assert f"97,521 parameters of 5 hospitals, {setting.load().training.rounds} rounds" in for_people.stdout
    for said in (
        *("bytes a parameter", "sealed shares", "largest sum", "noise margin", "wrong decode anywhere"),
        *("ring degree", "security", "releases that open a sum", "hospitals that such fields hold"),
    ):
        assert said in for_people.stdout


def planned(*options: str) -> dict[str, dict[str, float]]:
    done = run_here("info", "--plan", "--json", *options)
    assert done.returncode == 0, done.stderr
    layouts: dict[str, dict[str, float]] = json.loads(done.stdout)["layouts"]
    return layouts


@pytest.mark.parametrize("hospitals", [2, 5, 128])
@pytest.mark.parametrize("encrypted", ["false", "true"])
def test_the_plan_counts_the_bytes_that_a_hospital_really_sends(hospitals: int, encrypted: str) -> None:
    """Of shares and releases: as long as those that are made."""
    figures = planned("--hospitals", str(hospitals), "--set", f"metrics.encrypted={encrypted}")["exact"]
    keys = 2 if encrypted == "true" else 1
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    account = Address("0x" + "11" * 20)
    terms = ShareTerms(1, account, 1, bytes(32), account, account)
    shares = deal_key(np.concatenate([RoundKey.generate().residues() for _ in range(keys)]), hospitals, hospitals)
    assert figures["share_bytes"] == sum(map(len, seal_shares(shares, [key] * hospitals, [terms] * hospitals)))
    released = ReleaseTerms(1, account, 1, account, Purpose.UPDATES, bytes(32), 1, bytes(32))
    one = len(encrypt_release(RoundKey.generate().residues(), released, ChannelKey.generate()))
    assert figures["release_bytes"] == keys * one
    assert figures["update_bytes"] == 12 * 32_768
    assert figures["sent_bytes"] == figures["update_bytes"] + figures["share_bytes"] + figures["release_bytes"]
    assert figures["release_threshold"] == {2: 2, 5: 4, 128: 86}[hospitals]


def test_the_plan_says_how_surely_a_whole_run_is_exact_and_how_many_hospitals_fit() -> None:
    once, often = (
        planned("--parameters", "7000000", "--hospitals", "600", "--set", f"training.rounds={rounds}")["small"]
        for rounds in (1, 64)
    )
    assert (once["rounds"], often["rounds"]) == (1, 64)
    assert once["wrong_decode_log2"] == often["wrong_decode_log2"]
    coordinates = once["ciphertexts"] * 4096
    assert once["wrong_decode_in_run_log2"] == pytest.approx(once["wrong_decode_log2"] + np.log2(coordinates))
    assert often["wrong_decode_in_run_log2"] == pytest.approx(once["wrong_decode_in_run_log2"] + 6)
    for name, most in (("small", 4095), ("fine", 2**20)):
        figures = planned("--hospitals", "128")[name]
        assert figures["most_hospitals"] == most
        at_most = planned("--hospitals", str(most))[name]
        assert at_most["field_bits"] == figures["field_bits"]
    for hospitals in ("2", "25", "128"):
        for figures in planned("--hospitals", hospitals, "--parameters", "7000000").values():
            assert figures["wrong_decode_in_run_log2"] < -95


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
        parse_assignment(text)
    assert parse_assignment(" training.rounds = 3 ") == ("training.rounds", "3")
    assert parse_assignment("data.source=a=b") == ("data.source", "a=b")


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


def test_protections_say_how_many_hospitals_open_an_update() -> None:
    few, five, chosen = (
        protections(setting.load(None, *changes))["Updates, from other hospitals"]
        for changes in (
            [("data.hospitals", 2), ("ledger.min-included", 2)],
            [],
            [("data.hospitals", 9), ("ledger.release-threshold", 8)],
        )
    )
    assert few.startswith("not protected")
    assert five.startswith("fewer than 4 of 5 hospitals")
    assert chosen.startswith("fewer than 8 of 9 hospitals")


def test_without_a_detector_nothing_is_said_to_guard_the_model() -> None:
    with_one, without = (
        protections(setting.load(None, ("detectors.names", names)))["The model, from backdoors"]
        for names in ("validation-loss", "")
    )
    assert "judges candidates on its own images" in with_one
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
