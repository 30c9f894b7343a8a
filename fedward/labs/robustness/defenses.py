"""Defenses that change an image before the classifier sees it, and what an attacker who knows them does.

Each defense is told twice: as it works, and as TensorFlow can take gradients through it. An attack in the column
"white-box" follows the second, and what it made is judged by the first.
"""

from abc import ABC, abstractmethod
from typing import Any

from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import tf
from fedward.reconstruction.reader import Reader
from fedward.types import Vector


class InputDefense(ABC):
    """Changes images before they are classified."""

    @abstractmethod
    def cleaned(self, pixels: Vector) -> Vector:
        """Images as the classifier gets them: float32, shape of `pixels`, values in [0, 1]."""

    @abstractmethod
    def differentiable(self, pixels: Any) -> Any:
        """The same, from tensor to tensor, with gradients that an attacker can follow."""


class Restored(InputDefense):
    """Images pass through a network that gives back what it takes the unattacked image to be.

    Args:
        reader: It, which restores images.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def cleaned(self, pixels: Vector) -> Vector:
        """See `InputDefense`."""
        images = self._reader.images(pixels)
        if images is None:
            raise TypeError(f"The reader {self._reader.name} restores no images.")
        return images

    def differentiable(self, pixels: Any) -> Any:
        """See `InputDefense`."""
        return tf.clip_by_value(self._reader.network(pixels, training=False)["image"], 0.0, 1.0)


class Defended:
    """A classifier behind a defense: see `fedward.learning.model.Scored`.

    Args:
        classifier: What classifies.
        defense: What images pass first.
    """

    def __init__(self, classifier: Classifier, defense: InputDefense) -> None:
        self.spec = classifier.spec
        self.network: Any = classifier.network
        self._classifier, self._defense = classifier, defense

    def logits(self, pixels: Vector) -> Vector:
        """See `Classifier.logits`."""
        return self._classifier.logits(self._defense.cleaned(pixels))

    def scores(self, pixels: Any, /) -> Any:
        """See `Scored.scores`: what an attacker who knows the defense follows."""
        return self._classifier.scores(self._defense.differentiable(pixels))
