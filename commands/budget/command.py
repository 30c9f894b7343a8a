"""Options of `main.py budget`."""

from pathlib import Path
from typing import Annotated

import typer

from fedward.errors import UsageError


def budget(
    data: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Folder or .npz file that simulations trained on.")
    ] = None,
    record: Annotated[Path | None, typer.Option(metavar="DIR", help="A hospital's record of studies.")] = None,
    limit: Annotated[
        float | None, typer.Option(metavar="EPSILON", help="Set the largest epsilon over all studies; 0: no limit.")
    ] = None,
    delta: Annotated[
        float | None, typer.Option(help="Set the delta of all these epsilons; 0: the largest of the studies.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what all studies on the same patients have spent together, and set a hospital's own limit."""
    if data and record:
        raise UsageError("--data and --record each name a record of studies.", "Give one of them.")
    if (limit is not None or delta is not None) and not (data or record):
        raise UsageError("A limit is of one record of studies.", "Name it by --data or --record.")
    if limit is not None and not 0 <= limit <= 1e6:  # also where it is no number
        raise UsageError(f"--limit is {limit:g} but must be at least 0 and at most 1,000,000.", "Change it.")
    if delta is not None and not 0 <= delta <= 0.1:
        raise UsageError(f"--delta is {delta:g} but must be at least 0 and at most 0.1.", "Change it.")
    from commands.budget.sheet import chosen, set_limit, show

    if limit is not None or delta is not None:
        set_limit(data, record, limit, delta)
    show(chosen(data, record), as_json)
