"""Whom the lab may train on: patients, and canaries, which are drawn; each is in a model or not, by coins.

A canary is noise under a coarse mask of its own. Such images have features that few others have, so what one adds to a
model is told better from noise than what an X-ray adds, whatever its label: an auditor wants the worst case.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedward.errors import DataError
from fedward.types import HospitalId, ImageSet, Partition

Bits = NDArray[np.bool_]
Wide = NDArray[np.float64]

MASK = 16  # fields along each side of a canary


@dataclass(frozen=True)
class Pool:
    """Patients and canaries.

    Attributes:
        images: Of all, those of a person one after the other; `patients` has names, canaries' among them.
        people: The person of each image, numbered from 0: patients first, then canaries.
        patients: How many patients.
        canaries: How many canaries.
    """

    images: ImageSet = field(repr=False)
    people: NDArray[np.intp] = field(repr=False)
    patients: int
    canaries: int

    def mean_by_person(self, values: Wide) -> Wide:
        """Means over each person's images: shape (people,)."""
        return np.asarray(np.bincount(self.people, values) / np.bincount(self.people), np.float64)

    @property
    def signs(self) -> Wide:
        """1 for images with the finding, -1 for others."""
        return np.asarray(2.0 * self.images.labels[:, 0] - 1.0, np.float64)


def pool_of(partitions: Sequence[Partition], patients: int, canaries: int, rng: np.random.Generator) -> Pool:
    """Draw patients and canaries from the hospitals' training images.

    Raises:
        DataError: there are too few patients.
    """
    everybody = ImageSet.joined([partition.train for partition in partitions])
    names = rng.permutation(np.unique(everybody.patients))
    if len(names) < patients:
        raise DataError(f"{len(names)} training patients are too few for {patients}.", "Use more images.")
    parts = [everybody.some(np.flatnonzero(everybody.patients == name)) for name in names[:patients]]
    parts += [_canary(everybody.images.shape[1], number, rng) for number in range(1, canaries + 1)]
    people = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Pool(ImageSet.joined(parts), people, patients, canaries)


def _canary(size: int, number: int, rng: np.random.Generator) -> ImageSet:
    """Grey with noise in about half of 16 by 16 fields, and a label by a coin."""
    fields = np.arange(size) * MASK // size
    noise = (rng.random((size, size)) - 0.5) * (rng.random((MASK, MASK)) < 0.5)[fields][:, fields]
    image = np.rint(255 * (0.5 + noise)).astype(np.uint8)
    return ImageSet(image[None], rng.integers(0, 2, (1, 1)).astype(np.float32), np.array([f"canary-{number}"]))


def coins(people: int, shadows: int, targets: int, rng: np.random.Generator) -> Bits:
    """Who is in which model: shape (models, people), shadows first.

    In the shadows everybody is in half of them: the attacker decides that. In the targets fair coins do.
    """
    ranks = np.argsort(rng.random((shadows, people)), axis=0)
    return np.concatenate([ranks < shadows // 2, rng.random((targets, people)) < 0.5])


def hospitals_of(pool: Pool, inside: Bits, hospitals: int, blank: bool) -> list[Partition]:
    """The hospitals that train one model: people are dealt out to them in turn.

    Args:
        pool: Everybody.
        inside: Who is in: shape (people,).
        hospitals: How many.
        blank: Whether canaries that are out stay as units that add nothing, their label being no number: so DP-SGD's
            number of units, which its guarantee takes to be public, tells nothing of the coins.
    """
    labels = pool.images.labels.copy()
    labels[~inside[pool.people]] = np.nan
    kept = inside[pool.people] | (blank & (pool.people >= pool.patients))
    images = ImageSet(pool.images.images, labels, pool.images.patients)
    nobody = images.some(np.zeros(len(images), np.bool_))
    return [
        Partition(
            HospitalId(f"hospital-{place + 1}"),
            ("finding",),
            images.some(kept & (pool.people % hospitals == place)),
            nobody,
            nobody,
        )
        for place in range(hospitals)
    ]
