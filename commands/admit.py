"""`main.py admit` and `main.py revoke`: the administrator lets hospitals into a study, and puts them out."""

from pathlib import Path
from typing import Annotated

import typer

from commands import console


def admit(
    kit: Annotated[Path, typer.Argument(metavar="SERVER", help="The server's kit; its processes run.")],
    requests: Annotated[list[Path], typer.Argument(metavar="REQUEST.json...", help="What hospitals sent.")],
    number: Annotated[
        list[str] | None,
        typer.Option(help="The number of a request, as the hospital read it; one for each, in order; else asked for."),
    ] = None,
) -> None:
    """As the administrator: let hospitals in, on the ledger and at the SuperLink."""
    from blockchain.consortium.enrollment import MAX_BYTES, SignedEnrollment
    from commands.confirming import confirm_number
    from commands.study.membership import admit_hospital, opened_registrar
    from fedward.errors import UsageError
    from fedward.files import read_file
    from fedward.hosts.server_kit import ServerKit

    if number and len(number) != len(requests):
        raise UsageError(
            f"{len(number)} numbers for {len(requests)} requests.", "Give one --number for each, in order."
        )
    server = ServerKit(kit)
    with opened_registrar(server) as ledger:
        for index, path in enumerate(requests):
            content = read_file(
                path, MAX_BYTES, "The request", "Name the file that the hospital sent.", through_link=True
            )
            signed = SignedEnrollment.from_bytes(content, f"The request {path}")
            asked = signed.enrollment
            console.note(f"{asked.hospital}: account {asked.address}, {asked.weight} training images")
            confirm_number(f"the request of {asked.hospital}", content, number[index] if number else None)
            admit_hospital(server, ledger, signed)
            console.out.print(f"{asked.hospital} is admitted.")


def revoke(
    kit: Annotated[Path, typer.Argument(metavar="SERVER", help="The server's kit; its processes run.")],
    hospital: Annotated[str, typer.Argument(help="Which hospital.")],
) -> None:
    """As the administrator: put a hospital out; the others agree to the new roster before the next round."""
    from commands.study.membership import opened_registrar, revoke_hospital
    from fedward.hosts.server_kit import ServerKit
    from fedward.types import HospitalId

    server = ServerKit(kit)
    with opened_registrar(server) as ledger:
        revoke_hospital(server, ledger, HospitalId(hospital))
    console.out.print(f"{hospital} is revoked. Every other hospital now runs: main.py agree KIT", soft_wrap=True)
