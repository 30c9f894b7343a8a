"""Tell which party's kit a folder is."""

from pathlib import Path

from fedward.errors import UsageError
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.server_kit import ServerKit


def kit_at(path: Path) -> ServerKit | HospitalKit:
    """The kit in a folder.

    Raises:
        UsageError: it is neither a server's nor a hospital's.
    """
    kit = kit_or_none(path)
    if kit is None:
        raise UsageError(f"{path} is no kit.", "Name the folder that `provision` or `enroll` made.")
    return kit


def kit_or_none(path: Path) -> ServerKit | HospitalKit | None:
    """The kit in a folder; None where there is none."""
    server, hospital = ServerKit(path), HospitalKit(path)
    if server.bundle.exists() and server.study.path.is_dir():
        return server
    if hospital.token.exists() and hospital.hospital.path.is_dir():
        return hospital
    return None
