"""Options of `main.py compare`."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs, the first to start from.")
    ],
    out: Annotated[Path | None, typer.Option(help="A new folder for pictures of the comparison, and its JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare finished runs with the first: settings and figures that differ, and by how much they surely do.

    Where test images are the same, models are compared on each of them (DeLong's test for AUC, McNemar's for accuracy).
    """
    from commands.compare.comparing import compare_runs

    compare_runs(tuple(runs), out, as_json)
