"""What one party of a finished run holds of a round, and how hard it is attacked: for `lab leakage --run`."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedward.errors import DataError
from fedward.types import ImageSet, Vector

PLANTED, NULL = "control: one image's gradient", "control: noise"


@dataclass(frozen=True)
class Effort:
    """How hard each party is attacked.

    Attributes:
        victims: Training images that the attacker tries to name, each by itself; the same for each party.
        among: X-rays of one label among which each is looked for.
        planted: How many of them the control attacks, one gradient each.
        searched: Images that are searched in a whole update: fewer than there are.
        attempts: On each vector, from different starts and by different matchings.
        steps: Of Adam, of one attempt.
    """

    victims: int
    among: int
    planted: int
    searched: int
    attempts: int
    steps: int


QUICK = Effort(victims=12, among=20, planted=5, searched=4, attempts=2, steps=150)
FULL = Effort(victims=16, among=20, planted=10, searched=8, attempts=8, steps=300)


@dataclass(frozen=True)
class View:
    """What an attacker is handed, and, apart from it, what the lab knows.

    Attributes:
        weights: float32, shape (parameters,): the model that the round started from.
        vectors: float32, shape (k, parameters): what the party holds, as weights before minus weights after. One for
            all victims, or one each.
        labels: float32, shape (searched, findings): the labels that are searched for.
        prior: float32, shape (size, size, 1): the mean of other patients' X-rays.
        candidates: float32, shape (victims, among, size, size, 1): the X-rays among which a victim is looked for.
        candidate_labels: float32, shape (victims, findings): of each group.
        places: Which candidate is the victim: the lab's knowledge.
        behind: float32, shape (n, size, size, 1): the images behind what is held: the lab's knowledge. With one vector
            each, of the same order as the vectors.
    """

    weights: Vector = field(repr=False)
    vectors: Vector = field(repr=False)
    labels: NDArray[np.float32] = field(repr=False)
    prior: Vector = field(repr=False)
    candidates: Vector = field(repr=False)
    candidate_labels: NDArray[np.float32] = field(repr=False)
    places: NDArray[np.intp] = field(repr=False)
    behind: Vector = field(repr=False)

    @property
    def alone(self) -> bool:
        """Whether each victim has a vector of its own."""
        return len(self.vectors) > 1


@dataclass(frozen=True)
class Groups:
    """Victims, each among X-rays of other patients with the same label, none of them in two groups.

    Attributes:
        candidates, labels, places: As in `View`.
    """

    candidates: Vector = field(repr=False)
    labels: NDArray[np.float32] = field(repr=False)
    places: NDArray[np.intp] = field(repr=False)

    @property
    def victims(self) -> Vector:
        """The victims themselves: float32, shape (victims, size, size, 1)."""
        return np.asarray(self.candidates[np.arange(len(self.places)), self.places], np.float32)

    def first(self, count: int) -> "Groups":
        """Some of them."""
        return Groups(self.candidates[:count], self.labels[:count], self.places[:count])


def groups_of(trained: ImageSet, others: ImageSet, victims: int, among: int, rng: np.random.Generator) -> Groups:
    """Draw victims and hide each among strangers, by turns of both labels.

    Args:
        trained: Images that were trained on.
        others: Of patients who were not.
        victims: How many; fewer where there are not enough patients.
        among: Candidates for each; fewer where there are not enough patients.
        rng: Draws all.

    Raises:
        DataError: there are too few patients of a label.
    """
    trained, others = (_one_a_patient(images, rng) for images in (trained, others))
    waiting = [rng.permutation(np.flatnonzero(trained.labels[:, 0] == label)) for label in (0, 1)]
    strangers = [rng.permutation(np.flatnonzero(others.labels[:, 0] == label)) for label in (0, 1)]
    each = min(victims // 2, *(len(rows) for rows in waiting), *(len(rows) for rows in strangers))
    size = min([among, *(1 + len(rows) // max(each, 1) for rows in strangers)])
    if each < 1 or size < 2:
        raise DataError("There are too few patients of one label to attack.", "Audit a run on more images.")
    places = rng.integers(0, size, 2 * each)
    candidates, labels = [], []
    for number, place in enumerate(places):
        label, turn = number % 2, number // 2
        rows = strangers[label][turn * (size - 1) : (turn + 1) * (size - 1)]
        victim = trained.some(waiting[label][turn : turn + 1])
        pixels = others.some(rows).pixels()
        candidates.append(np.concatenate([pixels[:place], victim.pixels(), pixels[place:]]))
        labels.append(victim.labels[0])
    return Groups(np.stack(candidates), np.stack(labels).astype(np.float32), places.astype(np.intp))


def _one_a_patient(images: ImageSet, rng: np.random.Generator) -> ImageSet:
    mixed = images.some(rng.permutation(len(images)))
    return mixed.some(np.unique(mixed.patients, return_index=True)[1])
