"""`main.py` in this process: the same entrance, streams and exit codes, without the seconds that a start takes.

What is about the process itself (signals, a terminal's Ctrl-C, what is imported, that it starts at all) starts one.
"""

import contextlib
import signal
import sys
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest import mock

import main


@dataclass(frozen=True)
class Done:
    """How a command ended, named as `subprocess.CompletedProcess` names it."""

    returncode: int
    stdout: str
    stderr: str


def run_here(*arguments: "str | Path") -> Done:
    """Run `main.py ARGUMENTS` to its end."""
    out, err, code = StringIO(), StringIO(), 0
    before = signal.getsignal(signal.SIGTERM)
    try:
        with (
            mock.patch.object(sys, "argv", ["main.py", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        signal.signal(signal.SIGTERM, before)
    return Done(code, out.getvalue(), err.getvalue())
