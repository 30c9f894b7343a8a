"""The classifiers, and the one place that talks to Keras.

What is federated has no batch normalization: its running statistics would carry data past the privacy stage, and
averaging them breaks under label skew. Group normalization (Wu and He 2018, "Group Normalization") takes its place.
"""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.errors import UsageError
from fedward.quiet_tensorflow import keras, tf
from fedward.types import Vector

GROUPS = 8  # of the CNN's normalizations; its narrowest layer has 16 channels
DENSENET_GROUPS = 32  # divides every width of DenseNet121
PREDICT_BATCH = 256


@dataclass(frozen=True)
class ModelSpec:
    """What decides a model's shape.

    Attributes:
        name: "cnn" or "densenet121".
        image_size: Height and width of its input in pixels.
        findings: Number of sigmoid outputs.
    """

    name: str
    image_size: int
    findings: int


class Classifier:
    """A Keras model seen as one weight vector, with a training step that any hospital repeats bit for bit.

    Args:
        spec: The model's shape.
        seed: Decides the initial weights.
        weights_file: Local file to start DenseNet121 from; empty for random weights.
    """

    def __init__(self, spec: ModelSpec, seed: int = 0, weights_file: str = "") -> None:
        keras.utils.set_random_seed(seed)
        self.spec = spec
        self.network: Any = _build(spec, weights_file)
        self._optimizer = keras.optimizers.Adam()
        self._optimizer.build(self.network.trainable_weights)
        self._step = tf.function(self._train_step, reduce_retracing=True)
        self._forward = tf.function(lambda images: self.network(images, training=False), reduce_retracing=True)

    @property
    def parameters(self) -> int:
        """Number of trainable weights."""
        return sum(int(np.prod(weight.shape)) for weight in self.network.trainable_weights)

    def get_weights(self) -> Vector:
        """All trainable weights: float32, shape (parameters,), in the network's own order."""
        return np.concatenate([np.asarray(weight).ravel() for weight in self.network.trainable_weights]).astype(
            np.float32
        )

    def set_weights(self, weights: Vector) -> None:
        """Put weights in, as `get_weights` gave them.

        Raises:
            UsageError: their number is not the model's.
        """
        if weights.shape != (self.parameters,):
            raise UsageError(
                f"{weights.size} weights do not fit {self.spec.name} with {self.parameters} parameters.",
                "Use the model that they were trained with.",
            )
        start = 0
        for variable in self.network.trainable_weights:
            end = start + int(np.prod(variable.shape))
            variable.assign(weights[start:end].reshape(variable.shape))
            start = end

    def logits(self, pixels: Vector) -> Vector:
        """Scores before the sigmoid.

        Args:
            pixels: float32, shape (n, height, width, 1), values in [0, 1].

        Returns:
            float32, shape (n, findings).
        """
        return _in_batches(self._forward, pixels, self.spec.findings)

    def start_training(self, learning_rate: float) -> None:
        """Forget the optimizer's memory: every round starts it anew, so nothing of it need be shared."""
        for variable in self._optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        self._optimizer.learning_rate = learning_rate

    def train_batch(self, pixels: Vector, labels: NDArray[np.float32]) -> float:
        """One Adam step on the mean binary cross-entropy; returns the loss before the step."""
        return float(self._step(tf.constant(pixels), tf.constant(labels)))

    def _train_step(self, pixels: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = self.network(pixels, training=True)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))
        weights = self.network.trainable_weights
        self._optimizer.apply(tape.gradient(loss, weights), weights)
        return loss


@functools.lru_cache(maxsize=1)
def shared_classifier(spec: ModelSpec) -> Classifier:
    """A classifier of this shape, built once a process: tracing it takes seconds.

    Whoever uses it sets its weights and starts its optimizer first; it holds nothing of a hospital in between.
    """
    return Classifier(spec)


def save_network(classifier: Classifier, path: Path) -> None:
    """Write the network as a `.keras` file (architecture and weights)."""
    classifier.network.save(path)


def load_network(path: Path) -> Any:
    """Read a `.keras` file without running code from it.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, UserWarning: the file is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras only warns when it leaves layers at random weights
        return keras.models.load_model(path, compile=False, safe_mode=True)


def network_logits(network: Any, pixels: Vector) -> Vector:
    """Scores before the sigmoid of a network that was read from a file; shapes as in `Classifier.logits`.

    Not by Keras's own `predict`: that writes TensorFlow's internals to stderr.

    Raises:
        ValueError: the network does not take such images.
    """
    forward = tf.function(lambda images: network(images, training=False), reduce_retracing=True)
    return _in_batches(forward, pixels, int(network.output_shape[-1]))


def _in_batches(forward: Callable[[Any], Any], pixels: Vector, findings: int) -> Vector:
    """Apply a function to batches of images, so that memory stays bounded."""
    parts = [
        np.asarray(forward(tf.constant(pixels[start : start + PREDICT_BATCH])))
        for start in range(0, len(pixels), PREDICT_BATCH)
    ]
    return np.concatenate([np.zeros((0, findings), np.float32), *parts])


def _build(spec: ModelSpec, weights_file: str) -> Any:
    """The Keras network of a shape."""
    if spec.name == "densenet121":
        return _build_densenet121(spec, weights_file)
    if weights_file:
        raise UsageError(
            f"model.weights is set, but {spec.name} starts from random weights.", "Leave it out, or use densenet121."
        )
    return _build_cnn(spec)


def _build_cnn(spec: ModelSpec) -> Any:
    """Four blocks of convolution, group norm, ReLU and pooling; 97,521 parameters with one finding."""
    layers = keras.layers
    inputs = hidden = keras.Input((spec.image_size, spec.image_size, 1))
    for filters in (16, 32, 64, 128):
        hidden = layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
        hidden = layers.GroupNormalization(GROUPS)(hidden)
        hidden = layers.ReLU()(hidden)
        hidden = layers.MaxPooling2D()(hidden)
    hidden = layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(inputs, layers.Dense(spec.findings)(hidden), name="cnn")


def _build_densenet121(spec: ModelSpec, weights_file: str) -> Any:
    """DenseNet121 (Huang et al. 2017) with group norm in place of batch norm; grey is repeated to three channels."""
    if spec.image_size < 32:
        raise UsageError(
            f"densenet121 needs images of at least 32 pixels, not {spec.image_size}.", "Raise data.image-size."
        )
    original = _keras_densenet121(spec, weights_file)

    def group_norm(layer: Any) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            return keras.layers.GroupNormalization(DENSENET_GROUPS, epsilon=layer.epsilon, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    def without_mask(layer: Any, *inputs: Any, **options: Any) -> Any:
        # The recorded call of a batch norm carries a mask, which group norm does not know.
        return layer(*inputs) if isinstance(layer, keras.layers.GroupNormalization) else layer(*inputs, **options)

    body = keras.models.clone_model(original, clone_function=group_norm, call_function=without_mask)
    if weights_file:
        for source, target in zip(original.layers, body.layers, strict=True):
            # Of a batch norm only scale and shift carry over; its running statistics are the pretraining data's.
            target.set_weights(source.get_weights()[: len(target.get_weights())])
    inputs = keras.Input((spec.image_size, spec.image_size, 1))
    features = body(keras.layers.Concatenate()([inputs, inputs, inputs]))
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(inputs, keras.layers.Dense(spec.findings)(pooled), name="densenet121")


def _keras_densenet121(spec: ModelSpec, weights_file: str) -> Any:
    """Keras's own DenseNet121, with weights from a local file or none; nothing is downloaded."""
    if weights_file and not Path(weights_file).is_file():
        raise UsageError(
            f"The weights file {weights_file} is missing.", "Name a local Keras weights file (.h5, without top)."
        )
    try:
        return keras.applications.DenseNet121(
            include_top=False, weights=weights_file or None, input_shape=(spec.image_size, spec.image_size, 3)
        )
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{weights_file} does not hold weights of DenseNet121 without top: {error}.",
            "Name a file saved by Keras for this architecture.",
        ) from error
