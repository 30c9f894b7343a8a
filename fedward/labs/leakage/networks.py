"""The models whose updates are attacked, and what a hospital computes with them, as functions of weights and images.

Attackers differentiate a hospital's whole computation, so weights go in and come out as tensors, not as variables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.learning.model import BUILDERS, weighted_cross_entropy
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.learning.weight_shapes import ModelSpec
from fedward.seeding import public_rng
from fedward.types import Vector

Tensors = tuple[NDArray[np.float32], ...]  # one array a weight of a network, in its own order

LENET, LENET_SIGMOID, CNN, ROWS = "lenet", "lenet-sigmoid", "cnn", "rows"
LENET_CLASSES, CLASSES = "lenet-16-classes", 16  # where each image of a batch has a class, and so an output, of its own
_HIDDEN = 8  # units of the network that leaks by construction


@dataclass(frozen=True)
class LocalTraining:
    """How a hospital trains on its batch.

    Attributes:
        steps: Of plain gradient descent, each on the whole batch; 1: the update is the gradient (FedSGD).
        rate: Their learning rate.
    """

    steps: int
    rate: float


def new_network(name: str, size: int, seed: int) -> Any:
    """A Keras model at new random weights: of one logit, but for `LENET_CLASSES`.

    Args:
        name: One of `NETWORKS`.
        size: Of the images.
        seed: Decides the weights.
    """
    keras.utils.set_random_seed(seed)
    network = NETWORKS[name](size)
    if name != CNN:
        _start_as_torch_does(network, public_rng("lab leakage weights", name, seed))
    return network


def weights_of(network: Any) -> Tensors:
    """A network's weights."""
    return tuple(np.asarray(each, np.float32) for each in network.trainable_weights)


def update(network: Any, weights: Sequence[Any], images: Any, labels: Any, local: LocalTraining) -> list[Any]:
    """What a hospital sends after local training, over the learning rate: tensors in, tensors out.

    Args:
        network: Gives the architecture; its own weights do not count.
        weights: Where training starts.
        images: float32, shape (n, size, size, 1).
        labels: float32, shape (n, logits), each 0 or 1.
        local: How it trains.

    Returns:
        (weights before - weights after) / rate, one tensor a weight. With one step that is the gradient.

    Guarantees:
        1. It is what plain gradient descent with the same steps gives, to float32 rounding, and differentiable.
    """
    current = list(weights)
    for _ in range(local.steps):
        gradients = _gradients(network, current, images, labels)
        if local.steps == 1:
            return gradients
        current = [weight - local.rate * gradient for weight, gradient in zip(current, gradients, strict=True)]
    return [(before - after) / local.rate for before, after in zip(weights, current, strict=True)]


def trained(network: Any, images: Vector, labels: NDArray[np.float32], steps: int, rng: np.random.Generator) -> None:
    """Train a network in place: Adam at 0.001 on batches of 32."""
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_weights)

    def step(pixels: Any, truth: Any) -> None:
        weights = [weight.value for weight in network.trainable_weights]
        optimizer.apply(_gradients(network, weights, pixels, truth), network.trainable_weights)

    traced = tf.function(step)
    for _ in range(steps):
        rows = rng.choice(len(images), min(32, len(images)), replace=False)
        traced(tf.constant(images[rows]), tf.constant(labels[rows]))


def _gradients(network: Any, weights: Sequence[Any], images: Any, labels: Any) -> list[Any]:
    with tf.GradientTape() as tape:
        tape.watch(weights)
        fixed = [each.value for each in network.non_trainable_variables]
        logits, _ = network.stateless_call(weights, fixed, images, training=True)
        loss = weighted_cross_entropy(labels, logits, 1.0)
    found: list[Any] = tape.gradient(loss, weights)
    return found


def labels_for(name: str, labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a network learns of images: their labels, or for `LENET_CLASSES` for each of up to 16 a class of its own."""
    return labels if name != LENET_CLASSES else np.eye(CLASSES, dtype=np.float32)[: len(labels)]


def _lenet(activation: str, logits: int = 1) -> Callable[[int], Any]:
    """Three convolutions of 12 filters, 5 by 5, the first two with stride 2, and one linear layer."""

    def build(size: int) -> Any:
        layers = keras.layers
        inputs = hidden = keras.Input((size, size, 1))
        for stride in (2, 2, 1):
            hidden = layers.Conv2D(12, 5, strides=stride, padding="same", activation=activation)(hidden)
        return keras.Model(inputs, layers.Dense(logits)(layers.Flatten()(hidden)))

    return build


def _rows(size: int) -> Any:
    """A linear first layer: each row of its gradient is the image, times a number that its bias's gradient tells."""
    layers = keras.layers
    inputs = keras.Input((size, size, 1))
    hidden = layers.Dense(_HIDDEN, activation="sigmoid")(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(1)(hidden))


def _cnn(size: int) -> Any:
    return BUILDERS["cnn"](ModelSpec("cnn", size, 1), "")


NETWORKS: Mapping[str, Callable[[int], Any]] = MappingProxyType(
    {
        LENET: _lenet("tanh"),
        LENET_SIGMOID: _lenet("sigmoid"),
        LENET_CLASSES: _lenet("tanh", CLASSES),
        CNN: _cnn,
        ROWS: _rows,
    }
)


def _start_as_torch_does(network: Any, rng: np.random.Generator) -> None:
    """Uniform up to one over the root of the inputs of a unit, biases too, as PyTorch starts layers."""
    for layer in network.layers:
        if layer.weights:
            bound = float(np.prod(layer.weights[0].shape[:-1])) ** -0.5
            for weight in layer.weights:
                weight.assign(rng.uniform(-bound, bound, weight.shape).astype(np.float32))
