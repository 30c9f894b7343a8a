"""The classifiers of one seed: the federation's, against which images are encrypted, and others trained elsewhere.

Elsewhere is the last hospital: it trains by itself, on its own patients, from other initial weights. The protecting
hospital is the first.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward.figures.histograms import histogram
from fedward.labs.federation import PlainFederation
from fedward.labs.lab_folder import keep_arrays, kept_arrays
from fedward.learning.model import Classifier
from fedward.learning.training import run_epochs
from fedward.learning.weight_shapes import ModelSpec
from fedward.seeding import public_rng
from fedward.settings import Settings, TrainingSettings
from fedward.types import ImageSet, Partition, Vector

FEDERATION = "federation"
ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class TrainedModel:
    """A classifier's architecture, weights and thresholds.

    Attributes:
        architecture: As `model.name`.
        weights: float32, shape (parameters,).
        thresholds: The score of each finding from which on it is called.
    """

    architecture: str
    weights: Vector = field(repr=False)
    thresholds: tuple[float, ...]

    def classifier(self, size: int) -> Classifier:
        """A new classifier with these weights."""
        classifier = Classifier(ModelSpec(self.architecture, size, len(self.thresholds)))
        classifier.set_weights(self.weights)
        return classifier


Models = Mapping[str, TrainedModel]


def train_models(
    partitions: Sequence[Partition], settings: Settings, rounds: int, elsewhere: Sequence[str], epochs: int
) -> Models:
    """Train all classifiers of a seed.

    Args:
        partitions: The hospitals.
        settings: The consortium's.
        rounds: Of federated training.
        elsewhere: Names of architectures that the last hospital trains, beside the federation's own.
        epochs: How long it trains each.

    Returns:
        The federation's model as `FEDERATION`; those trained elsewhere by their architecture, that of the federation as
        `ELSEWHERE`.
    """
    name, size, findings = settings.model.name, settings.data.image_size, len(partitions[0].findings)
    seed = settings.training.seed
    classifier = Classifier(ModelSpec(name, size, findings), seed, settings.model.weights)
    federation = PlainFederation(partitions, classifier, settings)
    standing = federation.start()
    for _ in range(rounds):
        standing = federation.accept(standing, federation.propose(standing, {}), ())
    classifier.set_weights(standing.model.weights)
    models = {FEDERATION: _finished(classifier, [partition.val for partition in partitions])}
    own = partitions[-1]
    for called, architecture in ((ELSEWHERE, name), *((each, each) for each in elsewhere)):
        other = Classifier(ModelSpec(architecture, size, findings), seed + 1_000)
        continue_training(other, own.train.pixels(), own.train.labels, settings.training, epochs)
        models[called] = _finished(other, [own.val])
    return models


def continue_training(
    classifier: Classifier, pixels: Vector, labels: NDArray[np.float32], training: TrainingSettings, epochs: int
) -> None:
    """Train a classifier on images, from its present weights on; the settings' number of epochs does not count."""
    training = dataclasses.replace(training, local_epochs=epochs)
    classifier.start_training(training.learning_rate, training.proximal_mu, training.positive_weight)
    order = public_rng("lab training", training.seed)
    run_epochs(classifier, classifier.prepare(pixels), labels, training, order)


def save_models(path: Path, models: Models) -> None:
    """Write models as one file, whole or not there."""
    arrays: dict[str, np.ndarray | np.generic] = {}
    for name, model in models.items():
        arrays[f"{name}/{model.architecture}/weights"] = model.weights
        arrays[f"{name}/{model.architecture}/thresholds"] = np.array(model.thresholds)
    keep_arrays(path, **arrays)


def load_models(path: Path) -> Models:
    """Read models.

    Raises:
        EvidenceError: the file is missing or damaged.
    """
    arrays = kept_arrays(path)
    models = {}
    for key in arrays:
        name, architecture, what = key.split("/")
        if what == "weights":
            thresholds = tuple(float(each) for each in arrays[f"{name}/{architecture}/thresholds"])
            models[name] = TrainedModel(architecture, arrays[key], thresholds)
    return models


def _finished(classifier: Classifier, validation: Sequence[ImageSet]) -> TrainedModel:
    counts = [histogram(classifier.logits(images.pixels()), images.labels) for images in validation if len(images)]
    thresholds = sum(counts[1:], start=counts[0]).thresholds()
    return TrainedModel(classifier.spec.name, classifier.get_weights(), thresholds)
