"""`main.py prune`: free the disk of single updates whose sums are done with."""

from pathlib import Path
from typing import Annotated

import typer

from commands import console


def prune(
    run: Annotated[Path, typer.Argument(metavar="RUN_OR_SERVER", help="A run folder, or a server's kit.")],
    keep_rounds: Annotated[int, typer.Option(min=0, help="Of so many of the last rounds single updates are kept.")],
) -> None:
    """Remove the single updates of old rounds; their sums stay, but an audit of these rounds is then incomplete."""
    from fedward.folders.places import server_part
    from fedward.folders.server import ServerFolder

    folder = ServerFolder(server_part(run))
    folder.load_record()
    count, size = folder.ciphertexts.prune(keep_rounds)
    console.out.print(f"{count} ciphertexts of {size / 1e6:.1f} MB were removed.")
