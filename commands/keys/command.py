"""Options of `main.py keys`."""

from pathlib import Path
from typing import Annotated

import typer

from fedward.entry import DescribedCommand

keys = typer.Typer(
    pretty_exceptions_enable=False,
    help="Show the encryption keys of a run, by epoch: names and holders, never a secret.",
)


@keys.callback()
def family() -> None:
    """A family of commands, with one member so far."""


@keys.command(cls=DescribedCommand)
def show(
    run: Annotated[Path, typer.Argument(help="A run folder, running or stopped.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show key epochs, fingerprints, and who has taken which key."""
    from commands.keys.epochs import show_epochs

    show_epochs(run, as_json)
