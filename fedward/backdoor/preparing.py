"""What detectors are given, from a hospital's folder; and what they measured, back into it."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedward.backdoor.history import History
from fedward.backdoor.inspection import Inspection, UpdateSizes
from fedward.backdoor.sketches import sketch
from fedward.files import sha256
from fedward.folders.hospital import Candidate, HospitalFolder, MeanUpdate, model_bytes
from fedward.folders.measure_book import MeasuredModel, MeasuredUpdate
from fedward.types import GlobalModel, Partition, Vector

if TYPE_CHECKING:
    from fedward.adversarial.victim import Victim
    from fedward.learning.model import Classifier


@dataclass(frozen=True)
class Scorer:
    """A model as a function of pixels, on a classifier that others use in between.

    Attributes:
        classifier: Gives the classifier, which is built when it is first needed.
        weights: float32, shape (parameters,).
    """

    classifier: Callable[[], "Classifier"]
    weights: Vector

    def __call__(self, pixels: Vector) -> Vector:
        """Logits of pixels."""
        return self._set().logits(pixels)

    def gradient(self, pixels: Vector, labels: Vector) -> Vector:
        """Gradient of each image's binary cross-entropy by its pixels, see `Victim.gradient`."""
        return _victim(self._set()).gradient(pixels, labels)

    def _set(self) -> "Classifier":
        classifier = self.classifier()
        classifier.set_weights(self.weights)
        return classifier


@functools.lru_cache(maxsize=1)
def _victim(classifier: "Classifier") -> "Victim":
    """Takes gradients through a classifier, whatever weights are in it; made once, since tracing it takes a second."""
    from fedward.adversarial.victim import Victim  # TensorFlow, which detectors without gradients do not wait for

    return Victim(classifier)


def prepare_inspection(
    folder: HospitalFolder,
    partition: Partition,
    classifier: Callable[[], "Classifier"],
    model: GlobalModel,
    candidate: Candidate,
    rounds: int,
    place: int,
) -> Inspection:
    """All that detectors can be given.

    Args:
        folder: The hospital's, for what was measured in earlier rounds.
        partition: Its images.
        classifier: Gives a classifier of the models' shape.
        model: The model in force.
        candidate: The model that would replace it.
        rounds: How many rounds the study has.
        place: The hospital's place on the roster.

    Raises:
        EvidenceError: a file of measures is damaged.
    """
    accepted, secret = folder.measures.accepted(), folder.measures.secret()
    ends_with_current = bool(accepted) and accepted[-1].digest == sha256(model_bytes(model))
    return Inspection(
        candidate.round_index,
        validation=partition.val,
        load_training=lambda: partition.train,
        current=Scorer(classifier, model.weights),
        candidate=Scorer(classifier, candidate.weights),
        history=History(secret, accepted, ends_with_current),
        rounds=rounds,
        updates=_update_sizes(candidate.mean, folder.measures.own_update(candidate.round_index), secret, place),
    )


def _update_sizes(mean: MeanUpdate | None, own: MeasuredUpdate | None, secret: bytes, place: int) -> UpdateSizes:
    """The mean update beside the hospital's own, as far as both are known."""
    if mean is None:
        return UpdateSizes()
    if own is None:
        return UpdateSizes(mean.norm, math.nan, mean.concentration)
    inner = math.nan
    if place in mean.shares:
        inner = float(own.sketch @ sketch(mean.values, secret, own.round_index))
    return UpdateSizes(mean.norm, own.norm, mean.concentration, inner)


def keep_own_update(folder: HospitalFolder, round_index: int, delta: Vector) -> None:
    """Keep of the update that a hospital made what its detectors will compare the mean update with."""
    kept = sketch(delta, folder.measures.secret(), round_index)
    norm = float(np.linalg.norm(delta.astype(np.float64)))
    folder.measures.save_own_update(MeasuredUpdate(round_index, norm, kept))


def keep_measures(folder: HospitalFolder, candidate: Candidate, inspection: Inspection) -> None:
    """Keep what detectors measured of a candidate; it counts once the candidate is accepted."""
    measured = MeasuredModel(candidate.round_index, sha256(model_bytes(candidate)), inspection.history.candidate)
    folder.measures.save_candidate(measured)
