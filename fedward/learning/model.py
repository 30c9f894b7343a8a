"""The classifiers cnn, densenet121 and scatter in Keras: weights as one vector, training steps, logits, Keras files.

No federated model has batch normalization: its running statistics would carry data past the privacy stage, and
averaging them breaks under label skew. Group normalization (Wu and He 2018, "Group Normalization") takes its place.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedward.errors import UsageError
from fedward.learning.inference import cnn_logits
from fedward.learning.prepared_images import PreparedImages
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.learning.scattering import LARGEST_SIZE, SMALLEST_SIZE, Scattering, features
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import Vector

GROUPS = 8  # of the CNN's normalizations; its narrowest layer has 16 channels
DENSENET_GROUPS = 32  # divides every width of DenseNet121
PREDICT_BATCH = 256  # images that are scored at a time, unless they are large
PREDICT_PIXELS = 2**18  # in all of them, which bounds the memory that a pass takes


class Scored(Protocol):
    """What gives logits, and has a network that gradients go through: a classifier, or one behind a defense.

    Attributes:
        spec: The shape of its images and logits.
        network: The Keras network that classifies.
    """

    spec: ModelSpec
    network: Any

    def scores(self, pixels: Any, /) -> Any:
        """Tensors of pixels, float32, shape (n, height, width, 1), to tensors of logits, with gradients."""

    def logits(self, pixels: Vector) -> Vector:
        """See `Classifier.logits`."""


class Classifier:
    """A Keras model seen as one weight vector, with a training step that any hospital repeats bit for bit.

    A model may begin with a part that is fixed, as "scatter" does. What that part makes of images is computed once:

        prepared = classifier.prepare(pixels)        # the pixels themselves where nothing is fixed
        classifier.train_batch(prepared[some], labels[some])

    Attributes:
        spec: The model's shape.
        network: The whole model: pixels, shape (n, height, width, 1), to logits.
        trainable: The part with weights: prepared inputs to logits. Its weights are the network's.
        scores: The network outside of training, as a function of tensors: see `Scored`.

    Args:
        spec: The model's shape.
        seed: Decides the initial weights.
        weights_file: Local file to start DenseNet121 from; empty for random weights.
    """

    def __init__(self, spec: ModelSpec, seed: int = 0, weights_file: str = "") -> None:
        keras.utils.set_random_seed(seed)
        self.spec = spec
        self.network: Any = BUILDERS[spec.name](spec, weights_file)
        self.trainable: Any = _trainable_part(self.network)
        self._optimizer = keras.optimizers.Adam()
        self._optimizer.build(self.network.trainable_weights)
        self._pull: tuple[list[Any], float] = [], 0.0  # weights to stay near, and how strongly
        self._positive_weight = 1.0
        self._step = tf.function(self._train_step, reduce_retracing=True)
        keras_scores = functools.partial(self.network, training=False)
        self.scores: Callable[[Any], Any] = cnn_logits(self.network) if spec.name == "cnn" else keras_scores
        self._forward = tf.function(self.scores, reduce_retracing=True)
        self._head = tf.function(lambda prepared: self.trainable(prepared, training=False), reduce_retracing=True)
        self._prepared = PreparedImages(features)

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

    def set_fixed(self, values: Vector) -> None:
        """Put in what training does not change, as a saved model has it: for "scatter" the center of the features.

        Features that `prepare` makes are not changed by this, only the whole network is.

        Raises:
            UsageError: their number is not the model's.
        """
        fixed = self.network.non_trainable_weights
        if values.shape != (sum(int(np.prod(each.shape)) for each in fixed),):
            raise UsageError(f"{values.size} fixed values do not fit {self.spec.name}.", "Use this model's own.")
        start = 0
        for variable in fixed:
            end = start + int(np.prod(variable.shape))
            variable.assign(values[start:end].reshape(variable.shape))
            start = end

    def logits(self, pixels: Vector) -> Vector:
        """Scores before the sigmoid.

        Args:
            pixels: float32, shape (n, height, width, 1), values in [0, 1].

        Returns:
            float32, shape (n, findings).
        """
        if self._has_fixed_part and self._prepared.fits(len(pixels), self.trainable.input_shape[-1]):
            return _in_batches(self._head, self.prepare(pixels), self.spec.findings)
        return self.whole_logits(pixels)

    def whole_logits(self, pixels: Vector) -> Vector:
        """As `logits`, of the whole network with what `set_fixed` put in, and nothing prepared or kept."""
        return _in_batches(self._forward, pixels, self.spec.findings)

    def prepare(self, pixels: Vector) -> Vector:
        """What the model's fixed part makes of images: the input of `train_batch` and `trainable`.

        For "scatter" these are the features, kept in memory by the content of the images, so that asking again costs
        little more than reading the pixels. Rows stand in the order of the images; an image's row depends on no
        other image.

        Args:
            pixels: float32, shape (n, height, width, 1), values in [0, 1].

        Returns:
            float32; for "scatter" shape (n, features), each row 1 long, not to be written to; else `pixels`.
        """
        return self._prepared.of(pixels) if self._has_fixed_part else pixels

    @property
    def _has_fixed_part(self) -> bool:
        return self.trainable is not self.network

    def start_training(self, learning_rate: float, proximal_mu: float = 0.0, positive_weight: float = 1.0) -> None:
        """Reset the optimizer: every round starts with a fresh one, so that its state need not be shared.

        Args:
            learning_rate: Of the steps that follow.
            proximal_mu: How strongly these steps are pulled toward the present weights; 0: not at all.
            positive_weight: How often a positive label counts in the loss that these steps minimize.
        """
        self._positive_weight = positive_weight
        weights = self.network.trainable_weights
        self._pull = [tf.constant(weight.numpy()) for weight in weights] if proximal_mu else [], proximal_mu
        for variable in self._optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        self._optimizer.learning_rate = learning_rate

    def train_batch(self, prepared: Vector, labels: NDArray[np.float32]) -> float:
        """One Adam step on the weighted mean binary cross-entropy (and the pull, where set).

        Returns the plain mean before the step, without weight and pull, so that runs compare.

        Args:
            prepared: Some rows of what `prepare` gave.
            labels: float32, shape (rows, findings), each 0 or 1.
        """
        anchors, mu = self._pull
        numbers = tf.constant(mu, tf.float32), tf.constant(self._positive_weight, tf.float32)
        return float(self._step(tf.constant(prepared), tf.constant(labels), anchors, *numbers))

    def _train_step(self, prepared: Any, labels: Any, anchors: list[Any], mu: Any, positive_weight: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = self.trainable(prepared, training=True)
            weighted = weighted_cross_entropy(labels, logits, positive_weight)
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))
        weights = self.network.trainable_weights
        gradients = tape.gradient(weighted, weights)
        if anchors:
            gradients = [
                gradient + mu * (weight - anchor)
                for gradient, weight, anchor in zip(gradients, weights, anchors, strict=True)
            ]
        self._optimizer.apply(gradients, weights)
        return loss


def weighted_cross_entropy(labels: Any, logits: Any, positive_weight: Any) -> Any:
    """What training minimizes: mean binary cross-entropy, the terms of positive labels multiplied.

    Args:
        labels: float32, shape (n, findings), each 0 or 1.
        logits: float32, same shape.
        positive_weight: float32, above 0.

    Guarantees:
        1. At weight 1, value and gradient are those of the plain mean, bit for bit.
        2. At a whole weight w, value and gradient are, but for a factor, those of the plain mean with each positive
           label's term w times.
    """
    weights = 1.0 + (positive_weight - 1.0) * labels
    return tf.reduce_mean(weights * tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))


@functools.lru_cache(maxsize=1)
def shared_classifier(spec: ModelSpec) -> Classifier:
    """A classifier of this shape, built once a process: tracing it takes seconds.

    Each caller sets its weights and resets its optimizer first, so that nothing of an earlier use changes a result.
    Features of a hospital's images stay in it, and are found again only with the same images.
    """
    return Classifier(spec)


def save_network(classifier: Classifier, path: Path) -> None:
    """Write the network as a `.keras` file (architecture and weights)."""
    classifier.network.save(path)


def last_inputs(classifier: Classifier, pixels: Vector) -> Vector:
    """What the last layer of a classifier is given: how it represents images.

    Args:
        classifier: With its weights.
        pixels: As for `Classifier.logits`.

    Returns:
        float32, shape (n, width of the last layer's input).
    """
    body = keras.Model(classifier.network.inputs[0], classifier.network.layers[-1].input)
    forward = tf.function(lambda images: body(images, training=False), reduce_retracing=True)
    return _in_batches(forward, pixels, int(body.output_shape[-1]))


def _in_batches(forward: Callable[[Any], Any], inputs: Vector, columns: int) -> Vector:
    """Apply a function to batches of images or of their features, so that memory stays bounded."""
    batch = max(1, min(PREDICT_BATCH, PREDICT_PIXELS // max(1, inputs[0].size))) if len(inputs) else 1
    outputs = np.empty((len(inputs), columns), np.float32)
    for start in range(0, len(inputs), batch):
        outputs[start : start + batch] = forward(tf.constant(inputs[start : start + batch]))
    return outputs


def _trainable_part(network: Any) -> Any:
    """The network from behind its fixed part on; the network itself where nothing is fixed."""
    if not any(isinstance(layer, Scattering) for layer in network.layers):
        return network
    dense = network.layers[-1]
    prepared = keras.Input((int(dense.kernel.shape[0]),))
    return keras.Model(prepared, dense(prepared), name=f"{network.name}-trainable")


def _start_at_random(spec: ModelSpec, weights_file: str) -> None:
    """Refuse a weights file for a model that always starts from random weights."""
    if weights_file:
        raise UsageError(
            f"model.weights is set, but {spec.name} starts from random weights.", "Leave it out, or use densenet121."
        )


def _build_cnn(spec: ModelSpec, weights_file: str) -> Any:
    """Four blocks of convolution, group norm, ReLU and pooling; 97,521 parameters with one finding."""
    _start_at_random(spec, weights_file)
    layers = keras.layers
    inputs = hidden = keras.Input((spec.image_size, spec.image_size, 1))
    for filters in (16, 32, 64, 128):
        hidden = layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
        hidden = layers.GroupNormalization(GROUPS)(hidden)
        hidden = layers.ReLU()(hidden)
        hidden = layers.MaxPooling2D()(hidden)
    hidden = layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(inputs, layers.Dense(spec.findings)(hidden), name="cnn")


def _build_scatter(spec: ModelSpec, weights_file: str) -> Any:
    """Scattering and one linear layer, which starts at zero; 13,889 parameters with one finding at 64 by 64 pixels."""
    _start_at_random(spec, weights_file)
    if not SMALLEST_SIZE <= spec.image_size <= LARGEST_SIZE:
        raise UsageError(
            f"scatter needs images of {SMALLEST_SIZE} to {LARGEST_SIZE} pixels, not {spec.image_size}.",
            "Change data.image-size.",
        )
    inputs = keras.Input((spec.image_size, spec.image_size, 1))
    dense = keras.layers.Dense(spec.findings, kernel_initializer="zeros")
    return keras.Model(inputs, dense(Scattering()(inputs)), name="scatter")


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


# By the names that `fedward.plugins` has: the Keras network of a shape, from a weights file where one is named.
BUILDERS: Mapping[str, Callable[[ModelSpec, str], Any]] = MappingProxyType(
    {"cnn": _build_cnn, "densenet121": _build_densenet121, "scatter": _build_scatter}
)
