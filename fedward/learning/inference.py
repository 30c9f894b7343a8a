"""The CNN's logits outside of training, in fewer passes over memory than Keras's layers take.

Scoring images and attacking them takes most of the time of detectors and labs, and two thirds of a pass of the CNN are
group normalization: Keras writes whole layers anew for the mean, the variance, the scale and the shift. Here each layer
is read for its mean and its variance only, then pooled, and what is left, a quarter, is scaled and shifted:

    max over a square of relu(scale * x + shift) = relu(scale * (max over the square of x) + shift)

as long as no scale is below 0. A channel whose scale would be below 0 is turned over first, by turning over its filter.
"""

from collections.abc import Callable
from typing import Any

from fedward.learning.quiet_tensorflow import keras, tf


def cnn_logits(network: Any) -> Callable[[Any], Any]:
    """The logits of the Keras network "cnn", as a function of images.

    Args:
        network: As `fedward.learning.model` builds it. Its weights are read at each call.

    Returns:
        Tensors of pixels, float32, shape (n, height, width, 1), to tensors of logits, shape (n, findings).

    Guarantees:
        1. Logits and their gradients by pixels are those of `network(pixels, training=False)` but for rounding. Where
           two values of a square are equal, another one may pass the gradient on.
        2. An image's logits depend on no other image.
    """
    layers = keras.layers
    filters, norms = (
        [layer for layer in network.layers if isinstance(layer, kind)]
        for kind in (layers.Conv2D, layers.GroupNormalization)
    )
    dense = network.layers[-1]

    def logits(pixels: Any) -> Any:
        hidden = pixels
        for convolution, norm in zip(filters, norms, strict=True):
            hidden = _block(hidden, convolution, norm)
        return tf.linalg.matmul(tf.reduce_mean(hidden, [1, 2]), dense.kernel) + dense.bias

    return logits


def _block(inputs: Any, convolution: Any, norm: Any) -> Any:
    """Convolution, group normalization, ReLU and pooling of squares of 2."""
    gamma, beta = tf.convert_to_tensor(norm.gamma), tf.convert_to_tensor(norm.beta)
    turned = tf.where(gamma < 0, -1.0, 1.0)
    hidden = tf.nn.conv2d(inputs, tf.convert_to_tensor(convolution.kernel) * turned, 1, "SAME")
    mean, deviation = _by_groups(hidden, turned, norm.groups, norm.epsilon)
    scale, shift = tf.abs(gamma) / deviation, beta - gamma * mean / deviation
    pooled = tf.nn.max_pool2d(hidden, 2, 2, "VALID")
    return tf.nn.relu(pooled * scale[:, None, None] + shift[:, None, None])


def _by_groups(hidden: Any, turned: Any, groups: int, epsilon: float) -> tuple[Any, Any]:
    """Mean and deviation of each channel's group, before channels were turned over: each of shape (n, channels)."""
    _, height, width, channels = hidden.shape
    size = channels // groups
    flat = tf.reshape(hidden, (-1, height * width, channels))
    means = tf.reduce_mean(flat, 1)
    variances = tf.reduce_mean(tf.math.squared_difference(flat, means[:, None]), 1)
    means, variances = (tf.reshape(each, (-1, groups, size)) for each in (means * turned, variances))
    mean = tf.reduce_mean(means, 2, keepdims=True)
    variance = tf.reduce_mean(variances + (means - mean) ** 2, 2)
    return tf.repeat(mean[:, :, 0], size, 1), tf.repeat(tf.sqrt(variance + epsilon), size, 1)
