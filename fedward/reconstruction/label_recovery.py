"""The method `label-recovery`: the project's small CNN, trained to read labels off perturbed images as they are."""

import math
from typing import Any

from fedward.learning.model import BUILDERS
from fedward.learning.quiet_tensorflow import keras
from fedward.learning.weight_shapes import ModelSpec, stored_arrays
from fedward.reconstruction.losses import label_loss
from fedward.reconstruction.reader import Batch, Plan, Reader
from fedward.reconstruction.shape import ReaderShape


class LabelRecovery(Reader):
    """See the module. Restores labels, no images."""

    name = "label-recovery"
    about = "a small classifier of perturbed images"
    plan = Plan(epochs=12, batch_size=32, learning_rate=1e-3)

    @staticmethod
    def build(shape: ReaderShape) -> Any:
        """See `Reader`."""
        inputs = keras.Input((shape.image_size, shape.image_size, 1))
        return keras.Model(inputs, {"logits": classifying(shape)(inputs)})

    @staticmethod
    def weight_count(shape: ReaderShape) -> int:
        """See `Reader`."""
        return classifying_weights(shape)

    def loss(self, batch: Batch) -> Any:
        """Cross-entropy of the labels."""
        return label_loss(self.network(batch.encrypted, training=True)["logits"], batch.labels)


def classifying(shape: ReaderShape) -> Any:
    """A new CNN (fedward/learning/model.py): images to logits."""
    return BUILDERS["cnn"](_spec(shape), "")


def classifying_weights(shape: ReaderShape) -> int:
    """Number of weights of `classifying`."""
    return sum(math.prod(array.shape) for array in stored_arrays(_spec(shape)))


def _spec(shape: ReaderShape) -> ModelSpec:
    return ModelSpec("cnn", shape.image_size, shape.findings)
