"""The hospital that a command speaks for: a kit of a host of its own, or a folder of a simulation."""

from pathlib import Path

from commands.passwords import use_password_of
from fedward.errors import UsageError
from fedward.folders.hospital import HospitalFolder
from fedward.hosts.hospital_kit import HospitalKit


def hospital_at(path: Path) -> HospitalFolder:
    """A hospital's own folder, by its kit or by itself; a kit's password is found from now on.

    Raises:
        UsageError: it is neither, or what the kit says of its password cannot be read.
        EvidenceError: likewise.
    """
    kit = HospitalKit(path)
    if kit.hospital.identity.is_dir():
        use_password_of(path)
        return kit.hospital
    folder = HospitalFolder(path)
    if folder.identity.is_dir():
        return folder
    raise UsageError(
        f"{path} is no hospital's folder.",
        "Name the kit that `enroll` made; or, of a simulation, a folder like RUN/hospitals/hospital-1.",
    )
