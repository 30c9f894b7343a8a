"""Runs one unit of the lab: trains the classifiers of a seed, or measures one method with them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedward.files import make_folder, write_atomic
from fedward.folders.arrays import arrays_as_bytes, read_arrays
from fedward.labs.hospitals_data import load_hospitals, load_settings
from fedward.labs.image_encryption.models import load_models, save_models, train_models
from fedward.labs.image_encryption.plan import MODELS, Plan, Unit
from fedward.labs.image_encryption.trial import Picture, Sets, run_method
from fedward.labs.units import Results
from fedward.seeding import public_rng
from fedward.types import ImageSet, Partition


@dataclass(frozen=True)
class LabFolder:
    """The lab's folder: partitions and settings of each seed, classifiers, results, a few images of each method.

    Attributes:
        path: Where it is.
    """

    path: Path

    def data(self, seed: int) -> Path:
        """Where the partitions and settings of a seed lie."""
        return self.path / "data" / str(seed)

    def models(self, seed: int) -> Path:
        """Where the classifiers of a seed lie."""
        return self.path / "models" / f"{seed}.npz"

    def picture(self, unit: Unit) -> Path:
        """Where a few images of a method lie."""
        return self.path / "pictures" / f"{unit.name}.npz"

    @property
    def results(self) -> Results:
        """What units found."""
        return Results(self.path / "units")


def run_unit(folder: LabFolder, plan: Plan, unit: Unit) -> dict[str, Any]:
    """Run one unit; what it starts from is there."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # many classifiers in one process are no mistake here
    settings, partitions = load_settings(folder.data(unit.seed)), load_hospitals(folder.data(unit.seed))
    if unit.part == MODELS:
        models = train_models(partitions, settings, plan.rounds, plan.elsewhere, plan.epochs)
        save_models(folder.models(unit.seed), models)
        return {name: model.architecture for name, model in models.items()}
    models = load_models(folder.models(unit.seed))
    compare = unit.part == plan.methods[0]
    found, picture = run_method(
        unit.part, plan, chosen_sets(partitions, plan, unit.seed), models, settings.training, compare=compare
    )
    _save_picture(folder.picture(unit), picture)
    return found


def chosen_sets(partitions: Sequence[Partition], plan: Plan, seed: int) -> Sets:
    """Images of a seed: own ones from the first hospital's training, test images from all hospitals alike."""
    test = ImageSet.joined([partition.test for partition in partitions])
    return Sets(_some(partitions[0].train, plan.pairs, seed), _some(test, plan.measured, seed))


def load_picture(path: Path) -> Picture:
    """A few images of a method."""
    arrays = read_arrays(path, remedy="Delete the lab's folder and start it anew.")
    return Picture(arrays["originals"], arrays["encrypted"], arrays["restored"])


def _some(images: ImageSet, most: int, seed: int) -> ImageSet:
    """At most so many images, drawn."""
    return images.some(public_rng("lab images", seed).permutation(len(images))[:most])


def _save_picture(path: Path, picture: Picture) -> None:
    make_folder(path.parent)
    content = arrays_as_bytes(originals=picture.originals, encrypted=picture.encrypted, restored=picture.restored)
    write_atomic(path, content)
