"""Options of `main.py approve`."""

from pathlib import Path
from typing import Annotated

import typer


def approve(
    kit: Annotated[Path, typer.Argument(help="The hospital's kit.")],
    bundle: Annotated[Path, typer.Argument(help="The code to approve: the file that the administrator sent.")],
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="NUMBER", help="The number that the administrator reads out.")
    ] = None,
) -> None:
    """Show how code differs from what this hospital approved, and let it run from now on."""
    from commands.approve.asking import ask_and_approve

    ask_and_approve(kit, bundle, yes)
