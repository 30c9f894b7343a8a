"""The classifiers that are attacked: trained by all hospitals together, or by one party that has all images."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fedward import settings as setting
from fedward.figures.histograms import histogram
from fedward.labs.federation import PlainFederation
from fedward.labs.robustness.plan import CENTRAL, TRAINED
from fedward.learning.model import Classifier, Scored
from fedward.learning.weight_shapes import ModelSpec
from fedward.privacy.accounting import calibrated
from fedward.settings import Settings
from fedward.types import HospitalId, ImageSet, Partition, Vector


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """A classifier's weights, and the threshold that its validation images give.

    Attributes:
        weights: float32, shape (parameters,).
        threshold: The score from which on the finding is called.
        fixed: What training does not change, of a saved model; None: as a new classifier has it.
    """

    weights: Vector = dataclasses.field(repr=False)
    threshold: float
    fixed: Vector | None = dataclasses.field(default=None, repr=False)


def train_classifier(partitions: Sequence[Partition], settings: Settings, what: str, rounds: int) -> TrainedClassifier:
    """Train as one of `TRAINED` says.

    Args:
        partitions: The hospitals.
        settings: The consortium's.
        what: A name of `TRAINED`.
        rounds: How many; a central party trains for as many, on all images.
    """
    for dotted, value in (*TRAINED[what], ("training.rounds", rounds)):
        settings = setting.replace(settings, dotted, value)
    settings = calibrated(settings)
    hospitals = [_joined(partitions)] if what.startswith(CENTRAL) else list(partitions)
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(partitions[0].findings))
    classifier = Classifier(spec, settings.training.seed, settings.model.weights)
    federation = PlainFederation(hospitals, classifier, settings)
    standing = federation.start()
    for _ in range(rounds):
        standing = federation.accept(standing, federation.propose(standing, {}), ())
    classifier.set_weights(standing.model.weights)
    return TrainedClassifier(np.asarray(standing.model.weights), threshold_of(classifier, partitions))


def threshold_of(scored: Scored, partitions: Sequence[Partition]) -> float:
    """The threshold that a classifier's scores of all hospitals' validation images give, behind its defense if any."""
    counts = [histogram(scored.logits(each.val.pixels()), each.val.labels) for each in partitions if len(each.val)]
    return sum(counts[1:], start=counts[0]).thresholds()[0]


def _joined(partitions: Sequence[Partition]) -> Partition:
    """All hospitals' images as those of one."""
    train, val, test = (
        ImageSet.joined([getattr(partition, split) for partition in partitions]) for split in ("train", "val", "test")
    )
    return Partition(HospitalId(CENTRAL), partitions[0].findings, train, val, test)
