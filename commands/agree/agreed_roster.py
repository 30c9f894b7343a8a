"""The rosters that a hospital agreed to, with names, kept as people confirmed them: it vouches for them later."""

import json

from fedward.checked_json import read_json, to_json
from fedward.errors import VerificationError
from fedward.files import write_atomic
from fedward.folders.hospital import roster_digest
from fedward.hosts.hospital_kit import HospitalKit
from fedward.types import Address, HospitalId, Member

_AGREE = "Agree to the roster: main.py agree KIT"

Roster = tuple[Member, ...]


def save_agreed(kit: HospitalKit, roster: Roster) -> None:
    """Keep a roster, in the ledger's order, behind those that were agreed to before.

    Raises:
        EvidenceError: the file is damaged.
        ResourceError: the disk is full or the folder cannot be written.
    """
    before = _rosters(kit) if kit.roster.exists() else ()
    rosters = before if before and before[-1] == roster else (*before, roster)
    write_atomic(kit.roster, (json.dumps(to_json(rosters), indent=2) + "\n").encode())


def vouched_for(kit: HospitalKit) -> dict[HospitalId, Address]:
    """The hospitals that this one ever agreed to, also those that were revoked since.

    Raises:
        EvidenceError: it has not agreed to any roster, or the file is damaged.
        VerificationError: the last roster in the file is another than the one in the hospital's own folder.
    """
    rosters = _rosters(kit)
    agreed = roster_digest((one.address, one.weight) for one in rosters[-1]) if rosters else None
    if agreed != kit.hospital.membership().roster_digest:
        raise VerificationError(f"{kit.roster} does not end with the roster that this hospital agreed to.", _AGREE)
    return {one.hospital: one.address for roster in rosters for one in roster}


def _rosters(kit: HospitalKit) -> tuple[Roster, ...]:
    return read_json(tuple[Roster, ...], kit.roster, "The list of agreed rosters", _AGREE)
