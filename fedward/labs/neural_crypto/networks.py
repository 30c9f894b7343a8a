"""Trains small Keras networks for the squared error along half a cosine, and asks them in batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.learning.quiet_tensorflow import keras, tf
from fedward.types import Vector

_SLOWEST = 0.01  # of the learning rate, in the last step
_ASKED = 256  # rows at a time

Draw = Callable[[], tuple[NDArray[Any], NDArray[Any]]]  # inputs and wanted outputs of one step


def train_network(network: Any, draw: Draw, steps: int, rate: float) -> None:
    """Train a network in place by Adam.

    Args:
        network: Its inputs and outputs are float32.
        draw: Gives the rows of each step, always as many.
        steps: How many.
        rate: The learning rate of the first step.
    """
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=_SLOWEST)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
    optimizer.build(network.trainable_weights)

    def step(inputs: Any, wanted: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((network(inputs, training=True) - wanted) ** 2)
        weights = network.trainable_weights
        optimizer.apply(tape.gradient(loss, weights), weights)

    traced = tf.function(step, reduce_retracing=True)
    for _ in range(steps):
        inputs, wanted = draw()
        traced(tf.constant(inputs, tf.float32), tf.constant(wanted, tf.float32))


def ask(network: Any, inputs: NDArray[Any]) -> Vector:
    """What a network gives for rows of inputs: float32."""
    parts = [
        network(tf.constant(inputs[start : start + _ASKED], tf.float32), training=False).numpy()
        for start in range(0, len(inputs), _ASKED)
    ]
    return np.concatenate(parts).astype(np.float32)


def weights_of(network: Any) -> tuple[Vector, ...]:
    """A network's weights, in its order."""
    return tuple(np.asarray(each, np.float32) for each in network.get_weights())
