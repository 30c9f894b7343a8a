"""What hospitals had against candidates, and who was told to attack: gathered from all their folders.

A vote on the ledger carries the hash of its reasons. The reasons themselves stay in the hospitals' folders.
"""

from collections.abc import Sequence
from typing import Any

from blockchain.leading.leaving_out import DUE, ledger_standing
from blockchain.ledger.ledger import Ledger
from commands.simulate.attacking import attackers
from fedward.backdoor.attacks.orders import read_orders
from fedward.files import parse_json
from fedward.folders.simulation import SimulationFolder
from fedward.settings import Settings
from fedward.types import HospitalId, Member

UNDECODED = "decode"  # what there is against a sum that gives no candidate


def gather_objections(folder: SimulationFolder, roster: Sequence[Member], ledger: Ledger) -> list[dict[str, Any]]:
    """The rounds in which a hospital objected: how each ended, and which hospitals objected by which detector."""
    found = []
    for index in range(1, ledger.latest_round() + 1):
        by_detector: dict[str, list[HospitalId]] = {}
        for member in roster:
            content = folder.hospital(member.hospital).load_report(index)
            for name in _objecting(parse_json(content) if content else {}):
                by_detector.setdefault(name, []).append(member.hospital)
        if by_detector:
            phase = ledger.round(index).phase.name.lower()
            found.append({"round": index, "phase": phase, "hospitals": by_detector})
    return found


def attack_facts(folder: SimulationFolder, roster: Sequence[Member]) -> dict[str, Any] | None:
    """What malicious hospitals were told to do; None where all were honest."""
    malicious = attackers(folder, roster)
    orders = [read_orders(folder.hospital(member.hospital)) for member in malicious]
    first = next((each for each in orders if each), None)
    if first is None:
        return None
    return {
        "attack": first.attack,
        "first_round": first.first_round,
        "hospitals": [member.hospital for member in malicious],
    }


def attribution_facts(
    folder: SimulationFolder, roster: Sequence[Member], ledger: Ledger, settings: Settings
) -> dict[str, Any]:
    """Who was left out of which rounds, and who was named for ruining some."""
    names = {member.address: member.hospital for member in roster}
    left_out = [
        {"round": line["round"], "hospital": names[each["hospital"]], "reason": each["reason"]}
        for line in folder.server.rounds()
        for each in line["rejections"]
        if each["reason"] in DUE
    ]
    places = {entry.index: names.get(entry.address, entry.address) for entry in ledger.roster()}
    named = [
        {
            "hospital": places[naming.place],
            "round": naming.round_index,
            "rejected": list(naming.rejected),
            "until": naming.until,
        }
        for naming in ledger_standing(ledger, settings).named
    ]
    return {"left_out": left_out, "named": named}


def _objecting(report: dict[str, Any]) -> list[str]:
    """Names of the detectors that found a candidate suspicious."""
    if "decode_failure" in report:
        return [UNDECODED]
    return [each["detector"] for each in report.get("reports", []) if each["suspicious"]]
