"""Runs one unit of the lab: trains what a seed needs, or measures one cipher."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedward.errors import DataError
from fedward.labs import lab_folder
from fedward.labs.hospitals_data import load_hospitals
from fedward.labs.lab_folder import keep, kept_as, many_networks
from fedward.labs.neural_crypto.models import load_models, save_models, train_models
from fedward.labs.neural_crypto.plan import MODELS, Plan, Unit
from fedward.labs.neural_crypto.trial import Picture, Sets, measure
from fedward.seeding import public_rng
from fedward.types import ImageSet, Partition

FEWEST = 16  # images to learn from, and to measure


class LabFolder(lab_folder.LabFolder):
    """The lab's folder: partitions of each seed, what was trained, results, a few images of each cipher."""

    path: Path

    def models(self, seed: int) -> Path:
        """Where what was trained of a seed lies."""
        return self.path / "models" / f"{seed}.npz"


def run_unit(folder: LabFolder, plan: Plan, unit: Unit) -> dict[str, Any]:
    """Run one unit; what it starts from is there.

    Raises:
        DataError: there are too few images.
    """
    many_networks()
    sets = chosen_sets(load_hospitals(folder.data(unit.seed)), plan, unit.seed)
    if unit.part == MODELS:
        models, told = train_models(sets.train, plan, unit.seed)
        save_models(folder.models(unit.seed), models)
        return told
    cipher, coder = load_models(folder.models(unit.seed)).cipher(unit.part)
    found, picture = measure(cipher, coder, sets, plan, unit.seed)
    keep(folder.picture(unit), picture)
    return found


def chosen_sets(partitions: Sequence[Partition], plan: Plan, seed: int) -> Sets:
    """Images of a seed: training and test images of all hospitals alike.

    Raises:
        DataError: they are too few.
    """
    train, test = (
        ImageSet.joined([getattr(partition, split) for partition in partitions]).images for split in ("train", "test")
    )
    rng = public_rng("lab images", seed)
    chosen = [
        images[rng.permutation(len(images))[:most]] for images, most in ((train, plan.trained), (test, plan.measured))
    ]
    if min(map(len, chosen)) < FEWEST:
        raise DataError(
            f"There are {len(train)} images to learn from and {len(test)} to measure.",
            f"Give more images: the lab needs {FEWEST} of each.",
        )
    return Sets(*chosen)


def load_picture(path: Path) -> Picture:
    """A few images of a cipher."""
    return kept_as(Picture, path)
