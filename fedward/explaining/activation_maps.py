"""Where a convolutional network sees a finding: gradients times activations on the way through it (LayerCAM).

The plain method, Grad-CAM (Selvaraju et al. 2017), weighs the channels of the last convolution by their mean gradients.
There a map has 8 by 8 places for the CNN at 64 pixels, and 2 by 2 for DenseNet121. LayerCAM (Jiang et al. 2021) weighs
each activation by its own gradient where that is positive, which serves earlier, finer blocks too. Which blocks was
chosen on drawn phantoms, and measured on others (docs/adr/0039): of the CNN the last three, each brought to the same
largest value and added; of DenseNet121, whose late activations each see the whole image, the first one, smoothed.

Limits: a map says where the network looked, not that it looked for the right reason; and every map has a hottest place,
also that of an image without the finding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.explaining.spreading import Places, smooth, spread
from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.types import Vector

_BATCH = 16  # images at a time: their activations are kept for the gradients
_CNN_BLOCKS = 3
_DENSENET_BLOCK, _DENSENET_PLACES = "conv1_relu", Places(0, 2)
_SMOOTHED = 1 / 16  # of DenseNet121's maps: the deviation, in sides of the image


@dataclass(frozen=True)
class _Blocks:
    """A network that tells what it does on the way.

    Attributes:
        network: Pixels to the activations of some blocks and the logits.
        places: Of each block, where its activations lie.
        smoothed: By how much the maps are smoothed, in sides of the image; 0: not at all.
    """

    network: Any
    places: tuple[Places, ...]
    smoothed: float = 0.0


def cnn_maps(classifier: Classifier, pixels: Vector, findings: NDArray[np.intp]) -> Vector:
    """Maps of the small CNN; see `_maps`."""
    return _maps(_cnn_blocks(classifier.network), pixels, findings)


def densenet_maps(classifier: Classifier, pixels: Vector, findings: NDArray[np.intp]) -> Vector:
    """Maps of DenseNet121; see `_maps`."""
    return _maps(_densenet_blocks(classifier.network), pixels, findings)


def _cnn_blocks(network: Any) -> _Blocks:
    """The activations of the last convolutions, before each is halved."""
    outputs = [layer.output for layer in network.layers if isinstance(layer, keras.layers.ReLU)]
    steps = [2**block for block in range(len(outputs))]
    places = tuple(Places((step - 1) / 2, step) for step in steps)
    return _Blocks(keras.Model(network.input, [*outputs[-_CNN_BLOCKS:], network.output]), places[-_CNN_BLOCKS:])


def _densenet_blocks(network: Any) -> _Blocks:
    """The activations of the first convolution; the body is a network inside the network."""
    concatenate, body, pool, dense = network.layers[-4:]
    inner = keras.Model(body.inputs, [body.get_layer(_DENSENET_BLOCK).output, *body.outputs])
    activations, features = inner(concatenate.output)
    return _Blocks(
        keras.Model(network.input, [activations, dense(pool(features))]), (_DENSENET_PLACES,), smoothed=_SMOOTHED
    )


def _maps(blocks: _Blocks, pixels: Vector, findings: NDArray[np.intp]) -> Vector:
    """How much each pixel's surroundings speak for one finding.

    Args:
        blocks: The network.
        pixels: float32, shape (n, size, size, 1), values in [0, 1].
        findings: Of each image, the place of the finding among the outputs; shape (n,).

    Returns:
        float32, shape (n, size, size), values in [0, 1]; an image's map depends on no other image.
    """
    size = pixels.shape[1]
    found = np.zeros(pixels.shape[:3], np.float32)
    for start in range(0, len(pixels), _BATCH):
        some = slice(start, start + _BATCH)
        wanted = np.eye(blocks.network.outputs[-1].shape[-1], dtype=np.float32)[findings[some]]
        for coarse, places in zip(_slopes(blocks.network, pixels[some], wanted), blocks.places, strict=True):
            fine = np.maximum(spread(coarse, places, size), 0)
            fine = smooth(fine, blocks.smoothed * size) if blocks.smoothed else fine
            found[some] += fine / np.maximum(fine.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
    return found / np.float32(len(blocks.places))


def _slopes(network: Any, pixels: Vector, wanted: Vector) -> list[Vector]:
    """Each block's positive gradients times activations, summed over the channels.

    Step by step rather than compiled: to trace DenseNet121 takes longer than hundreds of maps.

    Args:
        network: As `_Blocks` has it.
        pixels: float32, shape (n, size, size, 1).
        wanted: float32, shape (n, findings); 1 at the finding that each map is about.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        inputs = tf.constant(pixels)
        tape.watch(inputs)
        *activations, logits = network(inputs, training=False)
        total = tf.reduce_sum(logits * wanted)
    gradients = tape.gradient(total, activations)
    return [
        np.asarray(tf.reduce_sum(tf.nn.relu(gradient) * activation, axis=-1))
        for gradient, activation in zip(gradients, activations, strict=True)
    ]
