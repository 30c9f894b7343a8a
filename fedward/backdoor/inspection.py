"""What detectors are given of a candidate model: images, scores and both models, in a view for each kind of detector.

A detector says by the type of its argument what it looks at: one of the views below, or a Protocol of its own with
other members of `Inspection`. mypy then holds that the detector reads nothing else. What costs time is computed when it
is first asked for and kept for the next detector, so a view that nobody asks for costs nothing.

Models of earlier rounds are in no view: a hospital keeps what its detectors measured of them, see
`fedward.backdoor.history`.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from fedward.backdoor.history import History, Wide
from fedward.types import ImageSet, Vector

_LOGITS = "validation-logits"  # among the measures


class ScoringModel(Protocol):
    """A model that a detector may look into, and score images with."""

    @property
    def weights(self) -> Vector:
        """All trainable weights: float32, shape (parameters,)."""
        ...

    def __call__(self, pixels: Vector, /) -> Vector:
        """Logits of pixels: float32, shapes (n, height, width, 1) -> (n, findings)."""
        ...

    def gradient(self, pixels: Vector, labels: Vector, /) -> Vector:
        """Gradient of each image's binary cross-entropy by its pixels: float32, shape of `pixels`."""
        ...


class ValidationScores(Protocol):
    """The hospital's validation images, and what both models make of them as they are."""

    @property
    def validation(self) -> ImageSet:
        """The images, with their labels."""
        ...

    @property
    def current_logits(self) -> Vector:
        """What the model in force makes of them: float32, shape (n, findings)."""
        ...

    @property
    def candidate_logits(self) -> Vector:
        """What the candidate makes of them: float32, shape (n, findings), not always finite."""
        ...


class Models(Protocol):
    """Both models, to compare their weights or to score whatever images the detector makes, and the round."""

    @property
    def round_index(self) -> int:
        """The round, from 1, as the hospital checked it against the ledger."""
        ...

    @property
    def current(self) -> ScoringModel:
        """The model in force."""
        ...

    @property
    def candidate(self) -> ScoringModel:
        """The model that would replace it."""
        ...


class JudgedBefore(ValidationScores, Protocol):
    """The hospital's validation images, what both models make of them, and measures of earlier rounds."""

    @property
    def history(self) -> History:
        """Measures of earlier rounds."""
        ...


@dataclass(frozen=True)
class UpdateSizes:
    """A round's mean update beside the hospital's own; not a number where something is not known.

    Attributes:
        norm: L2 norm of the mean update behind the candidate.
        own_norm: L2 norm of the update that the hospital made in this round.
        concentration: Sum of squares of the weights in the mean, which add up to 1: 1 / n for n equal ones.
        inner: Inner product of the mean update and the hospital's own, where that is in the mean.
    """

    norm: float = math.nan
    own_norm: float = math.nan
    concentration: float = math.nan
    inner: float = math.nan


class MeanUpdates(Protocol):
    """The mean update of the round beside the hospital's own, and what was measured of those before."""

    @property
    def updates(self) -> UpdateSizes:
        """Both updates' sizes."""
        ...

    @property
    def history(self) -> History:
        """Measures of earlier rounds."""
        ...


class ModelsAndImages(Models, ValidationScores, Protocol):
    """Both models, the hospital's own images, measures of earlier rounds, and how many rounds there will be."""

    @property
    def rounds(self) -> int:
        """How many rounds the study has."""
        ...

    @property
    def training(self) -> ImageSet:
        """The training images, with their labels."""
        ...

    @property
    def history(self) -> History:
        """Measures of earlier rounds."""
        ...


class TrainingImages(Protocol):
    """The hospital's own training images."""

    @property
    def training(self) -> ImageSet:
        """The images, with their labels."""
        ...


@dataclass(frozen=True)
class Inspection:
    """All that detectors can be given; every view is a part of this.

    Attributes:
        round_index: The round, from 1.
        validation: The hospital's validation images.
        load_training: Gives its training images; called once, when a detector first asks for them.
        current: The model in force.
        candidate: The model that would replace it.
        history: Measures of earlier rounds; takes those of this one.
        rounds: How many rounds the study has.
        updates: The mean update behind the candidate beside the hospital's own.
    """

    round_index: int
    validation: ImageSet
    load_training: Callable[[], ImageSet]
    current: ScoringModel
    candidate: ScoringModel
    history: History = field(default_factory=History)
    rounds: int = sys.maxsize
    updates: UpdateSizes = UpdateSizes()

    @cached_property
    def training(self) -> ImageSet:
        """The hospital's training images; loaded once, whoever asks."""
        return self.load_training()

    @cached_property
    def current_logits(self) -> Vector:
        """Logits of the validation images by the model in force: those it had as the candidate, or computed."""

        def compute() -> Wide:
            return self.current(self.validation.pixels()).astype(np.float64)

        known = self.history.of_current(_LOGITS, compute)
        return (known if len(known) == len(self.validation) else compute()).astype(np.float32)

    @cached_property
    def candidate_logits(self) -> Vector:
        """Logits of the validation images by the candidate; computed once, and kept for the next round."""
        logits = self.candidate(self.validation.pixels())
        self.history.of_candidate(_LOGITS, logits.astype(np.float64))
        return logits
