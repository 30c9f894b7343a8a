"""What each party of a finished run has on its disk of a round: files by name, and what follows from them alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blockchain.ledger.records import RosterEntry
from fedward.ciphertexts.serialized import MODULUS, residues_of
from fedward.errors import DataError, EvidenceError
from fedward.folders.simulation import SimulationFolder
from fedward.types import Address, HospitalId, Vector


@dataclass(frozen=True)
class Held:
    """What is attacked of a party, and where it lies.

    Attributes:
        party: Who, for tables.
        holds: In words.
        files: Their names in the run's folder, each of which is there.
    """

    party: str
    holds: str
    files: tuple[str, ...]


def names_in(run: SimulationFolder, *paths: Path) -> tuple[str, ...]:
    """The names of files in the run's folder.

    Raises:
        EvidenceError: one is not there.
    """
    for path in paths:
        if not path.exists():
            raise EvidenceError(f"{path} is missing.", "Name a finished run's folder.")
    return tuple(path.relative_to(run.path).as_posix() for path in paths)


def holds_channel_key(run: SimulationFolder, folder: Path, hospital: HospitalId) -> tuple[str, ...]:
    """The files below a folder that have the bytes of a channel key, without which no sum is opened.

    Args:
        run: The run's folder.
        folder: A party's part of it.
        hospital: Whose channel keys are looked for; every hospital has the same.
    """
    keys = [path.read_bytes() for path in sorted(run.hospital(hospital).keys.glob("*.key"))]
    if not keys:
        raise EvidenceError(f"{hospital} has no channel key in {run.hospitals}.", "Name a finished run's folder.")
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple(
        path.relative_to(run.path).as_posix()
        for path in found
        if (content := path.read_bytes()) and any(key in content or key.hex().encode() in content for key in keys)
    )


def ciphertexts_of(run: SimulationFolder, round_index: int, hospital: Address | None) -> tuple[list[bytes], list[Path]]:
    """A round's ciphertexts as they lie at the server: of one hospital's update, or of the sum; and their files."""
    store = run.server.ciphertexts
    listed = store.round_files(round_index)
    names = listed.aggregate if hospital is None else listed.updates.get(hospital, ())
    if not names:
        raise EvidenceError(f"The run lists no ciphertexts of round {round_index}.", "Audit the run first.")
    return [store.chunk(name) for name in names], [store.path / name for name in names]


def read_as_numbers(chunks: Iterable[bytes], size: int) -> Vector:
    """Ciphertexts as whoever has no key reads them: residues, scaled to [-1, 1]: float32, shape (size,)."""
    residues = np.concatenate([residues_of(chunk) for chunk in chunks]).astype(np.float64)
    return np.resize(2.0 * residues / MODULUS - 1.0, size).astype(np.float32)


def chosen_rounds(asked: Sequence[int], accepted: Sequence[int]) -> tuple[int, ...]:
    """The rounds that are attacked: those asked for, or the first and the last.

    Raises:
        DataError: one was not accepted, or none was.
    """
    if not accepted:
        raise DataError("The run accepted no round, so nobody ever opened a sum.", "Name another run.")
    for index in asked:
        if index not in accepted:
            raise DataError(
                f"Round {index} was not accepted in this run.", f"Choose from {', '.join(map(str, accepted))}."
            )
    return tuple(dict.fromkeys(asked or (accepted[0], accepted[-1])))


def by_address(roster: Sequence[RosterEntry], members: Sequence[tuple[Address, HospitalId]]) -> list[HospitalId]:
    """The names of hospitals in a round, in the order of its roster."""
    names = dict(members)
    return [names[entry.address] for entry in roster]
