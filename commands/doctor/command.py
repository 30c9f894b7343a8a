"""Options of `main.py doctor`."""

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    kit: Annotated[Path, typer.Argument(help="The folder that `provision` or `enroll` made.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a server's or hospital's host: data, keys, clock, TLS, ledger, disk, versions. Changes nothing."""
    from commands.doctor.examination import diagnose

    diagnose(kit, as_json)
