"""Script that asks Flower for work and has a process for each task: at a hospital a message, at the server a run.

`supernode.py` starts it for a hospital's SuperNode, `server_processes.py` for the server's SuperLink.

Flower's own `flower-superexec` would do so as well, but names the token of each task on the command line, where every
user of the machine reads it. Here the token is in a file that only its owner reads.

It imports nothing of Fedward: the processes that it starts find Fedward's modules in the approved bundle and nowhere
else.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
from flwr.supercore.constant import TASK_TYPE_TO_COMMAND, TaskType
from flwr.supercore.superexec import run_superexec as flower
from flwr.supercore.superexec.executor import ExecutionSpec, LaunchResult
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor

KINDS = {"hospital": TaskType.CLIENT_APP, "server": TaskType.SERVER_APP}


class PrivateExecutor(SubprocessExecutor):
    """Has processes started for one kind of task, and for no other of Flower's.

    Args:
        kind: hospital | server
    """

    def __init__(self, kind: str) -> None:
        self._kind = KINDS[kind]
        self._processes = Forked() if kind == "hospital" else Programs()

    def get_eligible_capacity(self, *_: object, **__: object) -> tuple[set[TaskType], set[str]]:
        """Which tasks to ask for."""
        return {self._kind}, set()

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Start a process for a task."""
        if spec.task_type != self._kind:
            return LaunchResult.failed(f"This machine runs no {spec.task_type}.")
        descriptor, token = tempfile.mkstemp(prefix="task-")  # for its owner only, in a folder for its owner only
        with os.fdopen(descriptor, "w") as file:
            file.write(spec.token)
        arguments = ["--runtime-api-address", spec.runtime_api_address, "--token-file", token]
        arguments += ["--root-certificates", str(spec.root_certificates_path), "--parent-pid", str(os.getpid())]
        self._processes.start(arguments, Path(token))
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        """Tidy up after the processes that have ended."""
        self._processes.tidy()


class Programs:
    """A new process of Flower's program for each run of a ServerApp."""

    def __init__(self) -> None:
        self._program = Path(sys.executable).parent / TASK_TYPE_TO_COMMAND[TaskType.SERVER_APP]
        self._started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, arguments: list[str], token: Path) -> None:
        """Start one."""
        command = [str(self._program), *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - Flower's own, no shell
        self._started.append((process, token))

    def tidy(self) -> None:
        """Remove the tokens of those that have ended."""
        for process, token in [each for each in self._started if each[0].poll() is not None]:
            token.unlink(missing_ok=True)
            self._started.remove((process, token))


class Forked:
    """One process that has loaded the libraries, and forks for each message (`clientapp_process.py`)."""

    def __init__(self) -> None:
        program = [sys.executable, "-P", str(Path(__file__).with_name("clientapp_process.py"))]
        reading, self._writing = os.pipe()
        self._loaded = subprocess.Popen(program, stdin=reading)  # noqa: S603 - our own program, no shell
        os.close(reading)

    def start(self, arguments: list[str], token: Path) -> None:
        """Let it fork; the child removes the token."""
        os.write(self._writing, json.dumps({"arguments": arguments, "token": str(token)}).encode() + b"\n")

    def tidy(self) -> None:
        """End this process too where the other one has ended; `supernode.py` starts both again.

        Raises:
            SystemExit: it has ended.
        """
        if (code := self._loaded.poll()) is not None:
            sys.exit(f"The process that answers messages ended with {code}.")


def main(kind: str, address: str, certificate: str, secret: bytes) -> None:
    """Start processes for tasks until asked to end.

    Args:
        kind: hospital | server
        address: Of the SuperNode or SuperLink, on loopback.
        certificate: Path of its certificate, PEM, or its authority's: nobody else who listens there is asked for work.
        secret: Shared with it; it gives work to nobody else.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    flower.get_executor = lambda *_, **__: PrivateExecutor(kind)  # type: ignore[attr-defined]
    flower.run_superexec(
        address,
        insecure=False,
        root_certificates_path=certificate,
        superexec_auth_secret=secret,
        runtime_dependency_install=False,
    )


def _end_with_parent() -> None:
    """End this process with all its children when standard input ends: its parent has ended, however."""
    while os.read(sys.stdin.fileno(), 1):  # by no buffer, which the interpreter would want to lock when it ends
        pass
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]).read_bytes())
