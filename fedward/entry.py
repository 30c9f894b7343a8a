"""Run a program of Fedward: turn errors and interruptions into one sentence and an exit code; private file modes.

No traceback shows the values of variables, since keys and patients' ids are among them.
"""

import errno
import inspect
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, get_args, get_type_hints

from typer.core import TyperArgument, TyperCommand
from typer.models import ArgumentInfo

from fedward.errors import FedwardError, ResourceError

INTERRUPTED = 130
_READER_GONE = 1  # as Typer leaves where whoever read the output has gone
PRIVATE_UMASK = 0o077

_STANDARD_ERROR = 2  # the descriptor


def run(program: Callable[[], object], say: Callable[[str], None], verbose: Callable[[], bool] = lambda: False) -> None:
    """Run a program, and leave with the exit code of docs/errors.md where it stops early.

    Args:
        program: All of it.
        say: Shows an error to the user.
        verbose: Whether to show the traceback of an error too.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    _hold_standard_streams()
    _write_what_can_be_written()
    try:
        _to_its_end(program)
    except FedwardError as error:
        _stop(error, say, verbose())
    except OSError as error:
        _stop(_as_resource_error(error), say, verbose())
    except KeyboardInterrupt:
        say("Stopped on request; what was finished is kept. Continue a simulation with --resume.")
        sys.exit(INTERRUPTED)
    finally:
        _drop_what_cannot_be_written()


def end_with_parent() -> None:
    """End this process when its standard input ends: its parent has ended, however.

    The parent holds the other end of a pipe. Flower's own programs, which start without Fedward's modules, do the same
    by themselves (`fedward/flower_process.py`, `fedward/hosts/launcher_process.py`, `superlink_process.py` there).
    """

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):  # by no buffer, which the interpreter would want to lock when it ends
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def private_files() -> Iterator[None]:
    """Let nobody but this user read what is written meanwhile, here and in the processes that are started."""
    before = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def outlive_reader() -> None:
    """Let whoever reads the output stop, as `grep -q` does, and still leave with the program's own exit code."""
    before = sys.stdout
    if not isinstance(before, io.TextIOWrapper) or before is not sys.__stdout__:
        return  # it is closed, or replaced by something of another's
    before.flush()
    output = io.BufferedWriter(_Output(before.fileno(), "w", closefd=False))
    sys.stdout = io.TextIOWrapper(
        output, encoding=before.encoding, errors=before.errors, line_buffering=before.isatty()
    )


class _Output(io.FileIO):
    """Standard output; where its reader is gone, or writing failed, what follows goes nowhere."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            _lead_nowhere(self.fileno())
            if isinstance(error, BrokenPipeError):
                return super().write(content)
            raise  # a full disk is said; what is still buffered does not fail once more at the end


def _hold_standard_streams() -> None:
    """Open what is closed of the descriptors 0 to 2, to nowhere.

    The next file that is opened would get that number, and what libraries written in C say would be written into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _stop(error: FedwardError, say: Callable[[str], None], verbose: bool) -> NoReturn:
    if verbose:
        traceback.print_exception(error)
    say(str(error))
    sys.exit(error.exit_code)


def _as_resource_error(error: OSError) -> ResourceError:
    """An error of the operating system that no part of the program expected, as a `ResourceError`."""
    where = f"{error.filename}: " if error.filename else "Reading or writing failed: "
    remedy = "Free some space." if error.errno == errno.ENOSPC else "Mend that; -v shows where in the program it was."
    resource = ResourceError(f"{where}{error.strerror or type(error).__name__}.", remedy)
    resource.__cause__ = error
    return resource


def _write_what_can_be_written() -> None:
    """Write a character that the terminal's encoding lacks as its code, so that it does not end the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # absent where the stream is closed or replaced
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _to_its_end(program: Callable[[], object]) -> None:
    """Run a program, and find out whether its output could be written.

    The interpreter's end is too late: it would leave with 120, or with 0 as if all had been written. Typer leaves by
    SystemExit, also where all went well.
    """
    try:
        program()
    except SystemExit as leaving:
        if not leaving.code:
            _flush()
        raise
    _flush()


def _flush() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        sys.exit(_READER_GONE)


def _drop_what_cannot_be_written() -> None:
    """Let the interpreter's end find nothing to write that cannot be: it would say so, and change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _lead_nowhere(stream.fileno())


def _lead_nowhere(descriptor: int) -> None:
    """Let what is written to an open descriptor go nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class DescribedCommand(TyperCommand):
    """A command whose `--help` describes its arguments: Click 8.5 loses what Typer 0.20 was told of them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        function = inspect.unwrap(self.callback) if self.callback else None
        hints = get_type_hints(function, include_extras=True) if function else {}
        for parameter in self.params:
            if isinstance(parameter, TyperArgument) and not parameter.help:
                told = [note for note in get_args(hints.get(parameter.name or "")) if isinstance(note, ArgumentInfo)]
                parameter.help = told[0].help if told else None
