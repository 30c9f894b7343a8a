"""Whose images are attacked, among whom they are looked for, and what the attacker has of other patients."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedward.errors import DataError
from fedward.types import ImageSet, Partition, Vector


@dataclass(frozen=True)
class Scene:
    """The images of a seed.

    Attributes:
        victims: Training images of all hospitals, one a patient: updates are computed from them.
        others: The attacker's own X-rays, of other patients: float32, shape (n, size, size, 1), values in [0, 1].
    """

    victims: ImageSet = field(repr=False)
    others: Vector = field(repr=False)

    @property
    def prior(self) -> Vector:
        """The mean of the attacker's own X-rays, shape (1, size, size, 1): what he shows without any update."""
        return np.asarray(self.others.mean(0, keepdims=True), np.float32)


@dataclass(frozen=True)
class Drawn:
    """Images of one victim's update, and X-rays among which they are looked for.

    Attributes:
        images: float32, shape (n, size, size, 1).
        labels: float32, shape (n, 1): each a fair coin, so that labels can be guessed no better.
        candidates: The images and, for each, as many of other patients with the same label: labels help nobody.
        among: How many candidates there are for each image: who guesses is right once in so many times.
    """

    images: Vector = field(repr=False)
    labels: NDArray[np.float32] = field(repr=False)
    candidates: Vector = field(repr=False)
    among: int

    @property
    def true(self) -> NDArray[np.bool_]:
        """Which candidates are the images."""
        return np.arange(len(self.candidates)) < len(self.images)


def scene_of(partitions: Sequence[Partition], rng: np.random.Generator) -> Scene:
    """The images of a seed: victims are training patients, the attacker has the test and validation patients'.

    Raises:
        DataError: there are too few patients of a label.
    """
    train = ImageSet.joined([partition.train for partition in partitions])
    train = train.some(rng.permutation(len(train)))
    _, rows = np.unique(train.patients, return_index=True)
    victims = train.some(rng.permutation(rows))
    other = ImageSet.joined([part for partition in partitions for part in (partition.test, partition.val)])
    if min(int((victims.labels[:, 0] == label).sum()) for label in (0, 1)) < 2 or not len(other):
        raise DataError("There are too few patients of one label to attack.", "Give more images.")
    return Scene(victims, other.pixels())


def draw(victims: ImageSet, count: int, candidates: int, rng: np.random.Generator) -> Drawn:
    """Draw images of different patients, each label by a fair coin, and candidates.

    Args:
        victims: One image a patient.
        count: Images to draw.
        candidates: For each; fewer where there are not enough patients.
        rng: Draws all.

    Raises:
        DataError: there are too few patients of a label.
    """
    truth = rng.integers(0, 2, count)
    waiting = [rng.permutation(np.flatnonzero(victims.labels[:, 0] == label)) for label in (0, 1)]
    wanted = np.bincount(truth, minlength=2)
    among = min([candidates, *(len(waiting[label]) // int(wanted[label]) for label in (0, 1) if wanted[label])])
    if among < 2:
        raise DataError(f"There are too few patients to attack {count} at a time.", "Give more images.")
    rows = [waiting[label][: among * wanted[label]] for label in (0, 1)]
    first = [iter(part) for part in rows]
    chosen = np.array([next(first[label]) for label in truth])
    others = np.concatenate([part[wanted[label] :] for label, part in enumerate(rows)]).astype(np.intp)
    pixels = victims.some(np.concatenate([chosen, others])).pixels()
    return Drawn(pixels[:count], truth[:, None].astype(np.float32), pixels, among)
