"""The method `denoiser`: a small residual network that tells the perturbation, which is then taken away.

As DnCNN (Zhang et al. 2017, "Beyond a Gaussian Denoiser"), but smaller, so that two cores train it in a minute or two:
pixels are first folded two by two into channels (Zhang et al. 2018, "FFDNet"), which makes each layer a quarter of the
work and its view twice as wide. No normalization between layers, and the last layer starts at zero: an untrained
denoiser gives back what it was given.
"""

from itertools import pairwise
from typing import Any

from fedward.learning.quiet_tensorflow import keras
from fedward.reconstruction.losses import image_loss
from fedward.reconstruction.reader import Batch, Plan, Reader
from fedward.reconstruction.shape import ReaderShape

LAYERS, CHANNELS = 8, 48
RESIDUAL = (
    0.1  # what the layers tell is scaled by this, as perturbations are small: a step of training then moves it little
)
_FOLD = 2
_FOLDED = _FOLD * _FOLD


class Denoiser(Reader):
    """See the module. Restores images, no labels."""

    name = "denoiser"
    about = "a residual network that takes the perturbation away"
    plan = Plan(epochs=10, batch_size=16, learning_rate=1e-3)

    @staticmethod
    def build(shape: ReaderShape) -> Any:
        """See `Reader`."""
        inputs = keras.Input((shape.image_size, shape.image_size, 1))
        return keras.Model(inputs, {"image": denoised(inputs)})

    @staticmethod
    def weight_count(shape: ReaderShape) -> int:  # noqa: ARG004 - the same for images of any size
        """See `Reader`."""
        return denoising_weights()

    def loss(self, batch: Batch) -> Any:
        """Half the mean absolute difference, half 1 - SSIM."""
        return image_loss(self.network(batch.encrypted, training=True)["image"], batch.originals)


def denoised(images: Any) -> Any:
    """The layers of a denoiser, from Keras tensor to Keras tensor of one shape, (n, size, size, 1)."""
    size, small = images.shape[1], images.shape[1] // _FOLD
    ops, conv = keras.ops, keras.layers.Conv2D
    hidden = ops.reshape(images - 0.5, (-1, small, _FOLD, small, _FOLD))
    hidden = ops.reshape(ops.transpose(hidden, (0, 1, 3, 2, 4)), (-1, small, small, _FOLDED))
    for _ in range(LAYERS - 1):
        hidden = conv(CHANNELS, 3, padding="same", activation="relu", kernel_initializer="he_normal")(hidden)
    hidden = conv(_FOLDED, 3, padding="same", kernel_initializer="zeros")(hidden)
    hidden = ops.transpose(ops.reshape(hidden, (-1, small, small, _FOLD, _FOLD)), (0, 1, 3, 2, 4))
    return images - RESIDUAL * ops.reshape(hidden, (-1, size, size, 1))


def denoising_weights() -> int:
    """Number of weights of `denoised`."""
    widths = [_FOLDED, *[CHANNELS] * (LAYERS - 1), _FOLDED]
    return sum(9 * before * after + after for before, after in pairwise(widths))
