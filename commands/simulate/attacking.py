"""`simulate --attack`: which hospitals are malicious, what they do and from when on."""

from collections.abc import Sequence
from dataclasses import dataclass

from commands import console
from fedward.backdoor.attacks.attack import Part
from fedward.backdoor.attacks.orders import Orders, read_orders, save_orders
from fedward.backdoor.attacks.registry import attack_from
from fedward.errors import UsageError
from fedward.folders.simulation import SimulationFolder
from fedward.types import Member


@dataclass(frozen=True)
class PlannedAttack:
    """What was asked for on the command line.

    Attributes:
        attack: The attack with its options, as `attack_from` reads it.
        attackers: How many hospitals are malicious: the last ones, so that the dealer is honest.
        first_round: The first round in which they attack.
    """

    attack: str
    attackers: int
    first_round: int

    def check(self, hospitals: int, rounds: int) -> None:
        """Make sure that it can be run.

        Raises:
            UsageError: there is no such attack or option, nobody would be left to be attacked, or it would begin after
                the last round.
        """
        attack_from(self.attack, Part(0, self.attackers, 1 / hospitals))
        if not 1 <= self.attackers < hospitals:
            raise UsageError(
                f"{self.attackers} of {hospitals} hospitals cannot be attackers.", "Leave at least one that is honest."
            )
        if self.first_round > rounds:
            raise UsageError(
                f"An attack from round {self.first_round} on never begins: the last round is {rounds}.",
                "Choose an earlier --attack-from, or more --rounds.",
            )


def give_orders(folder: SimulationFolder, planned: PlannedAttack) -> None:
    """Leave orders in the folders of the hospitals that are to attack."""
    roster = folder.server.load_record().roster
    total = sum(member.weight for member in roster)
    malicious = roster[-planned.attackers :]
    for place, member in enumerate(malicious):
        orders = Orders(planned.attack, planned.first_round, place, planned.attackers, member.weight / total)
        save_orders(folder.hospital(member.hospital), orders)
    names = ", ".join(member.hospital for member in malicious)
    console.warn(f"From round {planned.first_round} on, {names} will attack the model: {planned.attack}.")


def attackers(folder: SimulationFolder, roster: Sequence[Member]) -> list[Member]:
    """The hospitals that have orders to attack."""
    return [member for member in roster if read_orders(folder.hospital(member.hospital)) is not None]
