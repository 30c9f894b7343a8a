"""Flower's processes of a simulation: started on loopback, with a home of their own, and stopped to the last one."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
import tomli_w

from fedward.errors import ResourceError
from fedward.folders.own_folder import SIMULATED_HOSPITALS
from fedward.settings import PROJECT_FILE, Settings, to_tables
from fedward.tables import nested

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 8.0

# Flower and Ray by default phone home, install packages at run time and listen on all interfaces.
QUIET_AND_LOCAL = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # One thread an operation: how many hospitals train at a time then changes nothing in what they compute.
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def stage_app(target: Path) -> None:
    """Copy what may travel to hospitals, and nothing else, into an empty folder: Flower bundles all it finds.

    The list is `fab-include` of pyproject.toml.
    """
    with PROJECT_FILE.open("rb") as file:
        patterns: list[str] = tomllib.load(file)["tool"]["flwr"]["app"]["fab-include"]
    root = PROJECT_FILE.parent
    for source in [PROJECT_FILE, *(path for pattern in patterns for path in sorted(root.glob(pattern)))]:
        destination = target / source.relative_to(root)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)


@dataclass
class FlowerSimulation:
    """A SuperLink and one run on it.

    Attributes:
        home: Flower's folder; every process of this simulation carries it in its environment.
        superlink: The SuperLink's process; it starts server, Ray and the hospitals' processes.
        runner: The `flwr run` process that submitted the run and follows its log.
        log: Where all of them write to.
    """

    home: Path
    superlink: "subprocess.Popen[bytes]"
    runner: "subprocess.Popen[bytes]"
    log: Path

    @classmethod
    def start(
        cls, folder: Path, settings: Settings, hospitals: Path, log: Path, stage: Callable[[Path], None] = stage_app
    ) -> "FlowerSimulation":
        """Stage the app, start a SuperLink and submit the run.

        Args:
            folder: An empty folder for Flower's own files and the staged app.
            settings: Passed on to server and hospitals as the run config.
            hospitals: Where the simulated hospitals' folders lie; told to their processes by the environment.
            log: File for the processes' output.
            stage: Puts the app into a folder.

        Raises:
            ResourceError: the SuperLink does not start.
        """
        stage(folder / "fedward")
        port = _free_port()
        run_config = folder / "run_config.toml"
        run_config.write_bytes(tomli_w.dumps(nested(to_tables(settings))).encode())
        connection = {"default": "simulation", "simulation": {"address": f"127.0.0.1:{port}", "insecure": True}}
        (folder / "config.toml").write_bytes(tomli_w.dumps({"superlink": connection}).encode())
        address = ["--host", "127.0.0.1", "--port", str(port)]
        superlink = _spawn(["flower-superlink", "--insecure", "--simulation", *address], folder, log, hospitals)
        try:
            _wait_for_port(port, superlink, log)
            federation = (
                f"num-supernodes={settings.data.hospitals} client-resources-num-cpus=1 "
                f"init-args-num-cpus={clients_at_once(settings)}"
            )
            options = ["--run-config", str(run_config), "--federation-config", federation, "--stream"]
            runner = _spawn(["flwr", "run", str(folder / "fedward"), "simulation", *options], folder, log, hospitals)
        except BaseException:
            superlink.terminate()
            _stop(_processes_of(folder))
            superlink.wait()
            raise
        return cls(folder, superlink, runner, log)

    def running(self) -> bool:
        """Whether the run may still make progress."""
        return self.superlink.poll() is None and self.runner.poll() is None

    def stop(self) -> None:
        """Stop every process that was started, politely first; returns when all are gone."""
        processes = _processes_of(self.home)
        for process in (self.runner, self.superlink):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        _stop(processes)
        for process in (self.runner, self.superlink):
            process.wait()


def clients_at_once(settings: Settings) -> int:
    """How many simulated hospitals train at a time."""
    return settings.speed.clients_at_once or min(settings.data.hospitals, os.cpu_count() or 1)


def _spawn(command: list[str], home: Path, log: Path, hospitals: Path) -> "subprocess.Popen[bytes]":
    """Start a program of this Python's environment in a session of its own, so that Ctrl-C reaches only us."""
    programs = Path(sys.executable).parent
    environment = {**os.environ, **QUIET_AND_LOCAL, "FLWR_HOME": str(home), SIMULATED_HOSPITALS: str(hospitals)}
    environment["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
    # Ray's workers look for modules where Flower was started before they look into the app: nothing may be there.
    nowhere = home / "empty"
    nowhere.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own programs, no shell
            [str(programs / command[0]), *command[1:]],
            env=environment,
            cwd=nowhere,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the SuperLink answers."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise ResourceError("Flower's SuperLink did not start.", f"See {log}.")


def _processes_of(home: Path) -> list[psutil.Process]:
    """All processes of a simulation, also those whose parents have died: they inherit `FLWR_HOME`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FLWR_HOME") == str(home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def _stop(processes: Iterable[psutil.Process]) -> None:
    """Give processes a moment to end by themselves, then ask, then kill."""
    _, alive = psutil.wait_procs(processes, timeout=STOP_TIMEOUT_S)
    for signal_name in ("terminate", "kill"):
        for process in alive:
            try:
                getattr(process, signal_name)()
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(alive, timeout=STOP_TIMEOUT_S)
