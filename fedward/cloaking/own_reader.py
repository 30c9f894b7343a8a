"""The reader that goes to the receiver: trained on the hospital's own images, cloaked as those that are shared."""

from dataclasses import dataclass

import numpy as np

from fedward.adversarial.harness import in_eight_bits
from fedward.adversarial.victim import Victim
from fedward.cloaking.protecting import Judge, Perturb
from fedward.errors import DataError
from fedward.figures.histograms import UNDECIDED, called_positive, histogram, sigmoid
from fedward.progress import Progress
from fedward.reconstruction.pairs import Pairs
from fedward.reconstruction.reader import Reader
from fedward.reconstruction.registry import train_reader
from fedward.types import ImageSet, Partition, Vector

METHOD = "joint"  # restores images and labels


@dataclass(frozen=True)
class OwnReader:
    """A trained reader, and what its answers are worth.

    Attributes:
        reader: The network.
        thresholds: For each finding the probability from which on its answer counts as positive: the best one on the
            hospital's validation images; one half where these are of one class, or none.
        right, judged: How many labels of those images it tells rightly at these thresholds, of how many. The same
            images chose the thresholds, so that others' labels are told rightly a little less often.
    """

    reader: Reader
    thresholds: tuple[float, ...]
    right: int
    judged: int


def own_reader(
    partition: Partition, victim: Victim, perturb: Perturb, seed: int, report: Progress, epochs: int = 0
) -> OwnReader:
    """Train a reader, and choose its thresholds on validation images.

    Args:
        partition: The hospital's images.
        victim: The classifier that is misled; the reader's part that reads labels starts as it.
        perturb: The attack on it.
        seed: Decides the reader's first weights and what its training draws.
        report: Told how many steps of training are done.
        epochs: Passes over the images; 0: as many as the method's plan has.

    Raises:
        DataError: the hospital has no training images, or of a size that no reader takes.
    """
    if not len(partition.train):
        raise DataError("The hospital has no training images to make a reader of.", "Enroll with images.")
    pairs = Pairs(_cloaked(partition.train, victim, perturb), partition.train.pixels(), partition.train.labels)
    reader = train_reader(METHOD, pairs, seed, report, epochs, victim.classifier)
    validation = partition.val
    if not len(validation):
        return OwnReader(reader, (UNDECIDED,) * partition.train.labels.shape[1], 0, 0)
    logits = reader.scores(_cloaked(validation, victim, perturb))
    if logits is None:
        raise DataError(f"The reader {METHOD} restores no labels.", "Use this version's own.")
    thresholds = histogram(logits, validation.labels).thresholds()
    right = called_positive(sigmoid(logits), thresholds) == (validation.labels > 0)
    return OwnReader(reader, thresholds, int(right.sum()), right.size)


def _cloaked(images: ImageSet, judge: Judge, perturb: Perturb) -> Vector:
    """Images as the reader will see cloaked ones: of 256 greys."""
    pixels = images.pixels()
    return in_eight_bits(perturb(pixels, judge.decisions(pixels).astype(np.float32)))
