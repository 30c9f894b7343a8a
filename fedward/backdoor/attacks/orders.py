"""Orders to attack, as a simulation leaves them in the folder of each hospital that is to be malicious."""

import json
from dataclasses import dataclass
from pathlib import Path

from fedward.backdoor.attacks.attack import Part
from fedward.checked_json import read_json, to_json
from fedward.files import write_atomic
from fedward.folders.arrays import PRIVATE
from fedward.folders.hospital import HospitalFolder


@dataclass(frozen=True)
class Orders:
    """What one malicious hospital does.

    Attributes:
        attack: The attack with its options, as `attack_from` reads it.
        first_round: The first round in which it attacks.
        place: Which of the attackers it is, from 0.
        attackers: How many there are.
        share: Its share of the consortium's weight.
    """

    attack: str
    first_round: int
    place: int
    attackers: int
    share: float

    def part(self) -> Part:
        """This attacker's part."""
        return Part(self.place, self.attackers, self.share)


def save_orders(folder: HospitalFolder, orders: Orders) -> None:
    """Leave orders in a hospital's folder."""
    write_atomic(_file(folder), json.dumps(to_json(orders), indent=2).encode(), PRIVATE)


def read_orders(folder: HospitalFolder) -> Orders | None:
    """A hospital's orders; None where it is honest.

    Raises:
        EvidenceError: the file is damaged.
    """
    path = _file(folder)
    return read_json(Orders, path, "The orders to attack", "Start the simulation anew.") if path.exists() else None


def _file(folder: HospitalFolder) -> Path:
    return folder.path / "attack.json"
