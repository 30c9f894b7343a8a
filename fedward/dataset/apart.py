"""Decoders that may crash, in processes of their own, and one budget of pixels for everybody.

A damaged or hostile file may overflow a decoder written in C, unpack without end, or never finish. In a helper
process that costs one file, which is named in the report, and nothing else. See docs/adr/0024.
"""

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fedward.dataset.decoding import MAX_PIXELS, Decoded
from fedward.dataset.problems import NotAnImageError, UnreadableImageError

SECONDS_A_FILE = 60
DECODE, PATIENT = 1, 2  # what is asked of a helper
REQUEST = struct.Struct("<BIQ")  # which, image size, length of the file that follows
REPLY = struct.Struct("<cQ")  # one of the letters below, and a number of pixels or of bytes that follow
RESERVE, IMAGE, REASON, NOT_AN_IMAGE, TEXT, GO = b"R", b"D", b"E", b"N", b"P", b"G"

_CRASHED = "its decoder crashed on it, so it is damaged"
_TOO_SLOW = f"it was not decoded within {SECONDS_A_FILE} seconds"


class PixelBudget:
    """How many samples may be in memory at once, over all threads and helpers.

    Guarantees:
        1. What is reserved and not yet given back never adds up to more than the total.
        2. No order of requests waits for ever: a file reserves once, and holds nothing while it waits.
    """

    def __init__(self, total: int = MAX_PIXELS) -> None:
        self._total, self._used, self._changed = total, 0, threading.Condition()

    @contextlib.contextmanager
    def account(self) -> Iterator[Callable[[int], None]]:
        """One file's account: call it with a number of samples; they are given back at the end of the block."""
        held = 0

        def reserve(samples: int) -> None:
            nonlocal held
            if held:
                return
            wanted = min(max(samples, 1), self._total)
            with self._changed:
                self._changed.wait_for(lambda: self._used + wanted <= self._total)
                self._used += wanted
            held = wanted

        try:
            yield reserve
        finally:
            with self._changed:
                self._used -= held
                self._changed.notify_all()


class Helpers:
    """Helper processes, started when they are needed, as many as ask at once; ended with the block.

    Guarantees:
        1. Whatever bytes come, a call returns or raises UnreadableImageError within SECONDS_A_FILE of decoding.
    """

    def __init__(self) -> None:
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            _end(process)

    def decode(self, content: bytes, image_size: int, reserve: Callable[[int], None]) -> Decoded:
        """Decode one file.

        Raises:
            UnreadableImageError: it gives no image, or its decoder crashed, took too long or too much memory.
        """
        kind, body = self._ask(DECODE, image_size, content, reserve)
        if kind != IMAGE:
            raise UnreadableImageError(_CRASHED)
        (length,) = struct.unpack("<I", body[:4])
        facts = json.loads(body[4 : 4 + length])
        start = 4 + length
        image = np.frombuffer(body, dtype=np.uint8, offset=start + 32).reshape(image_size, image_size)
        return Decoded(
            image,
            body[start : start + 32],
            facts["patient"],
            facts["is_dicom"],
            Counter(facts["dropped"]),
            facts["burned_in"],
            Counter(facts["notes"]),
        )

    def patient_id(self, content: bytes) -> str:
        """PatientID of a DICOM file, "" where it has none.

        Raises:
            UnreadableImageError: the header is damaged.
        """
        _, body = self._ask(PATIENT, 0, content, lambda _pixels: None)
        return body.decode()

    def _ask(self, what: int, image_size: int, content: bytes, reserve: Callable[[int], None]) -> tuple[bytes, bytes]:
        with self._lock:
            process = self._idle.pop() if self._idle else None
        process = process or _start()
        try:
            kind, body = _converse(process, REQUEST.pack(what, image_size, len(content)), content, reserve)
        except BaseException:
            _end(process)
            raise
        with self._lock:
            self._idle.append(process)
        if kind in (REASON, NOT_AN_IMAGE):
            raise (NotAnImageError if kind == NOT_AN_IMAGE else UnreadableImageError)(body.decode())
        return kind, body


def _start() -> "subprocess.Popen[bytes]":
    """A helper that knows where this code lies, and one thread of whatever library."""
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fedward.dataset.helper"]
    return subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd=root
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


def _converse(
    process: "subprocess.Popen[bytes]", head: bytes, content: bytes, reserve: Callable[[int], None]
) -> tuple[bytes, bytes]:
    """Send a request, reserve when asked, and read the answer."""
    deadline = time.monotonic() + SECONDS_A_FILE
    stdin: Any = process.stdin
    try:
        stdin.write(head)
        stdin.write(content)
        stdin.flush()
        while True:
            kind, number = REPLY.unpack(_read(process, REPLY.size, deadline))
            if kind != RESERVE:
                return kind, _read(process, number, deadline)
            reserve(number)
            deadline = time.monotonic() + SECONDS_A_FILE  # waiting for one's turn is nobody's fault
            stdin.write(GO)
            stdin.flush()
    except BrokenPipeError as error:
        raise UnreadableImageError(_CRASHED) from error


def _read(process: "subprocess.Popen[bytes]", count: int, deadline: float) -> bytes:
    """Exactly so many bytes, or the reason why they do not come."""
    stdout: Any = process.stdout
    parts, missing = [], count
    while missing:
        ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise UnreadableImageError(_TOO_SLOW)
        part = os.read(stdout.fileno(), min(missing, 1 << 20))
        if not part:
            raise UnreadableImageError(_CRASHED)
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
