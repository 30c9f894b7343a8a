"""The reader that goes to the receiver: trained on the hospital's own images, cloaked as those that are shared."""

import numpy as np

from fedward.cloaking.protecting import Judge, Perturb
from fedward.errors import DataError
from fedward.figures.histograms import histogram
from fedward.progress import Progress
from fedward.reconstruction.pairs import Pairs
from fedward.reconstruction.reader import Reader
from fedward.reconstruction.registry import train_reader
from fedward.types import ImageSet, Partition, Vector

METHOD = "joint"  # restores images and labels


def own_reader(
    partition: Partition, judge: Judge, perturb: Perturb, seed: int, report: Progress, epochs: int = 0
) -> tuple[Reader, tuple[float, ...]]:
    """Train a reader, and choose its thresholds on validation images.

    Args:
        partition: The hospital's images.
        judge: The classifier that is misled.
        perturb: The attack on it.
        seed: Decides the reader's first weights and what its training draws.
        report: Told how many steps of training are done.
        epochs: Passes over the images; 0: as many as the method's plan has.

    Returns:
        The reader; and for each finding the probability from which on its answer counts as positive, one half where
        validation images of one class, or none, decide nothing.

    Raises:
        DataError: the hospital has no training images, or of a size that no reader takes.
    """
    if not len(partition.train):
        raise DataError("The hospital has no training images to make a reader of.", "Enroll with images.")
    pairs = Pairs(_cloaked(partition.train, judge, perturb), partition.train.pixels(), partition.train.labels)
    reader = train_reader(METHOD, pairs, seed, report, epochs)
    validation = partition.val
    if not len(validation):
        return reader, (0.5,) * partition.train.labels.shape[1]
    logits = reader.scores(_cloaked(validation, judge, perturb))
    if logits is None:
        raise DataError(f"The reader {METHOD} restores no labels.", "Use this version's own.")
    return reader, histogram(logits, validation.labels).thresholds()


def _cloaked(images: ImageSet, judge: Judge, perturb: Perturb) -> Vector:
    """Images as the reader will see cloaked ones: of 256 greys."""
    pixels = images.pixels()
    perturbed = perturb(pixels, judge.decisions(pixels).astype(np.float32))
    return (np.rint(perturbed * 255) / 255).astype(np.float32)
