"""`main.py start-study`, `status`, `stop` and `conclude`: options."""

from pathlib import Path
from typing import Annotated

import typer

_SERVER = typer.Argument(metavar="SERVER", help="The server's kit; its processes run.")


def start_study(
    kit: Annotated[Path, _SERVER],
    detach: Annotated[bool, typer.Option("--detach", help="Return once the study has started.")] = False,
) -> None:
    """As the administrator: lead the study's rounds, or go on after an interruption, and show how they go."""
    from commands.study.leading import lead
    from fedward.hosts.server_kit import ServerKit

    lead(ServerKit(kit), detach)


def stop(
    kit: Annotated[Path, _SERVER],
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the round that runs: it is aborted.")] = False,
) -> None:
    """As the administrator: stop the study after the round that runs; start-study goes on."""
    from commands.study.leading import stop_leading
    from fedward.hosts.server_kit import ServerKit

    stop_leading(ServerKit(kit), now)


def status(
    kit: Annotated[Path, typer.Argument(metavar="KIT", help="The server's kit, or a hospital's.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show hospitals, last heartbeat, round, stage and ledger height; and the roster's number."""
    from commands.study.standing import show_standing

    show_standing(kit, as_json)


def conclude(
    kit: Annotated[Path, typer.Argument(metavar="HOSPITAL", help="The hospital's kit.")],
    only_trust: Annotated[
        bool, typer.Option("--only-trust", help="Write the trust file only; asks nobody, so also after a revocation.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """As a hospital: write the study's model and this hospital's trust file, and score the model on its test images."""
    from commands.study.concluding import conclude_hospital, write_trust
    from fedward.hosts.hospital_kit import HospitalKit

    if only_trust:
        write_trust(HospitalKit(kit))
    else:
        conclude_hospital(HospitalKit(kit), as_json)
