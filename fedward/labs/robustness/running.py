"""Runs one unit of the lab: trains a classifier, or attacks one defense."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedward.adversarial.attack import Aim
from fedward.adversarial.harness import craft
from fedward.adversarial.registry import attack_from
from fedward.adversarial.victim import Victim
from fedward.labs import lab_folder
from fedward.labs.hospitals_data import load_hospitals, load_settings
from fedward.labs.lab_folder import keep_arrays, kept_arrays, many_networks
from fedward.labs.robustness.defenses import Defended, InputDefense, Restored
from fedward.labs.robustness.jpeg import Jpeg
from fedward.labs.robustness.plan import NONE, TRAINED, Plan, Unit, with_eps
from fedward.labs.robustness.training import TrainedClassifier, threshold_of, train_classifier
from fedward.labs.robustness.trial import Made, attack_all, run_defense
from fedward.learning.model import Classifier, Scored
from fedward.learning.weight_shapes import ModelSpec
from fedward.reconstruction.pairs import Pairs
from fedward.reconstruction.registry import train_reader
from fedward.seeding import public_rng
from fedward.settings import Settings
from fedward.types import ImageSet, Partition

_LEARNED = "pgd:eps=0.0157,iterations=7,step=0.25"  # attacked images that defending networks learn from: 4/255
# Each defense's reader, of how many images it learns from one that was not attacked (0: none), and for how many epochs
# (0: as the reader's plan has it). A denoiser that learned from half of all images as they are learned to change none.
_READERS = {"vae": ("vae-without-kl", 2, 0), "denoiser": ("denoiser", 0, 30)}
SHOWN = 4  # images in the picture


class LabFolder(lab_folder.LabFolder):
    """The lab's folder: partitions and settings of each seed, classifiers, attacked images, results."""

    path: Path

    def classifier(self, seed: int, what: str) -> Path:
        """Where a classifier of a seed lies."""
        return self.path / "classifiers" / f"{seed}-{what}.npz"

    def made(self, seed: int) -> Path:
        """Where images lie that were made against a seed's undefended classifier."""
        return self.path / "attacked" / f"{seed}.npz"


def run_unit(folder: LabFolder, plan: Plan, unit: Unit) -> dict[str, Any]:
    """Run one unit; what it starts from is there."""
    many_networks()
    settings, partitions = load_settings(folder.data(unit.seed)), load_hospitals(folder.data(unit.seed))
    if unit.kind == "train":
        trained = train_classifier(partitions, settings, unit.what, plan.rounds)
        keep_arrays(
            folder.classifier(unit.seed, unit.what), weights=trained.weights, threshold=np.array(trained.threshold)
        )
        return {"threshold": trained.threshold}
    test = chosen_test(partitions, plan, unit.seed)
    scored, threshold = _defended(folder, plan, unit, settings, partitions)
    own = attack_all(plan, unit.seed, test, scored, threshold)
    if unit.what == NONE:
        keep_arrays(folder.made(unit.seed), **dict(own.images))
        transferred = own
    else:
        transferred = Made(kept_arrays(folder.made(unit.seed)))
    found = run_defense(plan, _all_test(partitions), test, scored, threshold, transferred, own)
    shown = _strongest_and_furthest(plan, found)
    keep_arrays(folder.picture(unit), originals=test.pixels()[:SHOWN], attacked=own.images[shown][:SHOWN])
    return {**found, "shown": shown}


def _strongest_and_furthest(plan: Plan, found: dict[str, Any]) -> str:
    """Of the attacks with the largest bound, the one that leaves the lowest AUC."""
    furthest = [with_eps(attack, max(plan.eps)) for attack in plan.attacks]
    return min(furthest, key=lambda text: found["white-box"][text]["auc"] or 0.0)


def chosen_test(partitions: Sequence[Partition], plan: Plan, seed: int) -> ImageSet:
    """Test images of a seed, from all hospitals alike."""
    test = _all_test(partitions)
    return test.some(public_rng("lab images", seed).permutation(len(test))[: plan.measured])


def _all_test(partitions: Sequence[Partition]) -> ImageSet:
    return ImageSet.joined([partition.test for partition in partitions])


def load_picture(folder: LabFolder, unit: Unit) -> dict[str, Any]:
    """A few images as they are and attacked, by `originals` and `attacked`."""
    return kept_arrays(folder.picture(unit))


def _defended(
    folder: LabFolder, plan: Plan, unit: Unit, settings: Settings, partitions: Sequence[Partition]
) -> tuple[Scored, float]:
    """A defense's classifier, and its threshold."""
    trained = _load(folder.classifier(unit.seed, unit.what if unit.what in TRAINED else NONE))
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(partitions[0].findings))
    classifier = Classifier(spec)
    classifier.set_weights(trained.weights)
    if trained.fixed is not None:
        classifier.set_fixed(trained.fixed)
    if unit.what in TRAINED:
        return classifier, trained.threshold
    defended = Defended(classifier, input_defense(unit, plan, partitions, classifier, trained))
    return defended, threshold_of(defended, partitions)


def input_defense(
    unit: Unit, plan: Plan, partitions: Sequence[Partition], classifier: Classifier, trained: TrainedClassifier
) -> InputDefense:
    """A defense that stands before the undefended classifier; networks learn from training images."""
    if unit.what == "jpeg":
        return Jpeg()
    images = ImageSet.joined([partition.train for partition in partitions])
    images = images.some(public_rng("lab pairs", unit.seed).permutation(len(images))[: plan.pairs])
    victim, pixels = Victim(classifier, trained.threshold), images.pixels()
    attacked = craft(attack_from(_LEARNED), victim, pixels, Aim(images.labels), public_rng("lab pairs made", unit.seed))
    reader, every, epochs = _READERS[unit.what]
    if every:
        attacked[::every] = pixels[::every]
    return Restored(train_reader(reader, Pairs(attacked, pixels, images.labels), unit.seed, epochs=epochs))


def _load(path: Path) -> TrainedClassifier:
    arrays = kept_arrays(path)
    return TrainedClassifier(arrays["weights"], float(arrays["threshold"]), arrays.get("fixed"))
