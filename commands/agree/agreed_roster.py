"""The roster that a hospital agreed to, with names, kept as people confirmed it: the hospital vouches for it later."""

import json

from fedward.checked_json import read_json, to_json
from fedward.errors import VerificationError
from fedward.files import write_atomic
from fedward.folders.hospital import roster_digest
from fedward.hosts.hospital_kit import HospitalKit
from fedward.types import Member

_AGREE = "Agree to the roster: main.py agree KIT"


def save_agreed(kit: HospitalKit, members: tuple[Member, ...]) -> None:
    """Keep the roster, in the ledger's order.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    write_atomic(kit.roster, (json.dumps(to_json(members), indent=2) + "\n").encode())


def load_agreed(kit: HospitalKit) -> tuple[Member, ...]:
    """The roster that this hospital agreed to last.

    Raises:
        EvidenceError: it has not agreed to any, or the file is damaged.
        VerificationError: the file has another roster than the hospital's own folder.
    """
    members = read_json(tuple[Member, ...], kit.roster, "The agreed roster", _AGREE)
    if roster_digest((one.address, one.weight) for one in members) != kit.hospital.membership().roster_digest:
        raise VerificationError(f"{kit.roster} is not the roster that this hospital agreed to.", _AGREE)
    return members
