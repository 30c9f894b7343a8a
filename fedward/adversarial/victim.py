"""A classifier as attacks on its input see it: how far images are from the other decision, and the loss's gradient."""

import numpy as np
from numpy.typing import NDArray

from fedward.learning.model import Scored
from fedward.learning.quiet_tensorflow import tf
from fedward.types import Vector

_BATCH = 32  # images whose gradients are taken at a time: with more, layers no longer fit into the processor's cache


class Victim:
    """A classifier with its thresholds.

    Attributes:
        classifier: What is attacked.

    Args:
        classifier: With the weights that are attacked; whoever changes them afterwards changes the victim.
        thresholds: Scores in (0, 1) from which on a finding is called, one a finding or one for all.
    """

    def __init__(self, classifier: Scored, thresholds: float | tuple[float, ...] = 0.5) -> None:
        self.classifier = classifier
        bounds = np.clip(
            np.broadcast_to(np.asarray(thresholds, np.float64), (classifier.spec.findings,)), 1e-9, 1 - 1e-9
        )
        self._offset = np.log(bounds / (1 - bounds)).astype(np.float32)
        self._slope = tf.function(self._input_gradient, reduce_retracing=True)

    def margins(self, pixels: Vector) -> Vector:
        """How far logits are above those of the thresholds: a finding is called where this is not below 0.

        Args:
            pixels: float32, shape (n, height, width, 1), values in [0, 1].

        Returns:
            float32, shape (n, findings).
        """
        return np.asarray(self.classifier.logits(pixels) - self._offset, np.float32)

    def decisions(self, pixels: Vector) -> NDArray[np.bool_]:
        """Which findings are called: shape (n, findings)."""
        return np.asarray(self.margins(pixels) >= 0)

    def gradient(self, pixels: Vector, labels: Vector) -> Vector:
        """Gradient of each image's binary cross-entropy by its pixels; logits are taken from the thresholds on.

        Args:
            pixels: float32, shape (n, height, width, 1).
            labels: float32, shape (n, findings).

        Returns:
            float32, shape of `pixels`; an image's gradient depends on no other image.
        """
        return self.margins_and_gradient(pixels, labels)[1]

    def margins_and_gradient(self, pixels: Vector, labels: Vector) -> tuple[Vector, Vector]:
        """What `margins` and `gradient` give, in one pass."""
        margins, gradient = np.empty(labels.shape, np.float32), np.empty_like(pixels)
        for start in range(0, len(pixels), _BATCH):
            some = slice(start, start + _BATCH)
            margins[some], gradient[some] = self._slope(
                tf.constant(pixels[some]), tf.constant(labels[some], tf.float32)
            )
        return margins, gradient

    def _input_gradient(self, pixels: "tf.Tensor", labels: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            margins = self.classifier.scores(pixels) - self._offset
            # Cross-entropy, written so that its slope does not round to 0 where the classifier is sure: at a logit of
            # 17 that of `sigmoid_cross_entropy_with_logits` does, and the attack would seem to fail.
            loss = tf.reduce_sum(tf.nn.softplus((1 - 2 * labels) * margins))
        return margins, tape.gradient(loss, pixels)
