"""Options of `main.py enroll-witness` and `join-witness`."""

from pathlib import Path
from typing import Annotated

import typer


def enroll_witness(
    out: Annotated[Path, typer.Option(help="New folder for the witness's kit.")],
    password_file: Annotated[
        Path | None, typer.Option(help="Password of the account; made where missing. Else from FEDWARD_PASSWORD.")
    ] = None,
) -> None:
    """As a witness: make an account that may attest, and the request that the administrator provisions with."""
    from commands.witness.kits import make_witness_kit

    make_witness_kit(out, password_file)


def join_witness(
    kit: Annotated[Path, typer.Argument(metavar="WITNESS", help="The witness's kit.")],
    project: Annotated[Path, typer.Argument(metavar="PROJECT.toml", help="The file that the administrator sent.")],
    number: Annotated[
        str | None, typer.Option(help="The number of that file, as the administrator read it; else asked for.")
    ] = None,
) -> None:
    """As a witness: join the study that was provisioned with this witness's request."""
    from commands.witness.kits import join
    from fedward.hosts.witness_kit import WitnessKit

    join(WitnessKit(kit), project, number)
