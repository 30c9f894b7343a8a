"""Options of `main.py provision`."""

from pathlib import Path
from typing import Annotated

import typer


def provision(
    project: Annotated[
        Path, typer.Argument(metavar="PROJECT.toml", help="Hospitals, server and settings of the study.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the server's kit.")],
    password_file: Annotated[
        Path | None,
        typer.Option(help="Password of the server's account; made where missing. Else from FEDWARD_PASSWORD."),
    ] = None,
    authority: Annotated[
        Path | None,
        typer.Option(help="PEM file of a certificate authority that hospitals are to trust, if you have one."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file: the server's certificate, signed by that.")
    ] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="PEM file: the key of that certificate.")] = None,
    witness: Annotated[
        Path | None,
        typer.Option(metavar="REQUEST.json", help="What the witness sent, which attests to each round's sum."),
    ] = None,
    witness_number: Annotated[
        str | None, typer.Option(help="The number of that request, as the witness read it; else asked for.")
    ] = None,
    no_witness: Annotated[
        bool, typer.Option("--no-witness", help="Have no witness: that sums are right, audits alone tell.")
    ] = False,
) -> None:
    """As the administrator: make the server's kit: keys, certificates, ledger, and the code that hospitals run."""
    from commands.provision.naming_witness import named_witness
    from commands.provision.provisioning import GivenCertificate, make_server_kit

    given = GivenCertificate.of(authority, certificate, certificate_key)
    make_server_kit(project, out, password_file, given, named_witness(witness, witness_number, no_witness))
