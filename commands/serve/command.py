"""`main.py serve`: run the processes of a kit, a server's or a hospital's."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from commands import console
from fedward.errors import UsageError


def serve(
    kit: Annotated[Path, typer.Argument(help="A server's kit, a hospital's or a witness's.")],
    only: Annotated[
        Literal["ledger", "superlink", "gateway"] | None, typer.Option(help="One part of a server; all, if not given.")
    ] = None,
    bind: Annotated[
        str | None,
        typer.Option(help="IP address that a server's gateway listens on; by default all of this machine's."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS:]PORT", help="Show metrics for Prometheus there; without an address on loopback."
        ),
    ] = None,
    json_logs: Annotated[
        bool, typer.Option("--json-logs", help="Say what happens, and each round's events, as JSON lines on stdout.")
    ] = False,
) -> None:
    """Run a server, a hospital or a witness until Ctrl-C: its processes start again when they end, and stop with it."""
    from blockchain.node.host import parse_host
    from commands.passwords import use_password_of
    from commands.serve.fork_watch import ForkWatch
    from commands.serve.telling import told
    from commands.serve.witnessing import serve_witness
    from fedward import entry
    from fedward.hosts.hospital_kit import HospitalKit
    from fedward.hosts.server_kit import ServerKit
    from fedward.hosts.server_processes import serve_server
    from fedward.hosts.supernode import serve_hospital
    from fedward.hosts.witness_kit import WitnessKit

    server, hospital, witness = ServerKit(kit), HospitalKit(kit), WitnessKit(kit)
    use_password_of(kit)
    with entry.private_files():
        if server.certificate_key.exists():
            if bind is not None:
                parse_host(bind)
            serve_server(server, only, bind, told(server, metrics, json_logs, only))
        if only is not None or bind is not None:
            raise UsageError(f"{kit} is no server's kit.", "--only and --bind are for servers.")
        if witness.exists():
            if metrics is not None or json_logs:
                raise UsageError("A witness has no metrics and no JSON logs.", "They are a server's and a hospital's.")
            serve_witness(witness, console.note)
        if hospital.transport_key.exists():
            say = told(hospital, metrics, json_logs)
            ForkWatch(hospital, say).start()
            serve_hospital(hospital, say)
    raise UsageError(f"{kit} is no kit.", "Name the folder that `main.py provision` or `main.py enroll` made.")
