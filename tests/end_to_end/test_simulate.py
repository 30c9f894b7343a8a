"""`main.py simulate` as a user runs it: processes, files, exit codes, and what is left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
ONE_AT_A_TIME = ("--set", "speed.clients-at-once=1")  # one process for the hospitals' TensorFlow, not two
PROXIES = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
ROOT_MAY = os.geteuid() == 0  # only root is certain to be allowed a user namespace
NUMBER = 47_113  # a user id that no passwd file has
# In a user namespace the files are still the tester's, so that Python and its packages can be read from anywhere.
NAMELESS = ("env", "-i", "PATH=/usr/bin:/bin")
AS_A_NUMBER = ("unshare", "--user", f"--map-user={NUMBER}", f"--map-group={NUMBER}", *NAMELESS)
WHO = (
    "import os, pwd; assert os.getuid() == int(os.sys.argv[1]) and 'HOME' not in os.environ; pwd.getpwuid(os.getuid())"
)

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


def start(*arguments: str, temporary: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "main.py", *arguments]
    # Python would keep bytecode there of what TensorFlow generates.
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "main.py", *arguments], cwd=ROOT, capture_output=True, text=True)


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


def await_event(folder: Path, event: str, process: "subprocess.Popen[str]", times: int = 1) -> None:
    deadline = time.monotonic() + 300  # with time for machines that do much else
    progress = folder / "server" / "progress.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        if progress.exists() and progress.read_text().count(f'"{event}"') >= times:
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


@contextmanager
def short() -> Iterator[Path]:
    """A folder of a short path, in which sockets have room."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="fw") as name:
        yield Path(name)


@contextmanager
def stopped_in_the_end(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """A command that is stopped, as by Ctrl-C, where a failed test leaves it behind."""
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)


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


@dataclass(frozen=True)
class Watched:
    """A run that has ended well, and what was seen of it while it went.

    Attributes:
        folder: The run's.
        output, errors: What it wrote.
        secrets: Keys and pieces of shares that hospitals had in memory or on their disks.
        kept: The server's files amid the first round.
        left: Processes of the run's after it had ended, and what it left of temporary files.
    """

    folder: Path
    output: str
    errors: str
    secrets: set[bytes]
    kept: list[bytes]
    left: list[psutil.Process | Path]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A run of two rounds whose processes were searched for keys amid the first."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    with (
        short() as temporary,
        stopped_in_the_end(start("simulate", *SMALL, "--out", str(folder), temporary=temporary)) as process,
    ):
        await_event(folder, "submitted", process)
        homes = flower_homes(process)
        secrets = search_for_keys(folder, homes, process)
        with hospitals_paused(homes):
            kept = [path.read_bytes() for path in (folder / "server").rglob("*") if path.is_file()]
        output, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        yield Watched(folder, output, errors, secrets, kept, [*processes_of(homes), *temporary.iterdir()])


def test_a_run_is_complete(watched: Watched) -> None:
    assert_as_in_readme(watched.output, watched.errors)
    assert watched.left == []
    summary = read_summary(watched.folder)
    assert summary["rounds"] == {"opened": 2, "accepted": 2, "rejected": 0, "aborted": 0}
    assert summary["ledger"]["submissions"] == summary["ledger"]["votes"] == 6
    assert all(isinstance(value, float) and value > 0 for value in summary["timing_s"].values())
    pictures = ("learning_curves.png", "confusion_matrix.png", "roc.png", "reliability.png")
    for name in ("server/metrics.jsonl", "report.html", "model.keras", "server/run.json", "manifest.json", *pictures):
        assert (watched.folder / name).stat().st_size > 0
    scored = run_here("evaluate", watched.folder, "--data", "synthetic", "--json")
    measured = json.loads(scored.stdout)
    assert {key: measured[key] for key in summary["test"]} == summary["test"]
    assert (measured["trained_on"], measured["positive"]) == (0, {"opacity": ["opacity"]})


def test_a_run_keeps_its_keys_from_the_server(watched: Watched) -> None:
    assert watched.kept
    assert not any(secret in content for content in watched.kept for secret in watched.secrets)
    key = secrets_of(watched.folder)[0]
    files = {path: path.read_bytes() for path in watched.folder.rglob("*") if path.is_file()}
    holding = [path for path, content in files.items() if key in content]
    assert {path.parent.parent.parent.name for path in holding} == {"hospitals"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in holding)
    # Of the rounds' keys nothing is left, at the hospitals neither.
    others = watched.secrets - {key}
    assert not [path for path, content in files.items() if any(secret in content for secret in others)]


def figures(run: Path) -> list[dict[str, object]]:
    """Each round's losses and the like, to the last bit: they follow from all weights."""
    lines = [json.loads(line) for line in (run / "server" / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in ("train_loss", "val_loss", "val_auc", "thresholds")} for line in lines]


@dataclass(frozen=True)
class OddMachine:
    """Commands on a machine that lacks what others have.

    There is no home and the user is a number without a name, as in a container; temporary files have a long path; the
    environment names a proxy that does not answer.
    """

    temporary: Path

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start `main.py ARGUMENTS`, or Python's other options."""
        settings = [f"{name}={value}" for name, value in (PROXIES | {"TMPDIR": str(self.temporary)}).items()]
        command = [*(AS_A_NUMBER if ROOT_MAY else NAMELESS), *settings, sys.executable, *arguments]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run to the end: exit code and what was written."""
        with stopped_in_the_end(self.start(*arguments)) as process:
            output, errors = process.communicate(timeout=500)
            return process.returncode, output, errors


@pytest.fixture
def odd() -> Iterator[OddMachine]:
    with short() as place:
        far = place / ("d" * 82)
        far.mkdir()
        yield OddMachine(far)


def test_ctrl_c_stops_everything_and_resume_goes_on_also_on_an_odd_machine(
    watched: Watched, odd: OddMachine, tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "run" / "flower.log"
    if ROOT_MAY:
        nobody = odd.run("-c", WHO, str(NUMBER))[2]
        assert f"KeyError: 'getpwuid(): uid not found: {NUMBER}'" in nobody, "the control"
    options = (*SMALL, "--rounds", "3", *ONE_AT_A_TIME, "--baselines", "--set", "ledger.witness-required=true")
    options += ("--tracking", "tensorboard")
    with stopped_in_the_end(odd.start("main.py", "simulate", *options, "--out", str(folder))) as process:
        await_event(folder, "closed", process, times=2)
        homes = flower_homes(process)
        assert homes
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert processes_of(homes) == []
    tracked = {path.name[-5:]: path.read_bytes() for path in (folder / "tensorboard").glob("events*")}
    assert set(tracked) <= {"00000", "00001", "00002"}, (
        "what was written when it was stopped is whole, however much it is"
    )
    logged = log.stat().st_size
    code, output, errors = odd.run("main.py", "simulate", "--resume", "--tracking", "tensorboard", "--out", str(folder))
    assert code == 0, errors
    further = {path.name[-5:]: path.read_bytes() for path in (folder / "tensorboard").glob("events*")}
    assert {name: content for name, content in further.items() if name in tracked} == tracked
    rounds = read_summary(folder)["rounds"]["opened"]  # one more than three where one was cut short
    assert set(further) == {*(f"{number:05}" for number in range(rounds + 1)), "d.end"}  # type: ignore[call-overload]
    assert "Traceback" not in errors + log.read_bytes()[logged:].decode()
    summary = read_summary(folder)
    assert summary["rounds"]["accepted"] == 3
    # Neither the machine nor how many train side by side changes what comes out of the rounds before.
    assert figures(folder)[:2] == figures(watched.folder)
    # Baselines were asked for at the start; a resumed run trains them unasked, and says whether it was worth joining.
    assert set(summary["baselines"]["local"]) == {"hospital-1", "hospital-2", "hospital-3"}  # type: ignore[call-overload]
    assert "Worth joining?" in output
    assert "AUC over the mean hospital alone" in output
    # The witness went on as well: without its attestation no round is accepted.
    code, output, errors = odd.run("main.py", "audit", str(folder), "--json", "--html", str(tmp_path / "page.html"))
    assert code == 0, errors + output
    assert json.loads(output)["verified"] is True
    assert not (ROOT / "~").exists(), "a home that was not found was made here"


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


def some_of(x_rays: Path, target: Path) -> Path:
    """A copy of the first images of each class, in its split: reading all of them takes a minute."""
    for folder in (path for path in x_rays.glob("*/*") if path.is_dir()):
        (target / folder.relative_to(x_rays)).mkdir(parents=True)
        for image in sorted(folder.iterdir())[:60]:
            shutil.copyfile(image, target / image.relative_to(x_rays))
    return target


def test_runs_on_the_same_x_rays_add_up(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    data = str(some_of(real_data / "chest_xray", tmp_path / "x-rays"))
    options = ("--config", "config/privacy-eps3.toml", "--data", data, "--hospitals", "3", "--rounds", "1")
    options += ONE_AT_A_TIME
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
    third = run_here("simulate", *options, "--seed", "3", "--out", tmp_path / "third")
    assert third.returncode == 4
    assert "beyond the hospital's limit of 5" in third.stderr
    assert not (tmp_path / "third").exists()
