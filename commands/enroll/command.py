"""Options of `main.py enroll`."""

from pathlib import Path
from typing import Annotated

import typer

from fedward.tables import parse_assignment


def enroll(
    project: Annotated[Path, typer.Argument(metavar="PROJECT.toml", help="The file that the administrator sent.")],
    out: Annotated[Path, typer.Option(help="New folder for the hospital's kit.")],
    name: Annotated[str, typer.Option(help="The hospital's name, as the project's file has it.")],
    data: Annotated[str | None, typer.Option(help="The hospital's images: folder or .npz file.")] = None,
    partition: Annotated[
        Path | None, typer.Option(help="Images that data_preprocessing.py has prepared, in place of --data.")
    ] = None,
    number: Annotated[
        str | None, typer.Option(help="The number of the project's file, as the administrator read it; else asked for.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Password of the account; made where missing. Else from FEDWARD_PASSWORD.")
    ] = None,
    second_node: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Another node of the ledger, whose blocks are compared with the server's."),
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="data.KEY=VALUE", help="How the images are read; see 'info'.")
    ] = None,
) -> None:
    """As a hospital: make keys, read the images, and write the request to be admitted."""
    from commands.enroll.enrolling import make_hospital_kit
    from commands.enroll.own_images import Images

    given = dict(parse_assignment(text) for text in assignments or ())
    make_hospital_kit(project, out, name, Images.of(data, partition, given), number, password_file, second_node)
