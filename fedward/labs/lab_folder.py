"""A lab's folder on disk: partitions of each seed, results, a few images of each unit. Labs add what else they keep."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fedward.files import make_folder, write_atomic
from fedward.folders.arrays import arrays_as_bytes, read_arrays
from fedward.labs.units import LabUnit, Results

Images = TypeVar("Images")
_REMEDY = "Delete the lab's folder and start it anew."


@dataclass(frozen=True)
class LabFolder:
    """What all labs that show images keep.

    Attributes:
        path: Where it is.
    """

    path: Path

    def data(self, seed: int) -> Path:
        """Where the partitions and settings of a seed lie."""
        return self.path / "data" / str(seed)

    def picture(self, unit: LabUnit) -> Path:
        """Where a few images of a unit lie."""
        return self.path / "pictures" / f"{unit.name}.npz"

    @property
    def results(self) -> Results:
        """What units found."""
        return Results(self.path / "units")


def keep_arrays(path: Path, **arrays: np.ndarray | np.generic) -> None:
    """Write named arrays into a lab's folder, whole or not there."""
    make_folder(path.parent)
    write_atomic(path, arrays_as_bytes(**arrays))


def kept_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays from a lab's folder.

    Raises:
        EvidenceError: the file is missing or damaged.
    """
    return read_arrays(path, remedy=_REMEDY)


def keep(path: Path, images: Any) -> None:
    """Write a dataclass of arrays, such as a few images at every stage; `kept_as` reads it."""
    keep_arrays(path, **{field.name: getattr(images, field.name) for field in dataclasses.fields(images)})


def kept_as(kind: type[Images], path: Path) -> Images:
    """Read a dataclass of arrays.

    Raises:
        EvidenceError: the file is missing or damaged.
    """
    arrays = kept_arrays(path)
    return kind(**{field.name: arrays[field.name] for field in dataclasses.fields(kind)})  # type: ignore[arg-type]


def many_networks() -> None:
    """Keep TensorFlow from warning that a process builds many networks: in a lab that is no mistake."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
