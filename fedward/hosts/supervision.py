"""Keep processes running: start them, say when they are ready, start them again when they end, stop them all."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import filelock

from fedward.errors import UsageError
from fedward.files import bound_log, make_folder

HEALTHY_S = 60.0  # after so long, an end is taken for a new trouble
FIRST_DELAY_S, LONGEST_DELAY_S, GROWTH = 1.0, 30.0, 2.0
STOP_TIMEOUT_S = 6.0
MOST_LOG_BYTES = 20 * 1024**2  # then the log moves aside, and what was aside before goes

_LOOK_S, _BOUND_S = 0.1, 10.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """Processes that start and end together.

    Attributes:
        name: What to call them; also the name of their log.
        commands: Programs with their arguments.
        environment: All variables of the processes. `FLWR_HOME` is the folder by which they are found again.
        ready: Whether they do what they are for.
        ready_as: What to say then, as in "listens on port 1".
    """

    name: str
    commands: tuple[Sequence[str], ...]
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    ready_as: str


class _Running:
    """A part as it is now."""

    def __init__(self, part: Part, log: Path, folder: Path) -> None:
        self.part = part
        self.log = log
        self._folder = folder
        self._failures = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._since = 0.0
        self._next = 0.0  # when to start, where nothing runs
        self._told = False

    def look(self, say: Say) -> None:
        """Start what does not run and is due, and say what has changed."""
        now = time.monotonic()
        if not self._processes:
            if now >= self._next:
                self._start()
        elif any(process.poll() is not None for process in self._processes):
            codes = [process.returncode for process in self._processes if process.poll() is not None]
            self.stop()
            self._failures = 0 if now - self._since > HEALTHY_S else self._failures + 1
            delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * GROWTH ** (self._failures - 1)) if self._failures else 0.0
            self._next = now + delay
            say(f"{self.part.name} ended with {codes[0]}: {self.log} says why. It starts again in {delay:.0f} s.")
        elif not self._told and self.part.ready():
            self._told = True
            say(f"{self.part.name} {self.part.ready_as}; it logs to {self.log}.")

    def ask_to_end(self) -> None:
        """Ask the processes to end."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop the processes; returns when they are gone."""
        self.ask_to_end()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if process.stdin:
                process.stdin.close()  # which ends a process that still runs, with all its children
        for process in self._processes:
            process.wait()
        self._processes, self._told = [], False

    def _start(self) -> None:
        self._since = time.monotonic()
        with self.log.open("ab") as output:
            for command in self.part.commands:
                started = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                    list(command),
                    env=dict(self.part.environment),
                    cwd=self._folder,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # so that Ctrl-C reaches only us
                    umask=0o077,
                )
                self._processes.append(started)


def keep_running(parts: Sequence[Part], home: Path, logs: Path, say: Say) -> NoReturn:
    """Run parts until this process is interrupted.

    Args:
        parts: What to run.
        home: What `FLWR_HOME` names in the environment of all of them.
        logs: A log for each part goes here.
        say: Tells people what happens, a sentence at a time.

    Raises:
        UsageError: another process runs one of them already.
        ResourceError: the disk is full.
        KeyboardInterrupt: on Ctrl-C, and on SIGTERM under `fedward.entry`; everything has been stopped then.

    Guarantees:
        1. However this process ends, no process of these parts goes on.
    """
    folder = home / "empty"  # processes look for modules where they are started: nothing may be there
    make_folder(logs)
    make_folder(folder)
    with contextlib.ExitStack() as stack:
        for part in parts:
            stack.enter_context(_alone(part, logs))
        running = [_Running(part, logs / f"{part.name}.log", folder) for part in parts]
        stack.callback(_stop_all, running)
        bounded = 0.0
        while True:
            for each in running:
                each.look(say)
            if time.monotonic() - bounded > _BOUND_S:
                bounded = time.monotonic()
                for each in running:
                    if each.log.exists():
                        bound_log(each.log, MOST_LOG_BYTES)
            time.sleep(_LOOK_S)


def listens(host: str, port: int) -> bool:
    """Whether a program listens on a port."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _stop_all(running: Sequence[_Running]) -> None:
    """Ask all to end at the same time, then wait for each."""
    for each in running:
        each.ask_to_end()
    for each in running:
        each.stop()


@contextmanager
def _alone(part: Part, logs: Path) -> Iterator[None]:
    """Hold a part's lock, as long as this process lives."""
    lock = filelock.FileLock(logs / f".{part.name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UsageError(
            f"{part.name} of {logs.parent} runs already.", "Stop the process that runs it first."
        ) from error
    try:
        yield
    finally:
        lock.release()
