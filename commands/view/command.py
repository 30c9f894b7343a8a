"""Options of `main.py view`."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders, or folders of runs; default runs.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on loopback; 0 takes a free one.")] = 0,
) -> None:
    """Show runs in a browser on this machine, also while they run: rounds, votes, figures, ledger and audit.

    Nothing is written. The address that is printed has a token; without it nobody else on this machine sees a page.
    """
    from commands.view.serving import serve

    serve(tuple(runs or (Path("runs"),)), port)
