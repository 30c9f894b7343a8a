"""`main.py status`: where a study stands, as the server or a hospital sees it."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.table import Table

from blockchain.consortium.model_handover import model_in_force
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.reader import LedgerReader
from commands import console
from commands.study.kits import kit_at
from commands.study.leading import running_runs
from commands.study.membership import opened_registrar
from commands.study.roster import roster_text
from commands.study.suspicions import suspicions, told
from fedward.errors import FedwardError
from fedward.files import parse_json, read_file, read_lines
from fedward.hosts.bundle import MOST_BYTES
from fedward.hosts.gateway_client import GatewayClient
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.members import Members
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.spoken import spoken
from fedward.hosts.superlink_control import SuperLinkControl

_MOST_BYTES = 1024 * 1024


def show_standing(path: Path, as_json: bool) -> None:
    """Print where a study stands.

    Raises:
        UsageError: the folder is no kit.
        LedgerError, ResourceError: the server's processes are not running, or cannot be reached.
    """
    kit = kit_at(path)
    standing = _of_server(kit) if isinstance(kit, ServerKit) else _of_hospital(kit)
    if as_json:
        console.data(standing)
        return
    for name, value in standing.items():
        if name not in ("hospitals", "suspicions"):
            console.out.print(f"{name.replace('_', ' ').capitalize() + ':':<20} {value}", soft_wrap=True, markup=False)
    table = Table("hospital", "images", "address", "connected", "last heartbeat")
    for one in standing["hospitals"]:
        table.add_row(
            console.plain(one["hospital"]),
            str(one["images"]),
            one["address"],
            one.get("status", ""),
            one.get("last_heartbeat", ""),
        )
    console.out.print(table)
    for sentence in told(standing["suspicions"]):
        console.out.print(sentence, soft_wrap=True, markup=False)


def _of_server(kit: ServerKit) -> dict[str, Any]:
    """As the administrator sees it."""
    project = kit.load_project()
    members = Members(kit.members).all()
    with SuperLinkControl(kit) as control:
        nodes = {node.public_key: node for node in control.list_nodes()}
        running = bool(running_runs(control))
    hospitals = []
    for member in members:
        node = nodes.get(member.transport_key)
        hospitals.append(
            {
                "hospital": member.hospital,
                "address": member.address,
                "images": member.weight,
                "status": "revoked" if member.revoked else node.status if node else "not registered",
                "last_heartbeat": _ago(node.last_heartbeat) if node else "",
            }
        )
    names = {member.address: member.hospital for member in members}
    with opened_registrar(kit) as ledger:
        text = roster_text(project.require_deployed(), ledger.roster(), names, model_in_force(ledger))
        return {
            "study": project.study.name,
            "project_number": spoken(read_file(kit.project, _MOST_BYTES, "The project's file", "Restore it.")),
            "code_number": spoken(read_file(kit.bundle, MOST_BYTES, "The bundle", "Restore it.")),
            "roster_number": spoken(text.encode()),
            **_rounds(ledger, project.settings.training.rounds),
            "suspicions": suspicions(ledger, project.settings, names),
            "stage": _stage(kit),
            "running": running,
            "hospitals": hospitals,
        }


def _ago(at: float | None) -> str:
    """How long ago a time was, Unix seconds; "never" for None."""
    return f"{max(0, int(time.time() - at))} s ago" if at else "never"


def _of_hospital(kit: HospitalKit) -> dict[str, Any]:
    """As a hospital sees it."""
    project, folder = kit.load_project(), kit.hospital
    membership = folder.membership()
    with GatewayClient.of(kit) as client:
        names = {member.address: member.hospital for member in client.members()}
    ledger = Ledger.attach(folder.ledger_node(), membership.contract, None, membership.chain_id)
    with closing(ledger):
        roster = ledger.roster()
        held, context = folder.held_keys(), ledger.key_context()
        text = roster_text(project.require_deployed(), roster, names, model_in_force(ledger))
        return {
            "study": project.study.name,
            "hospital": membership.hospital,
            "roster_number": spoken(text.encode()),
            "key": "taken" if held and held[-1].fingerprint == context.fingerprint else "not taken: run `agree`",
            **_rounds(ledger, project.settings.training.rounds),
            "suspicions": suspicions(ledger, project.settings, names),
            "hospitals": [
                {"hospital": names.get(one.address, "?"), "address": one.address, "images": one.weight}
                for one in roster
            ],
        }


def _rounds(ledger: LedgerReader, wanted: int) -> dict[str, Any]:
    """What the ledger says of the rounds."""
    latest = ledger.latest_round()
    phases = [ledger.round(index).phase.name.lower() for index in range(1, latest + 1)]
    return {
        "rounds": {"decided": sum(phase in ("accepted", "rejected") for phase in phases), "wanted": wanted},
        "round": {"index": latest, "phase": phases[-1]} if phases else None,
        "ledger_height": ledger.head().height,
    }


def _stage(kit: ServerKit) -> str:
    """The server's last event."""
    try:
        lines = read_lines(kit.study.progress)
        event = parse_json(lines[-1].encode()) if lines else {}
    except (FedwardError, ValueError):
        return ""
    return " ".join(str(event[key]) for key in ("event", "round", "time") if key in event)
