"""Options of `main.py hosts-demo`."""

from pathlib import Path
from typing import Annotated

import typer


def hosts_demo(
    data: Annotated[str, typer.Option(help="Folder, .npz file, or 'synthetic'; shared out over the hospitals.")] = (
        "synthetic"
    ),
    out: Annotated[Path, typer.Option(help="New folder for all kits.")] = Path("runs/hosts-demo"),
    rounds: Annotated[int, typer.Option(min=1, help="How many rounds.")] = 3,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Any setting; see 'info'.")
    ] = None,
) -> None:
    """Try it at home: four hospitals and a server, as processes of their own with TLS; every command is shown."""
    from commands.hosts_demo.demo import run_demo

    run_demo(data, out, rounds, assignments or [])
