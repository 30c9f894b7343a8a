"""Run a hospital's SuperNode on its own host: start it, start it again whenever it ends, leave nothing behind.

Two processes: the SuperNode, which dials out to the server and listens on loopback, and the launcher, which asks it for
work there and has a process for each message. They know each other by a secret and a certificate that are drawn at
each start, so that no other user of the machine can give the hospital work or take it.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import filelock
import tomli_w

from fedward.errors import UsageError
from fedward.files import bound_log, make_folder, write_atomic
from fedward.flower import QUIET_AND_LOCAL, STOP_TIMEOUT_S, stop_left_over
from fedward.folders.own_folder import HOSPITAL_FOLDER
from fedward.hosts.approvals import Approvals
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.loopback import HOST, free_port, write_certificate
from fedward.hosts.project import Place
from fedward.learning.tensorflow_settings import tensorflow_settings
from fedward.settings import PROJECT_FILE

PRIVATE = 0o600
HEALTHY_S = 60.0  # after so long, an end is taken for a new trouble
FIRST_DELAY_S, LONGEST_DELAY_S, GROWTH = 5.0, 60.0, 1.3
MOST_LOG_BYTES = 20 * 1024**2  # then the log moves aside, and what was aside before goes
NOT_LET_IN = 305  # Flower's exit code where the server refuses the connection

_LOOK_S = 0.5
_EXIT_CODE = re.compile(rb"Exit Code: (\d+)")
_SECRET_BYTES = 32

Say = Callable[[str], None]


def serve_hospital(kit: HospitalKit, say: Say = lambda line: print(line, file=sys.stderr, flush=True)) -> NoReturn:
    """Run a hospital's SuperNode until this process is interrupted.

    Args:
        kit: The hospital's.
        say: Tells people what happens, a sentence at a time.

    Raises:
        UsageError: the kit is not complete, or another process serves it already.
        ResourceError: the disk is full.
        KeyboardInterrupt: on Ctrl-C, and on SIGTERM under `fedward.entry`; everything has been stopped then.

    Guarantees:
        1. However this process ends, no process of the hospital goes on.
        2. Only code that the hospital approved is run, and it finds no modules but its own and the installed packages.
    """
    server = kit.load_project().server
    if Approvals(kit.approvals).current() is None:
        raise UsageError("This hospital has approved no code yet.", f"Run `main.py approve {kit.path} BUNDLE` first.")
    for folder in (kit.flower, kit.logs):
        make_folder(folder)
    log, failures = kit.logs / "supernode.log", 0
    with _alone(kit):
        stop_left_over(kit.flower)
        while True:
            started, size = time.monotonic(), log.stat().st_size if log.exists() else 0
            with _processes(kit, server, log) as processes:
                say(f"The SuperNode of {kit.path.name} connects to {server.host}:{server.port}; it logs to {log}.")
                while all(process.poll() is None for process in processes):
                    time.sleep(_LOOK_S)
                    bound_log(log, MOST_LOG_BYTES)
            failures = 0 if time.monotonic() - started > HEALTHY_S else failures + 1
            delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * GROWTH**failures)
            say(f"The SuperNode ended: {_reason(log, size)}. It starts again in {delay:.0f} s.")
            time.sleep(delay)


@contextmanager
def _alone(kit: HospitalKit) -> Iterator[None]:
    """Hold the kit's lock: a second SuperNode would be refused by the server, and stop the first one here."""
    lock = filelock.FileLock(kit.flower / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UsageError(f"{kit.path} is served already.", "Stop the process that does so first.") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _processes(kit: HospitalKit, server: Place, log: Path) -> Iterator[Sequence["subprocess.Popen[bytes]"]]:
    """The hospital's two processes, which end with the `with` block."""
    own = _fresh(kit.flower / "own")
    nowhere, scratch = _fresh(kit.flower / "empty"), _fresh(kit.flower / "tmp")
    certificate, key = write_certificate(own)
    secret, config = own / "secret", own / "node.toml"
    write_atomic(secret, secrets.token_bytes(_SECRET_BYTES), PRIVATE)
    write_atomic(config, tomli_w.dumps({HOSPITAL_FOLDER: str(kit.hospital.path.resolve())}).encode(), PRIVATE)
    port = free_port()
    superlink = f"[{server.host}]:{server.port}" if ":" in server.host else f"{server.host}:{server.port}"
    approvals = Approvals(kit.approvals.resolve())
    node = [sys.executable, "-P", "-m", "fedward.hosts.supernode_process", str(kit.approvals.resolve())]
    node += ["--superlink", superlink, "--root-certificates", str(kit.authority.resolve())]
    node += ["--auth-supernode-private-key", str(kit.transport_key.resolve()), "--node-config", str(config)]
    node += ["--trusted-entities", str(approvals.trusted), "--host", HOST, "--port", str(port)]
    node += ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key), "--ssl-ca-certfile", str(certificate)]
    node += ["--isolation", "process", "--superexec-auth-secret-file", str(secret)]
    script = Path(__file__).with_name("launcher_process.py")
    launcher = [sys.executable, "-P", str(script), "hospital", f"{HOST}:{port}", str(certificate), str(secret)]
    environment = _environment(kit.flower.resolve(), scratch)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("ab") as output:
            # Only the SuperNode, which runs nothing of what the server sends, finds Fedward's modules here.
            here = environment | {"PYTHONPATH": str(PROJECT_FILE.parent)}
            for command, variables in ((node, here), (launcher, environment)):
                processes.append(_spawn(command, variables, nowhere, output.fileno()))
        yield processes
    finally:
        _stop(processes, kit.flower.resolve())


def _spawn(command: list[str], environment: dict[str, str], folder: Path, output: int) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, so that Ctrl-C reaches only us, with a pipe that tells it of our end."""
    return subprocess.Popen(  # noqa: S603 - our own programs, no shell
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        start_new_session=True,
        umask=0o077,
    )


def _stop(processes: Sequence["subprocess.Popen[bytes]"], home: Path) -> None:
    """Let the SuperNode sign off from the server, then stop whatever is left; returns when all are gone."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    for process in processes:
        if process.stdin:
            process.stdin.close()  # which ends a process that still runs
    stop_left_over(home)
    for process in processes:
        process.wait()


def _environment(home: Path, scratch: Path) -> dict[str, str]:
    """The environment of the hospital's processes; a proxy for calls to the outside stays, but not for those inside."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    quiet = {name: value for name, value in QUIET_AND_LOCAL.items() if name.startswith("FLWR_")}
    inside = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), HOST)))
    own = {
        "FLWR_HOME": str(home),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",  # each look costs 3 ms of a processor
        "TMPDIR": str(scratch),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "no_proxy": inside,
        "NO_PROXY": inside,
    }
    return inherited | quiet | tensorflow_settings(inherited) | own


def _fresh(folder: Path) -> Path:
    """An empty folder that only its owner can read, in place of what was left there."""
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    return folder.resolve()


def _reason(log: Path, since: int) -> str:
    """Why the SuperNode ended, as far as its log says since a place in it."""
    with log.open("rb") as file:
        file.seek(min(since, log.stat().st_size))
        codes = _EXIT_CODE.findall(file.read(MOST_LOG_BYTES))
    if codes and int(codes[-1]) == NOT_LET_IN:
        return (
            "the server did not let it in, which passes within about a minute if it crashed before, "
            "and does not if this hospital was not admitted or was revoked"
        )
    return f"its log {log} says why"
