"""Helper processes for work that holds the interpreter's lock: started fresh, spoken to over pipes.

A helper is a new interpreter that runs one of our own files, so nothing of the caller's process (TensorFlow, Ray,
threads, locks) is copied. Whatever it is to know goes through its standard input: not through arguments or the
environment, which others on the machine can read. It ends when its input ends.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

from fedward.errors import EncryptionError, ResourceError

_LENGTH = struct.Struct("<Q")
_LARGEST = 2**24  # bytes of a piece of work: far more than a key pair or a ciphertext has
_PIPE_BYTES = 2**20  # holds two pieces of work, so that a helper need not wait for its next one
_KEPT = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "SYSTEMROOT", "TMPDIR")  # of the environment; passwords stay out
_STOP_S = 5.0
_WINDOW = 128  # jobs and results in memory
_DONE, _FAILED = b"\0", b"\1"

Work = Callable[[bytes], bytes]


class Helpers:
    """So many processes of one script, for the time of a `with` block.

    Args:
        script: A file of ours that calls `serve`.
        setup: What each helper reads first.
        count: Number of processes; 0 is allowed.

    Raises:
        ResourceError: a process cannot be started.
    """

    def __init__(self, script: Path, setup: bytes, count: int) -> None:
        self._script, self._setup, self._count = script, setup, count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._depth = 2

    def __enter__(self) -> "Helpers":
        try:
            for _ in range(self._count):
                self._start()
        except OSError as error:
            self._stop()
            raise _stopped(str(error.strerror or error)) from error
        except ResourceError:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def share_out(self, jobs: Iterable[bytes], own: Work) -> Iterator[bytes]:
        """Do each job, here or in a helper, and hand out the results in the order of the jobs.

        Helpers are fed first; this process works too, and takes more where helpers are still starting.

        Args:
            jobs: At most `_WINDOW` are taken ahead of what was handed out, so that memory stays bounded.
            own: Does a job in this process.

        Raises:
            EncryptionError: a helper refused a job; the message is its own.
            ResourceError: a helper is gone.
        """
        todo = enumerate(jobs)
        given = {process: deque[int]() for process in self._processes}
        results: dict[int, bytes] = {}
        out, more = 0, True
        while more or results or any(given.values()):
            room = _WINDOW - len(results) - sum(map(len, given.values()))
            for process in [process for process in given if len(given[process]) < self._depth][:room]:
                if (numbered := next(todo, None)) is None:
                    more = False
                    break
                given[process].append(numbered[0])
                _send(process, numbered[1])
            able = more and room > len(given)
            busy = {process.stdout: process for process, numbers in given.items() if numbers and process.stdout}
            for pipe in select.select(list(busy), (), (), 0 if able else None)[0] if busy else ():
                results[given[busy[pipe]].popleft()] = _receive(busy[pipe])
            if able and (numbered := next(todo, None)) is not None:
                results[numbered[0]] = own(numbered[1])
            elif able:
                more = False
            while out in results:
                yield results.pop(out)
                out += 1

    def _start(self) -> None:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and file, no shell
            [sys.executable, str(self._script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # `select` must see all that has come
            stderr=subprocess.DEVNULL,  # a traceback could show what a helper works on
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            start_new_session=True,  # Ctrl-C is for this process, which then ends its helpers
        )
        self._processes.append(process)
        if not (_enlarge(process.stdin) and _enlarge(process.stdout)):
            self._depth = 1  # both sides could wait for each other to read
        _send(process, self._setup)

    def _stop(self) -> None:
        """End all helpers and wait until they are gone."""
        for process in self._processes:
            process.kill()  # it holds nothing that must be saved
            process.wait(timeout=_STOP_S)
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    try:
                        pipe.close()
                    except OSError:  # what was not yet sent cannot be
                        continue
        self._processes.clear()


def serve(source: IO[bytes], target: IO[bytes], start: Callable[[bytes], Work]) -> None:
    """A helper's life: one setup, then jobs until the input ends.

    Args:
        source: Where frames come from.
        target: Where results go.
        start: Makes the worker from the setup.
    """
    setup = _read(source)
    if setup is None:
        return
    work: Work | None = None
    while (job := _read(source)) is not None:
        try:
            work = work or start(setup)
            answer = _DONE + work(job)
        except EncryptionError as error:
            answer = _FAILED + f"{error.what}\n{error.remedy}".encode()
        target.write(_LENGTH.pack(len(answer)))
        target.write(answer)
        target.flush()


def _send(process: "subprocess.Popen[bytes]", content: bytes) -> None:
    if process.stdin is None:
        raise _stopped("it has no input")
    left = memoryview(_LENGTH.pack(len(content)) + content)
    try:
        while left:
            left = left[process.stdin.write(left) :]
    except OSError as error:
        raise _stopped(str(error.strerror or error)) from error


def _receive(process: "subprocess.Popen[bytes]") -> bytes:
    answer = _read(process.stdout) if process.stdout else None
    if not answer:
        raise _stopped("it ended early")
    if answer[:1] == _FAILED:
        what, _, remedy = answer[1:].decode(errors="replace").partition("\n")
        raise EncryptionError(what, remedy)
    return answer[1:]


def _read(source: IO[bytes]) -> bytes | None:
    """One frame, or None where the input has ended."""
    head = _read_all(source, _LENGTH.size)
    if head is None or (length := _LENGTH.unpack(head)[0]) > _LARGEST:
        return None
    return _read_all(source, length)


def _read_all(source: IO[bytes], length: int) -> bytes | None:
    """So many bytes, which may come in pieces, or None where there are fewer."""
    pieces = []
    while length:
        piece = source.read(length)
        if not piece:
            return None
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def _enlarge(pipe: IO[bytes] | None) -> bool:
    """Let a pipe hold two pieces of work; only Linux can."""
    if pipe is None or not hasattr(fcntl, "F_SETPIPE_SZ"):
        return False
    try:
        return int(fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)) >= _PIPE_BYTES
    except OSError:
        return False


def _stopped(why: str) -> ResourceError:
    return ResourceError(
        f"A helper process for encryption is gone: {why}.", "Free memory, or set speed.encryption-workers to 0."
    )
