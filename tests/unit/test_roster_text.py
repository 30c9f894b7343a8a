"""What people compare by one number: a change of anything in it is another number."""

import dataclasses

import pytest

from blockchain.consortium.model_handover import ModelInForce
from blockchain.ledger.records import RosterEntry
from commands.study.roster import roster_text
from fedward.hosts.project import Deployed
from fedward.hosts.spoken import spoken
from fedward.types import Address, HospitalId

DEPLOYED = Deployed(Address("0x" + "11" * 20), 7, "aa" * 32, "bb" * 32, "cc" * 32, "dd" * 32, "PEM")
NORTH = RosterEntry(0, Address("0x" + "22" * 20), 80)
IN_FORCE = ModelInForce(b"h" * 32, b"m" * 32)


def number(
    deployed: Deployed = DEPLOYED, roster: RosterEntry = NORTH, name: str = "north", in_force: ModelInForce = IN_FORCE
) -> str:
    names = {roster.address: HospitalId(name)}
    return spoken(roster_text(deployed, [roster], names, in_force).encode())


@pytest.mark.parametrize(
    "changed",
    [
        {"deployed": dataclasses.replace(DEPLOYED, settings_digest="00" * 32)},
        {"deployed": dataclasses.replace(DEPLOYED, bundle="00" * 32)},
        {"roster": dataclasses.replace(NORTH, weight=81)},
        {"name": "south"},
        # Whose model is another starts from another; under one base id nobody would notice.
        {"in_force": dataclasses.replace(IN_FORCE, digest=b"d" * 32)},
        {"in_force": dataclasses.replace(IN_FORCE, base_id=b"b" * 32)},
    ],
)
def test_whoever_is_told_otherwise_reads_another_number(changed: dict[str, object]) -> None:
    assert number() == number()
    assert number(**changed) != number()  # type: ignore[arg-type]
