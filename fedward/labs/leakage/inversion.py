"""Gradient inversion: find images whose update would be the one that was seen.

Images are searched as a free picture of a quarter or half of their side, brought up by bicubic interpolation: few
unknowns, and smooth. The attacker differentiates the hospital's whole local training. One attempt is one start and one
`Matching`.

References:
    Zhu, Liu and Han 2019, "Deep Leakage from Gradients".
    Geiping, Bauermeister, Dröge and Moeller 2020, "Inverting Gradients: How easy is it to break privacy?" (cosine, TV).
    Yue et al. 2023, "Gradient Obfuscation Gives a False Sense of Security in Federated Learning" (latent, unrolling).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.labs.leakage.networks import LocalTraining, Tensors, update
from fedward.learning.quiet_tensorflow import tf
from fedward.types import Vector

SHRUNK = 4  # how much smaller the latent's side is, unless a `Matching` says otherwise
_FIRST_RATE, _LAST_RATE = 0.05, 0.005  # of Adam, along half a cosine
_DECAYS = 0.9, 0.999
_SMALL = 1e-12


@dataclass(frozen=True)
class Seen:
    """All that the attacker is handed; the images stay with the harness.

    Attributes:
        weights: The model that the hospital started from.
        labels: float32, shape (n, logits): of all images in what was seen.
        values: What the server sees, in the shapes of an update.
        sparse: Whether zeros stand for values that were left out.
    """

    weights: Tensors = field(repr=False)
    labels: NDArray[np.float32] = field(repr=False)
    values: Tensors = field(repr=False)
    sparse: bool


@dataclass(frozen=True)
class Matching:
    """What the attacker minimizes.

    Attributes:
        name: For tables.
        cosine: Whether it is one minus the cosine; else the squared distance over the squared norm of what was seen.
        variation: Weight of the mean total variation a pixel.
        shrunk: How much smaller the latent's side is.
    """

    name: str
    cosine: bool
    variation: float
    shrunk: int = SHRUNK


MATCHINGS = (
    Matching("L2", False, 0.0),
    Matching("cosine + TV", True, 0.01),
    Matching("cosine + strong TV", True, 0.3),
    Matching("cosine + TV, half", True, 0.01, 2),
)


class Inverter:
    """Attacks updates of one network and local training.

    Args:
        network: Gives the architecture.
        size: Of the images, a multiple of `SHRUNK`.
        local: How hospitals train.
    """

    def __init__(self, network: Any, size: int, local: LocalTraining) -> None:
        self._network, self._local, self._size = network, local, size
        self._up = {matching: tf.constant(enlarging(size, matching.shrunk)) for matching in MATCHINGS}
        self._slopes = {matching: tf.function(self._slope_of(matching)) for matching in MATCHINGS}

    def __call__(
        self, seen: Seen, matching: Matching, steps: int, rng: np.random.Generator, around: Vector | None = None
    ) -> tuple[Vector, float]:
        """Make one attempt.

        Args:
            seen: What the attacker has.
            matching: What he minimizes, one of `MATCHINGS`.
            steps: Of Adam.
            rng: Draws where he starts.
            around: An image near which he starts, shape (size, size, 1); None: grey.

        Returns:
            Images, float32, shape (n, size, size, 1), values in [0, 1], and what is left of the mismatch.
        """
        weights, values = list(map(tf.constant, seen.weights)), list(map(tf.constant, seen.values))
        masks = [
            tf.constant((value != 0).astype(np.float32) if seen.sparse else np.ones_like(value))
            for value in seen.values
        ]
        given = tf.constant(seen.labels), weights, values, masks
        side = self._size // matching.shrunk
        center, spread = (0.5, 0.1) if around is None else (_smaller(around, side), 0.03)
        latent = np.clip(center + spread * rng.standard_normal((len(seen.labels), side, side, 1)), 0, 1)
        mean, square, left = np.zeros_like(latent), np.zeros_like(latent), math.inf
        for step in range(steps):
            loss, slope = self._slopes[matching](tf.constant(latent, tf.float32), *given)
            left, gradient = float(loss), slope.numpy().astype(np.float64)
            mean = _DECAYS[0] * mean + (1 - _DECAYS[0]) * gradient
            square = _DECAYS[1] * square + (1 - _DECAYS[1]) * gradient**2
            rate = _LAST_RATE + (_FIRST_RATE - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps))
            move = mean / (1 - _DECAYS[0] ** (step + 1))
            move /= np.sqrt(square / (1 - _DECAYS[1] ** (step + 1))) + _SMALL
            latent = np.clip(latent - rate * move, 0, 1)
        return np.clip(self._enlarged(tf.constant(latent, tf.float32), matching).numpy(), 0, 1), left

    def _slope_of(self, matching: Matching) -> Any:
        """The mismatch and its gradient for the latent, as a function of tensors."""

        def slope(latent: Any, labels: Any, weights: Sequence[Any], values: Sequence[Any], masks: Sequence[Any]) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(latent)
                images = self._enlarged(latent, matching)
                own = update(self._network, weights, images, labels, self._local)
                own = [tensor * mask for tensor, mask in zip(own, masks, strict=True)]
                loss = _mismatch(own, values, matching.cosine)
                loss += (
                    matching.variation
                    * tf.reduce_mean(tf.image.total_variation(images))
                    / images[0].shape.num_elements()
                )
            return loss, tape.gradient(loss, latent)

        return slope

    def _enlarged(self, latent: Any, matching: Matching) -> Any:
        return tf.einsum("ai,bijc,dj->badc", self._up[matching], latent, self._up[matching])


def _smaller(image: Vector, side: int) -> Vector:
    """An image of a smaller side, by means over squares: shape (side, side, 1)."""
    part = len(image) // side
    return np.asarray(image.reshape(side, part, side, part).mean((1, 3))[..., None], np.float32)


def enlarging(size: int, shrunk: int = SHRUNK) -> Vector:
    """The matrix of bicubic interpolation from a smaller side to the side: float32, shape (size, size / shrunk)."""
    rows = np.eye(size // shrunk, dtype=np.float32)[:, :, None]
    large: Any = tf.image.resize(rows, (size, size // shrunk), method="bicubic")
    return np.array(large[:, :, 0].numpy(), np.float32)


def ceiling(images: Vector) -> Vector:
    """The nearest images that a latent of a quarter of the side can make, clipped to [0, 1]. Shapes as given."""
    up = enlarging(images.shape[1]).astype(np.float64)
    there = up @ np.linalg.pinv(up)
    near = np.clip(np.einsum("ai,bijc,dj->badc", there, images, there), 0, 1)
    return np.asarray(near, np.float32)


def read_rows(seen: Seen, size: int) -> Vector | None:
    """Read an image off the gradient of a linear first layer: no search, and exact where one image was trained on.

    Returns:
        float32, shape (1, size, size, 1), values in [0, 1]; None where the first layer is no such layer.
    """
    kernel, bias = seen.values[:2]
    if kernel.ndim != 2 or len(kernel) != size**2:
        return None
    unit = int(np.abs(bias).argmax())
    image = kernel[:, unit] / bias[unit] if bias[unit] else kernel[:, unit]
    return np.clip(image, 0, 1).astype(np.float32).reshape(1, size, size, 1)


def _mismatch(own: Sequence[Any], values: Sequence[Any], cosine: bool) -> Any:
    squares = tf.add_n([tf.reduce_sum(value**2) for value in values]) + _SMALL
    if not cosine:
        return tf.add_n([tf.reduce_sum((a - b) ** 2) for a, b in zip(own, values, strict=True)]) / squares
    product = tf.add_n([tf.reduce_sum(a * b) for a, b in zip(own, values, strict=True)])
    norms = tf.sqrt(squares * (tf.add_n([tf.reduce_sum(each**2) for each in own]) + _SMALL))
    return 1.0 - product / norms
