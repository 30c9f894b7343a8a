"""`main.py simulate` as a user runs it: processes, files, exit codes, and what is left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from command_line import run_here
from documents import block, shape
from process_memory import Search, search

from fedward.folders.hospital import HospitalFolder

pytestmark = pytest.mark.end_to_end
ROOT = Path(__file__).resolve().parents[2]
HOSPITALS = "ray::ClientAppActor"  # Ray runs hospitals in processes that begin so; they have secrets while they answer
SMALL = ("--hospitals", "3", "--rounds", "2", "--local-epochs", "1", "--set", "data.synthetic-images=240")
PROXIES = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"), "http://127.0.0.1:9")

SUMMARY_KEYS = {
    "run_id": None,
    "hospitals": None,
    "model": {"name", "parameters", "weights_sha256", "positive", "class_names"},
    "data": {"layout", "positive", "patients", "told_by", "left_out", "partly_used"},
    "rounds": {"opened", "accepted", "rejected", "aborted"},
    "test": {"n", "accuracy", "auc", "precision", "recall", "f1"},
    "scores": {"pooled", "hospitals", "findings"},
    "baselines": None,
    "privacy": {"mode", "unit", "epsilon", "delta"},
    "encryption": {
        *("bytes_per_parameter", "parameters", "ring_degree", "security_bits", "exact", "wrong_decode_in_run"),
    },
    "ledger": {"chain_id", "contract", "height", "head", "submissions", "rejections", "votes"},
    "attack": None,
    "attribution": {"left_out", "named"},
    "objections": None,
    "timing_s": {
        *("preprocess", "train", "privatize", "encrypt", "commit", "verify"),
        *("aggregate", "decrypt", "detect", "vote", "evaluate", "total"),
    },
}


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "main.py", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def flower_homes(process: "subprocess.Popen[str]") -> set[str]:
    """The homes that a running simulation's Flower processes carry in their environment."""
    children = psutil.Process(process.pid).children(recursive=True)
    return {child.environ()["FLWR_HOME"] for child in children if child.environ().get("FLWR_HOME")}


def processes_of(homes: set[str]) -> list[psutil.Process]:
    """All processes of these homes, whoever their parents are by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FLWR_HOME") in homes:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def read_summary(folder: Path) -> dict[str, dict[str, object]]:
    summary: dict[str, dict[str, object]] = json.loads((folder / "summary.json").read_text())
    assert set(summary) == set(SUMMARY_KEYS)
    for key, inner in SUMMARY_KEYS.items():
        assert inner is None or set(summary[key]) == inner, key
    return summary


def await_event(folder: Path, event: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 300  # with time for machines that do much else
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "server" / "progress.jsonl").exists() and f'"{event}"' in (
            folder / "server" / "progress.jsonl"
        ).read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"no event {event!r}: {process.communicate()[1]}")


def secrets_of(run: Path) -> tuple[bytes, set[bytes]]:
    """The consortium's channel key; and pieces of the shares in the clear that hospitals keep until they answer."""
    key = HospitalFolder(run / "hospitals" / "hospital-1").load_channel_key()
    dealt = [path.read_bytes() for path in run.glob("hospitals/*/sharing/round-*/dealt")]
    rows = [content.partition(b"\n")[2] for content in dealt]
    return key, {row[start : start + 64] for row in rows for start in range(0, len(row) - 64, len(row) // 5)}


def search_for_keys(run: Path, homes: set[str], process: "subprocess.Popen[str]") -> set[bytes]:
    """Search the Flower processes of a run: at a hospital keys or shares must be seen, and nowhere else.

    A hospital has secrets in memory only while it answers: it is stopped anew until it is caught so.

    Returns:
        The secrets that were looked for.
    """
    key, secrets = secrets_of(run)
    assert secrets, "a hospital that has submitted, and not yet answered about shares, has what it dealt"
    while process.poll() is None:
        with hospitals_paused(homes) as hospitals:
            secrets |= {key, *secrets_of(run)[1]}
            if any(result.found for result in searched(hospitals, secrets)):
                search_others(secrets, homes)
                return secrets
        time.sleep(0.05)
    pytest.fail("the search finds nothing where secrets are")


def search_others(secrets: set[bytes], homes: set[str]) -> None:
    """No Flower process has any of the secrets but the hospitals', which are stopped meanwhile."""
    commands = {process: command(process) for process in processes_of(homes)}
    others = [process for process, line in commands.items() if not line.startswith(HOSPITALS)]
    servers = [process for process in others if "flower_process.py" in commands[process]]
    assert not any(result.found for result in searched(others, secrets))
    of_server = searched(servers, secrets)
    assert of_server, "the server's process was not found"
    for result in of_server:
        assert result.there > 50e6, "an interpreter with its libraries has as much"
        assert result.read > 0.99 * result.there


def searched(processes: list[psutil.Process], secrets: set[bytes]) -> list[Search]:
    """What a search finds in each of the processes that have not ended."""
    results = []
    for process in processes:
        try:
            results.append(search(process.pid, secrets))
        except OSError:  # it has ended
            continue
    return [result for result in results if result.there]  # else it ended amid the search


@contextmanager
def hospitals_paused(homes: set[str]) -> Iterator[list[psutil.Process]]:
    """Stop the hospitals amid their work: what they have in memory now, they would soon overwrite."""
    paused = []
    try:
        for process in processes_of(homes):
            with suppress(psutil.NoSuchProcess):
                if command(process).startswith(HOSPITALS):
                    process.suspend()
                    paused.append(process)
        yield paused
    finally:
        for process in paused:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts commands; those that a failed test leaves behind are stopped, as by Ctrl-C."""
    processes: list[subprocess.Popen[str]] = []

    def start_one(*arguments: str) -> "subprocess.Popen[str]":
        processes.append(start(*arguments))
        return processes[-1]

    yield start_one
    for process in processes:
        with process:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder of a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="fw") as name:
        yield Path(name)


def assert_as_in_readme(output: str, errors: str) -> None:
    """What a run shows has the lines of README's sample: those of its rounds, and the rows of its table."""
    sample = block("Warning: No differential privacy")
    assert sample[0] in errors
    told = {shape(line.partition(" (")[0]) for line in errors.splitlines() if line.startswith("Round 1 accepted")}
    assert told == {shape(line.partition(" (")[0]) for line in sample if line.startswith("Round 1 accepted")}
    shown, expected = (
        [line.split("│")[1].strip() for line in lines if line.startswith("│")]
        for lines in (f"{errors}\n{output}".splitlines(), sample)
    )
    assert shown == expected
    assert "Test AUC" in shown


def command(process: psutil.Process) -> str:
    """A process's command line, empty where it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_run_is_complete_repeatable_and_keeps_its_key_from_the_server(
    started: Callable[..., "subprocess.Popen[str]"], tmp_path: Path, short: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    process = started("simulate", *SMALL, "--out", str(first))
    await_event(first, "submitted", process)
    homes = flower_homes(process)
    secrets = search_for_keys(first, homes, process)
    key = secrets_of(first)[0]
    with hospitals_paused(homes):
        kept = [path.read_bytes() for path in (first / "server").rglob("*") if path.is_file()]
    assert kept
    assert not any(secret in content for content in kept for secret in secrets)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert_as_in_readme(output, errors)
    assert processes_of(homes) == []

    summary = read_summary(first)
    assert summary["rounds"] == {"opened": 2, "accepted": 2, "rejected": 0, "aborted": 0}
    assert summary["ledger"]["submissions"] == summary["ledger"]["votes"] == 6
    assert all(isinstance(value, float) and value > 0 for value in summary["timing_s"].values())
    pictures = ("learning_curves.png", "confusion_matrix.png", "roc.png", "reliability.png")
    for name in ("server/metrics.jsonl", "model.keras", "server/run.json", "manifest.json", *pictures):
        assert (first / name).stat().st_size > 0
    files = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    holding = [path for path, content in files.items() if key in content]
    assert {path.parent.parent.parent.name for path in holding} == {"hospitals"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in holding)
    # Of the rounds' keys nothing is left, at the hospitals neither.
    assert not [path for path, content in files.items() if any(secret in content for secret in secrets - {key})]

    scored = run_here("evaluate", first, "--data", "synthetic", "--json")
    measured = json.loads(scored.stdout)
    assert {key: measured[key] for key in summary["test"]} == summary["test"]
    assert (measured["trained_on"], measured["positive"]) == (0, {"opacity": ["opacity"]})

    # Neither a proxy nor a long folder for temporary files breaks a run, or changes what comes out.
    far = short / ("d" * 82)
    far.mkdir()
    again = run("simulate", *SMALL, "--out", str(second), TMPDIR=str(far), **PROXIES)
    assert again.returncode == 0, again.stderr
    assert read_summary(second)["model"]["weights_sha256"] == summary["model"]["weights_sha256"]


def test_ctrl_c_stops_everything_and_resume_goes_on(
    started: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = started("simulate", *SMALL, "--baselines", "--set", "ledger.witness-required=true", "--out", str(folder))
    await_event(folder, "closed", process)
    homes = flower_homes(process)
    assert homes
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert processes_of(homes) == []
    again = run("simulate", "--resume", "--out", str(folder))
    assert again.returncode == 0, again.stderr
    summary = read_summary(folder)
    assert summary["rounds"]["accepted"] == 2
    # Baselines were asked for at the start; a resumed run trains them unasked, and says whether it was worth joining.
    assert set(summary["baselines"]["local"]) == {"hospital-1", "hospital-2", "hospital-3"}  # type: ignore[call-overload]
    assert "Worth joining?" in again.stdout
    assert "AUC over the mean hospital alone" in again.stdout
    # The witness went on as well: without its attestation no round is accepted.
    audited = run_here("audit", folder, "--json")
    assert audited.returncode == 0, audited.stdout
    assert json.loads(audited.stdout)["verified"] is True


BAD_INPUT = {
    "unknown setting": (["--set", "training.round=3"], 2, "training.rounds"),
    "zero hospitals": (["--hospitals", "0"], 2, "data.hospitals"),
    "more hospitals than patients": (["--hospitals", "100", "--set", "data.synthetic-images=60"], 3, "patients"),
    "data path missing": (["--data", "no-such-folder"], 3, "no-such-folder"),
    "clip norm zero": (["--privacy", "update", "--set", "privacy.clip-norm=0"], 2, "privacy.clip-norm"),
    "settings file missing": (["--config", "no-such-file.toml"], 2, "no-such-file.toml"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_sentence_with_its_exit_code_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    arguments, code, named = BAD_INPUT[case]
    done = run_here("simulate", *arguments, "--out", tmp_path / "run")
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert named in errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_output_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = run_here("simulate", "--out", tmp_path)
    assert done.returncode == 2
    assert "in use" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_here("node", "--dir", tmp_path / "chain", "--port", port)
    assert done.returncode == 10
    assert port in done.stderr


def test_runs_on_the_same_x_rays_add_up(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    data = str(real_data / "chest_xray")
    options = ("--config", "config/privacy-eps3.toml", "--data", data, "--hospitals", "3", "--rounds", "1")
    first = run("simulate", *options, "--seed", "1", "--out", str(tmp_path / "first"))
    assert first.returncode == 0, first.stderr
    assert "earlier" not in first.stderr
    second = run("simulate", *options, "--seed", "2", "--out", str(tmp_path / "second"))
    assert second.returncode == 0, second.stderr
    (said,) = (line for line in second.stderr.splitlines() if line.startswith("Patients of this folder"))
    told = re.fullmatch(
        r"Patients of this folder have been trained on in 1 earlier study: epsilon (\S+) so far at delta 1e-05 for the "
        r"most-used patient, (\S+) after this run \(main\.py budget shows it\)\.",
        said,
    )
    assert told
    assert 2.9 < float(told[1]) <= 3 < float(told[2]) < 6
    (facts,) = json.loads(run_here("budget", "--data", data, "--json").stdout)
    assert f"{facts['epsilon']:.3g}" == told[2]
    assert [study["rounds_charged"] for study in facts["studies"]] == [1] * 6
    assert run_here("budget", "--data", data, "--limit", "5").returncode == 0
    third = run("simulate", *options, "--seed", "3", "--out", str(tmp_path / "third"))
    assert third.returncode == 4
    assert "beyond the hospital's limit of 5" in third.stderr
    assert not (tmp_path / "third").exists()
