"""Hospitals' folders that lie beside a model: in a run, in a kit, or the folder that the model itself lies in."""

from pathlib import Path

from fedward.folders.hospital import HospitalFolder
from fedward.hosts.hospital_kit import HospitalKit


def hospital_folders(beside: Path, named: Path | None = None) -> list[Path]:
    """Folders that may be hospitals': the one that the user named, the model's, and a simulation's.

    Args:
        beside: The folder that the model lies in.
        named: A hospital's folder that the user named.
    """
    first = [named] if named is not None else []
    return [*first, beside, *sorted(path for path in beside.glob("hospitals/*") if path.is_dir())]


def keeps_sealed(beside: Path, named: Path | None = None) -> bool:
    """Whether a hospital's folder, or the one in the kit that the model lies in, has its images sealed.

    Then no decoded image of its own is to lie open on its disk either.

    Args:
        beside: The folder that the model lies in.
        named: A hospital's folder that the user named.
    """
    folders = (*hospital_folders(beside, named), HospitalKit(beside).hospital.path)
    return any(HospitalFolder(folder).sealed_partition.exists() for folder in folders)
