"""Checks of the machine: versions, memory, and room on the disk for the rounds to come."""

import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from commands.doctor.finding import Finding, failure, fine, watch
from fedward.ciphertexts.packing import round_plan
from fedward.ciphertexts.plan import PackingPlan
from fedward.errors import EvidenceError
from fedward.files import read_file
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.server_kit import ServerKit
from fedward.settings import PROJECT_FILE, Settings

LOCK = PROJECT_FILE.parent / "requirements.lock"
MEMORY = Path("/proc/meminfo")
OLDEST, TOO_NEW = (3, 11), (3, 14)  # as requires-python of pyproject.toml
LITTLE_MEMORY, TOO_LITTLE_MEMORY = 2 * 1024**3, 512 * 1024**2  # TensorFlow, one model, and 256 MiB for a password
SPARE_DISK = 1024**3  # for logs, Flower's database and what else the host writes

_MOST_BYTES = 8 * 1024 * 1024
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_SHOWN = 3  # differing packages
_MUST = ("flwr", "pyfhel", "numpy", "keras", "web3", "py-evm", "eth-account", "cryptography")


def check_versions(lock: Path = LOCK) -> Finding:
    """Python and all installed packages are those that the study's hosts agreed on by the lock."""
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        return failure(f"This is Python {sys.version.split()[0]}.", "Make the environment with Python 3.11 to 3.13.")
    try:
        text = read_file(lock, _MOST_BYTES, "The list of versions", "", through_link=True).decode(errors="replace")
    except EvidenceError as error:
        return watch(error.what, "Compare the versions with requirements.lock of this version of Fedward by hand.")
    pinned: dict[str, set[str]] = {}
    for name, version in _PIN.findall(text):  # some have one version for one Python, another for the next
        pinned.setdefault(name.lower(), set()).add(version)
    differing = [
        f"{name} {have or 'is missing'}, pinned is {' or '.join(sorted(wanted))}"
        for name, wanted in pinned.items()
        if (have := _installed(name)) not in wanted and (have or name in _MUST)
    ]
    if differing:
        more = f", and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        return failure(
            f"Versions differ from requirements.lock: {'; '.join(differing[:_SHOWN])}{more}.",
            "Install what is pinned: make setup",
        )
    return fine(f"Python {sys.version.split()[0]}; Flower, Pyfhel and all other packages are as pinned.")


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_memory(source: Path = MEMORY) -> Finding:
    """There is memory for a process that trains or adds."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", source.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if not found:
        return watch("This system does not tell how much memory is free.", "See that 2 GiB are.")
    free = int(found[1]) * 1024
    said = f"{_shown(free)} of memory are free."
    if free < TOO_LITTLE_MEMORY:
        return failure(said, "End other programs, or give the machine more: a round needs about 2 GiB.")
    if free < LITTLE_MEMORY:
        return watch(said, "A round needs about 2 GiB.")
    return fine(said)


def check_server_disk(kit: ServerKit) -> Finding:
    """There is room for the ciphertexts of the rounds to come, which the server keeps.

    A round adds an update a hospital, and their sum. Flower's database holds the same messages once more.
    """
    record, settings = kit.study.load_record(), kit.load_project().settings
    hospitals = max(len(record.roster), len(kit.load_project().study.hospitals))
    left = max(0, settings.training.rounds - len(kit.study.rounds()))
    update = _update_bytes(record.parameters, hospitals, settings)
    return _room(kit.path, left * 2 * (hospitals + 1) * update, f"the {left} rounds to come take")


def check_hospital_disk(kit: HospitalKit) -> Finding:
    """There is room for a round's messages: a hospital keeps the last one's only.

    Its own update and the sum, each once here and once with Flower, and three copies of the model.
    """
    project = kit.load_project()
    if not kit.hospital.has_model():
        return _room(kit.path, 0, "a round takes more than")
    parameters = len(kit.hospital.load_model().weights)
    update = _update_bytes(parameters, len(project.study.hospitals), project.settings)
    return _room(kit.path, 4 * update + 3 * 4 * parameters, "a round takes")


def _update_bytes(parameters: int, hospitals: int, settings: Settings) -> int:
    plan: PackingPlan = round_plan(parameters, hospitals, settings)
    return round(plan.bytes_per_parameter * parameters)


def _room(folder: Path, needed: int, what: str) -> Finding:
    """Compare the free bytes of a folder's disk with what is needed."""
    free = shutil.disk_usage(folder).free
    said = f"{_shown(free)} are free on the disk of {folder}; {what} {_shown(needed)}."
    if free < needed:
        return failure(said, "Free some space, or move the kit to a larger disk before it is full.")
    if free < needed + SPARE_DISK:
        return watch(said, "Leave a GiB more for logs and Flower's database.")
    return fine(said)


def _shown(count: int) -> str:
    """Bytes in a unit that people read."""
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1024:.0f} KiB"
