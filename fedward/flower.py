"""Start and stop Flower's processes of a simulation: in a folder of their own, and closed to other users."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from fedward.files import write_atomic
from fedward.folders.own_folder import SIMULATED_HOSPITALS
from fedward.settings import PROJECT_FILE, Settings, to_run_config

LAST_BYTES, LAST_CHARACTERS = 64 * 1024, 300  # of a log, where its last error is looked for, and of that error
STOP_TIMEOUT_S, LOOK_S = 8.0, 0.02
HONEST, ATTACKER = "client", "attacker"  # modules of the hospitals' app

# Flower and Ray by default phone home, install packages at run time and listen on all interfaces.
QUIET_AND_LOCAL = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    # Where prometheus-client is installed, Ray's autoscaler shows metrics to every user of the machine. No variable
    # forbids that; at this port it cannot, notes so in Ray's own log, and goes on.
    "AUTOSCALER_METRIC_PORT": "-1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # One thread an operation: how many hospitals train at a time then changes nothing in what they compute.
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}

_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_ERROR_LINE = re.compile(r"([A-Za-z_]+\.)*[A-Z][A-Za-z]*(Error|Exception|Exit)\b.*:|.*\bERROR\b")


def stage_app(target: Path) -> None:
    """Copy into an empty folder the files that may travel to hospitals; Flower bundles all files that it finds there.

    The list of these files is `fab-include` of pyproject.toml.
    """
    with PROJECT_FILE.open("rb") as file:
        patterns: list[str] = tomllib.load(file)["tool"]["flwr"]["app"]["fab-include"]
    root = PROJECT_FILE.parent
    for source in [PROJECT_FILE, *(path for pattern in patterns for path in sorted(root.glob(pattern)))]:
        destination = target / source.relative_to(root)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)


def stage_attacked_app(target: Path) -> None:
    """Copy the app as `stage_app` does, and what a malicious hospital runs beside it."""
    stage_app(target)
    root = PROJECT_FILE.parent
    own = (root / f"{ATTACKER}.py", root / "fedward/chosen.py")  # the second reads attacks with their options
    for source in (*own, *sorted((root / "fedward/backdoor/attacks").glob("*.py"))):
        destination = target / source.relative_to(root)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)


@dataclass
class FlowerSimulation:
    """A running app: its server, Flower's simulation runtime, and Ray with the hospitals' processes.

    Attributes:
        home: Flower's folder; every process of this simulation carries it in its environment.
        process: The server's process; Ray's and the hospitals' are its children, and end with it.
        log: Where all of them write to.
    """

    home: Path
    process: "subprocess.Popen[bytes]"
    log: Path

    @classmethod
    def start(
        cls,
        folder: Path,
        settings: Settings,
        hospitals: Path,
        log: Path,
        stage: Callable[[Path], None] = stage_app,
        client: str = HONEST,
    ) -> "FlowerSimulation":
        """Stage the app and start its processes.

        Args:
            folder: An empty folder that only its owner can reach into, for Flower's files and the staged app.
            settings: Passed on to server and hospitals as the run config.
            hospitals: Where the simulated hospitals' folders lie; told to their processes by the environment.
            log: File for the processes' output.
            stage: Puts the app into a folder.
            client: The module of the hospitals' app.

        Raises:
            ResourceError: the disk is full.

        Guarantees:
            1. No other user of this machine can give these processes anything to run: Flower listens nowhere, and Ray
               takes only calls with a secret that is drawn for this run.
            2. The processes end when the process that started them ends, however it ends.
        """
        stage(folder / "fedward")
        plan = {
            "config": to_run_config(settings),
            "hospitals": settings.data.hospitals,
            "clients_at_once": clients_at_once(settings),
            "client": f"{client}:app",
        }
        write_atomic(folder / "plan.json", json.dumps(plan).encode(), 0o600)
        # A script, not a module, and without the script's folder in the path: otherwise Fedward's modules would be
        # found here, and not in the staged app.
        command = [sys.executable, "-P", str(Path(__file__).with_name("flower_process.py")), str(folder)]
        return cls(folder, _spawn(command, folder, log, hospitals), log)

    def running(self) -> bool:
        """Whether the run may still make progress."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Stop every process that was started; returns when all are gone.

        The server ends at once, wherever it is, and hospitals may be ended anywhere, too: nothing would be gained by
        giving Ray's processes the seconds that they take to notice.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _kill(_processes_that(lambda process: _is_of(process, self.home) or _works_in(process, self.home)))
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

    def last_words(self) -> str:
        """The last error in the log, shortened; empty where there is none."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - LAST_BYTES))
            lines = [_COLORS.sub("", line).strip() for line in file.read().decode(errors="replace").splitlines()]
            errors = [line for line in lines if _ERROR_LINE.match(line)]
            return errors[-1][:LAST_CHARACTERS] if errors else ""
        return ""


def stop_left_over(home: Path) -> None:
    """Stop what is left of a simulation whose own process has ended."""
    _stop(_processes_of(home))
    _kill(_processes_that(lambda process: _works_in(process, home)))


def clients_at_once(settings: Settings) -> int:
    """How many simulated hospitals train at a time."""
    return settings.speed.clients_at_once or min(settings.data.hospitals, os.cpu_count() or 1)


def _spawn(command: list[str], home: Path, log: Path, hospitals: Path) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, so that Ctrl-C reaches only us, with a pipe that tells it of our end."""
    # A proxy is for calls to the outside, of which a simulation makes none.
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**inherited, **QUIET_AND_LOCAL, "FLWR_HOME": str(home), SIMULATED_HOSPITALS: str(hospitals)}
    environment |= {"RAY_TMPDIR": str(home), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # TensorFlow leaves files behind where it is killed: they go with the home.
    scratch = home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    environment["TMPDIR"] = str(scratch)
    # Ray's workers look for modules where Flower was started before they look into the app: nothing may be there.
    nowhere = home / "empty"
    nowhere.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own programs, no shell
            command,
            env=environment,
            cwd=nowhere,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o077,
        )


def _processes_of(home: Path) -> list[psutil.Process]:
    """All processes of a simulation, also those whose parents have died."""
    return _processes_that(lambda process: _is_of(process, home))


def _is_of(process: psutil.Process, home: Path) -> bool:
    """Whether a process inherited `FLWR_HOME`."""
    return process.environ().get("FLWR_HOME") == str(home)


def _works_in(process: psutil.Process, home: Path) -> bool:
    """Whether a process works in a folder of the simulation.

    That tells Ray's agents, which have written their names over their environment and live on for a minute or two. They
    have nothing to lose, and take no notice of polite signals.
    """
    return process.cwd().startswith(f"{home.resolve()}{os.sep}")


def _kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, and wait until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _await_end(processes)


def _processes_that(belongs: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """All processes of which something holds that this user may look at."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            if belongs(process):
                found.append(process)
    return found


def _stop(processes: Iterable[psutil.Process]) -> None:
    """Give processes a moment to end by themselves, then ask, then kill."""
    alive = _await_end(processes)
    for signal_name in ("terminate", "kill"):
        for process in alive:
            try:
                getattr(process, signal_name)()
            except psutil.NoSuchProcess:
                continue
        alive = _await_end(alive)


def _await_end(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Wait a while for processes to end; returns those that have not.

    One that has ended holds nothing any more, also where nobody has asked for its exit status yet: whoever adopted it
    may take seconds to do so.
    """
    alive, until = list(processes), time.monotonic() + STOP_TIMEOUT_S
    while (alive := [process for process in alive if _lives(process)]) and time.monotonic() < until:
        time.sleep(LOOK_S)
    return alive


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
