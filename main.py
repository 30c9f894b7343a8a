"""Fedward's command line: registers the subcommands, and turns every deliberate stop into one sentence and its code."""

import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, NoReturn

import typer

from commands import console
from commands.audit.command import audit
from commands.evaluate.command import evaluate
from commands.export import export
from commands.info.command import info
from commands.keys.command import keys
from commands.node import node
from commands.simulate.command import simulate
from fedward.errors import FedwardError

INTERRUPTED = 130

app = typer.Typer(
    help="Hospitals train one chest X-ray classifier together: private, encrypted, on a verifiable ledger.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (simulate, evaluate, audit, export, info, node):
    app.command()(command)
app.add_typer(keys, name="keys")


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every subcommand."""
    console.verbose = verbose


def main() -> None:
    """Run the command line and leave with the exit code of docs/errors.md."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except FedwardError as error:
        if console.verbose:
            traceback.print_exc()
        console.error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.error("Stopped on request; what was finished is kept. Continue a simulation with --resume.")
        sys.exit(INTERRUPTED)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
