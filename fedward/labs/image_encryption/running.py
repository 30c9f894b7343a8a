"""Runs one unit of the lab: trains the classifiers of a seed, or measures one method with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedward.labs import lab_folder
from fedward.labs.hospitals_data import load_hospitals, load_settings
from fedward.labs.image_encryption.models import load_models, save_models, train_models
from fedward.labs.image_encryption.plan import MODELS, Plan, Unit
from fedward.labs.image_encryption.trial import Picture, Sets, run_method
from fedward.labs.lab_folder import keep, kept_as, many_networks
from fedward.seeding import public_rng
from fedward.types import ImageSet, Partition


class LabFolder(lab_folder.LabFolder):
    """The lab's folder: partitions and settings of each seed, classifiers, results, a few images of each method."""

    path: Path

    def models(self, seed: int) -> Path:
        """Where the classifiers of a seed lie."""
        return self.path / "models" / f"{seed}.npz"


def run_unit(folder: LabFolder, plan: Plan, unit: Unit) -> dict[str, Any]:
    """Run one unit; what it starts from is there."""
    many_networks()
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
    keep(folder.picture(unit), picture)
    return found


def chosen_sets(partitions: Sequence[Partition], plan: Plan, seed: int) -> Sets:
    """Images of a seed: own ones from the first hospital's training, test images from all hospitals alike."""
    test = ImageSet.joined([partition.test for partition in partitions])
    return Sets(_some(partitions[0].train, plan.pairs, seed), _some(test, plan.measured, seed))


def load_picture(path: Path) -> Picture:
    """A few images of a method."""
    return kept_as(Picture, path)


def _some(images: ImageSet, most: int, seed: int) -> ImageSet:
    """At most so many images, drawn."""
    return images.some(public_rng("lab images", seed).permutation(len(images))[:most])
