"""Flower's processes: found by their home, all of them stopped, and no more of them than asked for."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from source_tree import ROOT

from fedward import flower
from fedward.flower import FlowerSimulation, clients_at_once
from fedward.settings import load, replace

SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
IGNORE = "import signal; [signal.signal(kind, signal.SIG_IGN) for kind in (signal.SIGTERM, signal.SIGINT)]"
STUBBORN = f"{IGNORE}; {SLEEP}"
TIDY = (  # leaves a file when it is asked to end
    "import pathlib, signal, sys; end = lambda *_: sys.exit(pathlib.Path({!r}).touch()); "
    f"signal.signal(signal.SIGTERM, end); {SLEEP}"
)
# Starts a child of its own and dies: the child has no living ancestor of ours.
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], stdout=sys.stdout)"

Started = list["subprocess.Popen[str]"]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    processes: Started = []
    yield processes
    for process in psutil.process_iter():  # what the code under test should have stopped, orphans too
        try:
            if str(tmp_path) in process.environ().get("FLWR_HOME", ""):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    for child in processes:
        child.communicate()


def start(started: Started, program: str, home: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "FLWR_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_are_found_by_their_home_also_when_orphaned(
    tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower, "STOP_TIMEOUT_S", 0.5)
    mine, other = tmp_path / "mine", tmp_path / "other"
    child = start(started, SLEEP, mine)
    start(started, SLEEP, other)
    starter = start(started, ORPHAN, mine)
    starter.wait(timeout=20)
    found = flower._processes_of(mine)
    assert child.pid in {process.pid for process in found}
    assert len(found) == 2
    assert flower._processes_of(tmp_path) == []
    flower._stop(found)
    assert flower._processes_of(mine) == []
    assert len(flower._processes_of(other)) == 1


def test_who_does_not_listen_is_killed(tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower, "STOP_TIMEOUT_S", 1.0)
    start(started, TIDY.replace("{!r}", repr(str(tmp_path / "tidied up"))), tmp_path)
    start(started, STUBBORN, tmp_path)
    flower._stop(flower._processes_of(tmp_path))
    assert (tmp_path / "tidied up").exists(), "asked before it was killed"
    assert flower._processes_of(tmp_path) == []


def simulation_of(process: "subprocess.Popen[str]", home: Path, log: str = "") -> FlowerSimulation:
    (home / "log").write_text(log)
    return FlowerSimulation(home, process, home / "log")  # type: ignore[arg-type]


def test_stopping_a_simulation_stops_its_grandchildren_too(
    tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower, "STOP_TIMEOUT_S", 0.5)
    process = start(started, STUBBORN, tmp_path)
    start(started, ORPHAN, tmp_path).wait(timeout=20)
    simulation = simulation_of(process, tmp_path)
    assert simulation.running()
    simulation.stop()
    assert not simulation.running()
    assert flower._processes_of(tmp_path) == []


def test_who_shows_no_environment_is_found_by_where_it_works(tmp_path: Path, started: Started) -> None:
    """Ray's agents write their names over their environment, and stayed for a minute after a run."""
    home, elsewhere = tmp_path / "home", tmp_path / "home-of-another"
    agents = []
    for place in (home / "empty", elsewhere):
        place.mkdir(parents=True)
        command = [sys.executable, "-c", STUBBORN]
        agents.append(subprocess.Popen(command, cwd=place, env={}, stdout=subprocess.PIPE, text=True))
        assert agents[-1].stdout is not None
        assert agents[-1].stdout.readline() == "ready\n"
    started += agents
    try:
        flower.stop_left_over(home)
        assert agents[0].wait(timeout=1) == -signal.SIGKILL
        assert agents[1].poll() is None
    finally:
        agents[1].kill()


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", ""),
        ("INFO: all is well\n", ""),
        ("Traceback (most recent call last):\n  File\nOSError: AF_UNIX path length\n", "OSError: AF_UNIX path length"),
        (
            "\x1b[31mValueError: a\x1b[0m\nray.exceptions.RaySystemError: b\nwarning: c\n",
            "ray.exceptions.RaySystemError: b",
        ),
        ("\x1b[91mERROR \x1b[0m:     it broke\n", "ERROR :     it broke"),
        (f"KeyError: {'x' * 5_000}\n", f"KeyError: {'x' * 290}"),
    ],
)
def test_the_last_error_of_a_log_is_what_a_failure_is_said_with(
    tmp_path: Path, log: str, said: str, started: Started
) -> None:
    assert simulation_of(start(started, SLEEP, tmp_path), tmp_path, log).last_words() == said


def await_ready(log: Path) -> None:
    deadline = time.monotonic() + 20
    while "ready" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_child_gets_the_quiet_environment_of_its_own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    process = flower._spawn([sys.executable, "-c", SLEEP], tmp_path / "home", tmp_path / "log", tmp_path / "hospitals")
    try:
        await_ready(tmp_path / "log")
        environment = psutil.Process(process.pid).environ()
        assert environment["FLWR_HOME"] == str(tmp_path / "home")
        assert {name: environment[name] for name in flower.QUIET_AND_LOCAL} == flower.QUIET_AND_LOCAL
        assert os.getpgid(process.pid) != os.getpgid(0), "Ctrl-C must reach us only"
    finally:
        process.kill()
        process.communicate()


def test_a_child_gets_no_proxy_and_a_secret_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the same for every run")
    secrets = set()
    for number in range(2):
        process = flower._spawn([sys.executable, "-c", SLEEP], tmp_path / "home", tmp_path / f"log{number}", tmp_path)
        try:
            await_ready(tmp_path / f"log{number}")
            environment = psutil.Process(process.pid).environ()
        finally:
            process.kill()
            process.communicate()
        assert not [name for name in environment if "proxy" in name.lower()]
        assert (environment["RAY_AUTH_MODE"], environment["RAY_TMPDIR"]) == ("token", str(tmp_path / "home"))
        secrets.add(environment["RAY_AUTH_TOKEN"])
    assert len(secrets) == 2
    assert "the same for every run" not in secrets


@pytest.mark.parametrize(
    ("asked", "hospitals", "cores", "expected"),
    [(0, 5, 2, 2), (0, 2, 16, 2), (3, 5, 2, 3), (0, 5, None, 1), (1, 128, 64, 1)],
)
def test_as_many_hospitals_train_at_once_as_asked_or_as_there_are_cores(
    asked: int, hospitals: int, cores: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    settings = replace(replace(load(), "data.hospitals", hospitals), "speed.clients-at-once", asked)
    assert clients_at_once(settings) == expected
    assert dataclasses.is_dataclass(settings)


def test_flower_is_started_where_no_module_lies_that_could_stand_in_for_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "client.py").write_text("")
    monkeypatch.chdir(tmp_path)
    process = flower._spawn(["/bin/sh", "-c", "pwd; ls"], home, tmp_path / "log", tmp_path / "hospitals")
    process.communicate()
    assert (tmp_path / "log").read_text().split() == [str(home / "empty")]


@pytest.mark.slow
def test_the_servers_process_runs_flower_without_tensorflow_and_hides_it_from_nobody() -> None:
    code = (
        "import runpy, sys\n"
        f"script = runpy.run_path({str(ROOT / 'fedward' / 'flower_process.py')!r})\n"
        "run = script['runtime']()\n"
        "assert callable(run)\n"
        "assert 'tensorflow' not in sys.modules\n"
        "import importlib.util\n"
        "assert importlib.util.find_spec('tensorflow')\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
