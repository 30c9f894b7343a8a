"""Options of `main.py agree`."""

from pathlib import Path
from typing import Annotated

import typer


def agree(
    kit: Annotated[Path, typer.Argument(metavar="HOSPITAL", help="The hospital's kit.")],
    number: Annotated[
        str | None, typer.Option(help="The roster's number, as the administrator read it; else asked for.")
    ] = None,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for the other hospitals' part.")] = 1800,
) -> None:
    """As a hospital: agree to the roster, and take the key and the model of the next round."""
    from commands.agree.agreeing import agree_and_take
    from fedward.hosts.hospital_kit import HospitalKit

    agree_and_take(HospitalKit(kit), number, wait)
