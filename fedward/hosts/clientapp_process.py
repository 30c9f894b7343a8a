"""Script that `launcher_process.py` starts once: it loads the libraries, then forks a process for each message.

Each is Flower's `flwr-clientapp`, with silent errors. To import TensorFlow, Flower and web3 takes five seconds of a
processor, which a new interpreter would spend on every message. What forks has done nothing but import: no operation of
TensorFlow has run, no connection is open, and its only threads are OpenBLAS's, which the child has anew.

Where an app ends by an error that it did not foresee, Flower sends the error's own text to the server. Such a text may
quote a file's name or content. It stays in the SuperNode's log, and a fixed sentence leaves in its place.

It imports nothing of Fedward: the app that it loads finds Fedward's modules in the approved bundle and nowhere else.
"""

import contextlib
import gc
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import TypedDict

# What apps use is loaded here once, and not for each message.
import dp_accounting.pld
import dp_accounting.rdp  # noqa: F401
import keras  # noqa: F401
import numpy as np
import PIL.Image  # noqa: F401
import psutil
import pydicom  # noqa: F401
import Pyfhel  # noqa: F401
import sklearn.metrics  # noqa: F401
import web3  # noqa: F401
from flwr.app.error import Error
from flwr.supernode.cli.flwr_clientapp import flwr_clientapp
from flwr.supernode.runtime import run_clientapp as flower

SILENT = "The hospital's program ended by an error that it did not foresee; the hospital's log says which."


class Task(TypedDict):
    """What the launcher says of a message, as a line of JSON.

    Attributes:
        arguments: Of `flwr-clientapp`.
        token: The file of the task's token, which is removed in the end.
    """

    arguments: list[str]
    token: str


def main() -> None:
    """Fork a process for each line of standard input; when that ends, end them all."""
    gc.freeze()  # else a child that collects garbage copies what it shares with this process, page by page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin.buffer:
        if os.fork() == 0:
            answer(json.loads(line))
            return
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def answer(task: Task) -> None:
    """Answer one message, in a process of its own.

    Raises:
        SystemExit: when it has been answered, or could not be.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    random.seed()
    np.random.seed()  # noqa: NPY002 - else all children would draw the same, as NumPy seeded itself when imported
    flower.Error = silent(flower.Error)  # type: ignore[attr-defined]
    sys.argv = ["flwr-clientapp", *task["arguments"]]
    try:
        flwr_clientapp()
    finally:
        Path(task["token"]).unlink(missing_ok=True)


def silent(original: type[Error]) -> type[Error]:
    """Flower's class of errors in messages, which keeps the code and leaves the reason at home."""

    class SilentError(original):  # type: ignore[misc,valid-type]
        def __init__(self, code: int, reason: str | None = None) -> None:  # noqa: ARG002 - it stays here
            super().__init__(code=code, reason=SILENT)

    return SilentError


if __name__ == "__main__":
    main()
