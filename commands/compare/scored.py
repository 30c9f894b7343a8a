"""The test images of simulated runs, scored anew by each run's model, and which of them two runs share.

A run keeps no scores by image. Its hospitals keep their test images, which tell nobody's name: images of two runs are
the same where all their gray pixels, at the models' size, and their labels are.
"""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blockchain.own_images import images_there
from commands.view.shelf import Run
from fedward.errors import DataError, EvidenceError, UsageError, VerificationError
from fedward.figures.histograms import called_positive, sigmoid
from fedward.figures.intervals import groups_of
from fedward.figures.scores import score
from fedward.folders.simulation import SimulationFolder
from fedward.learning.model_file import load_card, load_logits
from fedward.types import ImageSet, Vector

_SAME = 1e-3  # of a figure that is computed anew, maybe on another machine


@dataclass(frozen=True)
class ScoredRun:
    """A run's test images with its model's logits, and what the model decides.

    Attributes:
        logits: float32, shape (n, findings).
        right: bool, same shape: whether the decision at the model's own threshold is the label.
        truth: bool, same shape: the labels.
        groups: The patient of each image, numbered from 0, shape (n,).
        keys: What tells each image with its labels from others.
    """

    logits: Vector
    right: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    groups: NDArray[np.intp]
    keys: tuple[bytes, ...]

    def some(self, rows: NDArray[np.intp]) -> "ScoredRun":
        """Some of the images, or all in another order."""
        keys = tuple(self.keys[row] for row in rows)
        return ScoredRun(self.logits[rows], self.right[rows], self.truth[rows], self.groups[rows], keys)


def score_run(run: Run) -> ScoredRun | str:
    """Score a run's test images with its model; or a sentence that says why that cannot be done here.

    Raises:
        VerificationError: something is damaged, or the model's figures are not those that the run's summary states.
    """
    folder = SimulationFolder(run.path)
    try:
        own = [images_there(folder.hospital(member.hospital)).test for member in run.record.roster]
        card = load_card(folder.model)
        images = ImageSet.joined(own)
        logits = load_logits(folder.model, images.pixels())
    except (DataError, EvidenceError, UsageError) as error:
        return error.what
    if not len(images):
        return f"{run.path} has no test images."
    _check_stated(run, score(images, logits, card.thresholds).as_dict())
    truth = images.labels == 1
    return ScoredRun(
        logits,
        called_positive(sigmoid(logits), card.thresholds) == truth,
        truth,
        groups_of(images.patients),
        tuple(_key(image, labels) for image, labels in zip(images.images, images.labels, strict=True)),
    )


def paired(first: ScoredRun, second: ScoredRun) -> ScoredRun | None:
    """The second run's images in the order of the first's; None where they are not the same."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, key in enumerate(second.keys):
        places[key].append(place)
    if Counter(first.keys) != Counter(second.keys):
        return None
    return second.some(np.array([places[key].pop(0) for key in first.keys], np.intp))


def shared(first: ScoredRun, second: ScoredRun) -> int:
    """How many images both have."""
    return (Counter(first.keys) & Counter(second.keys)).total()


def _key(image: NDArray[np.uint8], labels: Vector) -> bytes:
    shape = repr(image.shape).encode()
    return hashlib.sha256(shape + image.tobytes() + labels.astype("<f4").tobytes()).digest()


def _check_stated(run: Run, found: dict[str, object]) -> None:
    """Make sure that the model in a run's folder is the one that its summary tells of."""
    stated = (run.summary or {}).get("scores", {}).get("pooled", {})
    for name in ("n", "auc", "accuracy"):
        value, told = found[name], stated.get(name)
        alike = value == told or (
            isinstance(value, int | float) and isinstance(told, int | float) and abs(value - told) < _SAME
        )
        if not alike:
            raise VerificationError(
                f"The model in {run.path} has {name} {value} on its test images; its summary.json states {told}.",
                "Restore the folder from a backup.",
            )
