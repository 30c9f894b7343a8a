"""Sums of per-unit clipped gradients for DP-SGD: the only thing that private training learns from the images.

A unit's images are one example (Abadi et al. 2016 for single images; McMahan et al. 2018 for all data of a person): its
gradient is the mean of its images' gradients, clipped as a whole. A second copy of an image moves that mean, never the
bound. Batches are padded to a few sizes, so that TensorFlow rarely traces anew.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.learning.model import Classifier, weighted_cross_entropy
from fedward.learning.quiet_tensorflow import tf
from fedward.learning.training import Attacked
from fedward.types import Vector

BATCH_IMAGES = 32  # images of a unit that count at a time, and of a batch at least
_LARGEST_BATCH = 128  # larger ones were no quicker
_BATCH_BYTES = 3 << 22  # of gradients in memory at a time, where more than the least batch fits: the CNN's 32
_STEP_IMAGES = 8  # a batch is padded to a multiple of these: padding costs as much as images
_SMALLEST_NORM = 1e-300  # in place of zero, to divide by


@dataclass(frozen=True)
class Batch:
    """The images of whole units, as many as fit a batch, and padding.

    Attributes:
        rows: Indices of images, shape (images,); 0 for padding.
        slots: Which unit of the batch each image belongs to, ascending, shape (images,); padding has a unit of its own.
        shares: float32, shape (images,); 1 over the unit's number of images, 0 for padding.
    """

    rows: NDArray[np.intp]
    slots: NDArray[np.int32]
    shares: NDArray[np.float32]


def batches(units: list[NDArray[np.intp]], size: int = BATCH_IMAGES) -> Iterator[Batch]:
    """Put units into batches, each unit wholly into one.

    Args:
        units: Rows of each unit's images, at least one and at most `size`.
        size: Images in a batch.
    """
    waiting: list[NDArray[np.intp]] = []
    for unit in units:
        if sum(map(len, waiting)) + len(unit) > size:
            yield _batch(waiting)
            waiting = []
        waiting.append(unit)
    if waiting:
        yield _batch(waiting)


def _batch(units: list[NDArray[np.intp]]) -> Batch:
    """Join units and pad them to a batch of one of a few sizes."""
    lengths = [len(unit) for unit in units]
    missing = -sum(lengths) % _STEP_IMAGES
    slots = np.repeat(np.arange(len(units)), lengths)
    return Batch(
        rows=np.pad(np.concatenate(units), (0, missing)),
        slots=np.pad(slots, (0, missing), constant_values=len(units)).astype(np.int32),
        shares=np.pad(np.repeat(1.0 / np.array(lengths), lengths), (0, missing)).astype(np.float32),
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence what TensorFlow says while it traces: that it computes a convolution's gradients image by image."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class ClippedGradients:
    """Sums of clipped gradients of a classifier's weighted loss, at the weights that it holds when asked.

    Args:
        classifier: Whose trainable weights the gradients are of.

    Guarantees:
        1. Whatever the images, labels, weights and weight of positive labels: what a unit adds has an L2 norm of at
           most `bound`. A gradient that is not finite adds nothing.
        2. What a unit adds depends on that unit's images alone, not on who else is in the batch.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._sum = tf.function(self._clipped_sum, reduce_retracing=True)

    @property
    def parameters(self) -> int:
        """Length of a gradient."""
        return self._classifier.parameters

    @property
    def batch_images(self) -> int:
        """How many images a batch should hold: small models are quicker with many, large ones need the memory."""
        return int(np.clip(_BATCH_BYTES // (4 * self.parameters), BATCH_IMAGES, _LARGEST_BATCH))

    def __call__(
        self,
        prepared: Vector,
        labels: Vector,
        batch: Batch,
        bound: float,
        positive_weight: float = 1.0,
        attacked: Attacked | None = None,
    ) -> NDArray[np.float64]:
        """One batch's sum.

        Args:
            prepared: All images as the classifier's `prepare` gives them, float32, first axis by image.
            labels: float32, shape (n, findings).
            batch: Which of them.
            bound: Largest L2 norm of what a unit adds.
            positive_weight: How often a positive label counts in the loss.
            attacked: Gives images in place of those, each by itself; None: those themselves.

        Returns:
            float64, shape (parameters,).
        """
        total = self._sum(
            tf.constant(prepared[batch.rows] if attacked is None else attacked(prepared[batch.rows])),
            tf.constant(labels[batch.rows]),
            tf.constant(batch.slots),
            tf.constant(batch.shares),
            tf.constant(bound, tf.float64),
            tf.constant(positive_weight, tf.float32),
        )
        return np.asarray(total, np.float64)

    def _clipped_sum(self, inputs: Any, labels: Any, slots: Any, shares: Any, bound: Any, positive_weight: Any) -> Any:
        head = self._classifier.trainable
        weights = head.trainable_weights

        def gradient(image: Any) -> Any:
            pixels, label = image
            with tf.GradientTape() as tape:
                logits = head(pixels[None], training=True)
                loss = weighted_cross_entropy(label[None], logits, positive_weight)
            return [tf.reshape(part, [-1]) for part in tape.gradient(loss, weights)]

        with _without_warnings():
            single = tf.vectorized_map(gradient, (inputs, labels), warn=False)
        # In float64 the square of the largest float32 is finite, so the norm is wrong by rounding only.
        units = [tf.cast(tf.math.segment_sum(part, slots), tf.float64) for part in single]
        share = tf.cast(tf.math.segment_max(shares, slots), tf.float64)  # what makes a unit's sum its mean
        norms = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(part), 1) for part in units]))
        factors = tf.minimum(share, bound / tf.maximum(norms, _SMALLEST_NORM))
        factors = tf.where(tf.math.is_finite(norms), factors, tf.zeros_like(factors))
        # Where the factor is 0, the product is 0, also of what is no number.
        return tf.concat([tf.reduce_sum(tf.math.multiply_no_nan(part, factors[:, None]), 0) for part in units], 0)
