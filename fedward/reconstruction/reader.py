"""`Reader`: a trained network that gives back image, label or both of perturbed images, and is stored as bytes.

A method of reconstruction is a subclass: a network and what it minimizes. Its `Plan` says how it trains.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedward.errors import DataError
from fedward.learning.model import Scored
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.reconstruction.shape import ReaderShape
from fedward.reconstruction.stored_reader import StoredReader, write_reader
from fedward.types import Vector

_PREDICT_PIXELS = 2**20  # of all images that go through a network at a time


@dataclass(frozen=True)
class Plan:
    """How a method trains.

    Attributes:
        epochs: Passes over the pairs.
        batch_size: Pairs a step.
        learning_rate: Of Adam in the first step; it falls to almost nothing along half a cosine.
    """

    epochs: int
    batch_size: int
    learning_rate: float


class Batch(NamedTuple):
    """Tensors of some pairs.

    Attributes:
        encrypted: float32, shape (n, size, size, 1).
        originals: The same.
        labels: float32, shape (n, findings).
        draw: int32, shape (2,): seed of what a method draws for these pairs.
    """

    encrypted: Any
    originals: Any
    labels: Any
    draw: Any


class Reader(ABC):
    """Reads images that an attack has perturbed.

    A reader is as secret as what it restores: whoever has its bytes reads what was perturbed alike.

    Attributes:
        name: By which `fedward.reconstruction.registry` knows the method.
        about: What it does, in one phrase.
        plan: How it trains unless told otherwise.
        shape: Of its images and labels.
        network: The Keras model: a batch of images to a dict with `image`, `logits` or both.

    Args:
        shape: Of its images and labels.
        seed: Decides the initial weights.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    plan: ClassVar[Plan]

    def __init__(self, shape: ReaderShape, seed: int = 0) -> None:
        keras.utils.set_random_seed(seed)
        self.shape = shape
        self.network: Any = self.build(shape)

    @staticmethod
    @abstractmethod
    def build(shape: ReaderShape) -> Any:
        """A new network."""

    @staticmethod
    @abstractmethod
    def weight_count(shape: ReaderShape) -> int:
        """How many weights such a network has, told without building it."""

    @abstractmethod
    def loss(self, batch: Batch) -> Any:
        """What training minimizes, as a tensor of one number."""

    def images(self, encrypted: Vector) -> Vector | None:
        """Restored images; None where the method restores labels only.

        Args:
            encrypted: float32, shape (n, size, size, 1), values in [0, 1].

        Returns:
            float32, the same shape, clipped to [0, 1].

        Raises:
            DataError: the images are of another shape than those that the reader was trained on.
        """
        found = self._read("image", encrypted, encrypted.shape[1:])
        return None if found is None else np.clip(found, 0.0, 1.0)

    def scores(self, encrypted: Vector) -> Vector | None:
        """Logits of the labels, float32, shape (n, findings); None where the method restores images only.

        Raises:
            DataError: as in `images`.
        """
        return self._read("logits", encrypted, (self.shape.findings,))

    def as_bytes(self) -> bytes:
        """The reader as bytes, for `fedward.reconstruction.registry.reader_from`; equal readers, equal bytes."""
        stored = StoredReader(self.name, self.shape.image_size, self.shape.findings)
        return write_reader(stored, self.get_weights())

    def get_weights(self) -> Vector:
        """All weights: float32, shape (weight_count,), in the network's own order."""
        return np.concatenate([np.asarray(weight).ravel() for weight in self.network.weights]).astype(np.float32)

    def set_weights(self, weights: Vector) -> None:
        """Put weights in, as `get_weights` gave them."""
        start = 0
        for variable in self.network.weights:
            end = start + int(np.prod(variable.shape))
            variable.assign(weights[start:end].reshape(variable.shape))
            start = end

    def start_at(self, classifier: Scored) -> None:
        """Let the part that reads labels start as a classifier that was trained on other images of the same kind.

        A hospital that makes a reader has the model that its images are cloaked against, and hundreds of pairs are few
        to learn labels from anew. Whoever has the reader's bytes then has a model near that one.

        Readers without such a part, or with one of another architecture or size, stay as they are.
        """
        same = classifier.spec.image_size, classifier.spec.findings
        part = [layer for layer in self.network.layers if layer.name == classifier.network.name]
        if part and same == (self.shape.image_size, self.shape.findings):
            part[0].set_weights(classifier.network.get_weights())

    def _read(self, what: str, encrypted: Vector, row: tuple[int, ...]) -> NDArray[np.float32] | None:
        """One of the network's outputs, a bounded number of images at a time."""
        size = self.shape.image_size
        if encrypted.shape[1:] != (size, size, 1):
            raise DataError(
                f"The reader takes grey images of {size} by {size} pixels, not of shape {encrypted.shape[1:]}.",
                "Use the reader that was made for these images.",
            )
        if what not in self.network.output:
            return None
        found = np.empty((len(encrypted), *row), np.float32)
        step = max(1, _PREDICT_PIXELS // size**2)
        for start in range(0, len(encrypted), step):
            found[start : start + step] = self.network(tf.constant(encrypted[start : start + step]), training=False)[
                what
            ]
        return found
