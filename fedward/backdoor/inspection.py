"""What a hospital has at hand to judge a candidate model, and the part of it that each kind of detector sees.

A detector says by the type of its argument what it looks at: one of the views below, or a Protocol of its own with
other members of `Inspection`. mypy then holds that it reads nothing else. What costs time is computed when it is first
asked for and kept for the next detector, so a view that nobody asks for costs nothing.

Models of earlier rounds are in no view: a hospital keeps the model in force and the latest candidate, and no older
weights. A detector that compares with them needs them kept first (`HospitalFolder.save_model`); they come in as one
more member of `Inspection`, which `client.make_ballot` fills, with a view of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from fedward.types import ImageSet, Vector


class ScoringModel(Protocol):
    """A model that a detector may look into, and score images with."""

    @property
    def weights(self) -> Vector:
        """All trainable weights: float32, shape (parameters,)."""
        ...

    def __call__(self, pixels: Vector, /) -> Vector:
        """Logits of pixels: float32, shapes (n, height, width, 1) -> (n, findings)."""
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
        """What would replace it."""
        ...


class TrainingImages(Protocol):
    """The hospital's own training images."""

    @property
    def training(self) -> ImageSet:
        """The images, with their labels."""
        ...


@dataclass(frozen=True)
class Inspection:
    """All of it; every view is a part of this.

    Attributes:
        round_index: The round, from 1.
        validation: The hospital's validation images.
        load_training: Gives its training images; called once, when a detector first asks for them.
        current: The model in force.
        candidate: What would replace it.
    """

    round_index: int
    validation: ImageSet
    load_training: Callable[[], ImageSet]
    current: ScoringModel
    candidate: ScoringModel

    @cached_property
    def training(self) -> ImageSet:
        """The hospital's training images; loaded once, whoever asks."""
        return self.load_training()

    @cached_property
    def current_logits(self) -> Vector:
        """Of the validation images, by the model in force; scored once, whoever asks."""
        return self.current(self.validation.pixels())

    @cached_property
    def candidate_logits(self) -> Vector:
        """Of the validation images, by the candidate; scored once, whoever asks."""
        return self.candidate(self.validation.pixels())
