"""The methods `vae` and `vae-without-kl`: image and label by way of a code of 256 numbers.

A variational autoencoder (Kingma and Welling 2014, "Auto-Encoding Variational Bayes") that sees perturbed images and is
asked for the originals; a linear layer reads the labels off the code. So small a code cannot hold fine detail, and a
perturbation has no room in it either. `vae-without-kl` is the same network with another loss.

The divergence counts by pixel, as the squared error beside it does (`losses.divergence_per_pixel`). Summed over
the code against a mean over pixels, as where this is taken from, it wins, and all images are restored alike.
"""

from typing import Any

from fedward.learning.quiet_tensorflow import keras, tf
from fedward.reconstruction.losses import LABEL_SHARE, divergence_per_pixel, label_loss, unlike
from fedward.reconstruction.reader import Batch, Plan, Reader
from fedward.reconstruction.shape import STEP, ReaderShape

LATENT = 256  # numbers of a code
CHANNELS = (16, 32, 64, 128)  # after each of four halvings, which `STEP` allows for
SQUARED_ERROR = 5.0  # how often the squared error counts


class Vae(Reader):
    """See the module. Restores images and labels."""

    name = "vae"
    about = "a variational autoencoder: images and labels by way of a code of 256 numbers"
    plan = Plan(epochs=30, batch_size=32, learning_rate=1e-3)

    @staticmethod
    def build(shape: ReaderShape) -> Any:
        """See `Reader`."""
        inputs = keras.Input((shape.image_size, shape.image_size, 1))
        mean, _ = _encoder(shape)(inputs)
        logits = keras.layers.Dense(shape.findings, name="head")(mean)
        return keras.Model(inputs, {"image": _decoder(shape)(mean), "logits": logits})

    @staticmethod
    def weight_count(shape: ReaderShape) -> int:
        """See `Reader`."""
        last, top = CHANNELS[-1], (shape.image_size // STEP) ** 2 * CHANNELS[-1]
        down = zip((1, *CHANNELS[:-1]), CHANNELS, strict=True)
        up = zip((last, *CHANNELS[::-1]), (*CHANNELS[::-1], 1), strict=True)
        convolved = sum(9 * before * after + after for before, after in (*down, *up))
        codes = 2 * (top * LATENT + LATENT) + LATENT * top + top
        return convolved + codes + LATENT * shape.findings + shape.findings

    def loss(self, batch: Batch) -> Any:
        """Squared error five times, divergence of the code, and a tenth of the labels' cross-entropy."""
        restored, logits, mean, log_variance = self._drawn(batch)
        squared = tf.reduce_mean((restored - batch.originals) ** 2)
        divergence = divergence_per_pixel(mean, log_variance, self.shape.image_size**2)
        return SQUARED_ERROR * squared + divergence + LABEL_SHARE * label_loss(logits, batch.labels)

    def _drawn(self, batch: Batch) -> tuple[Any, Any, Any, Any]:
        """Image and logits of a code drawn for each image, and the mean and log variance that it was drawn with."""
        encoder, decoder, head = (self.network.get_layer(name) for name in ("encoder", "decoder", "head"))
        mean, log_variance = encoder(batch.encrypted, training=True)
        noise = tf.random.stateless_normal(tf.shape(mean), batch.draw)
        code = mean + tf.exp(0.5 * log_variance) * noise
        return decoder(code, training=True), head(code), mean, log_variance


class VaeWithoutKl(Vae):
    """See the module. Restores images and labels."""

    name = "vae-without-kl"
    about = "the same autoencoder, trained on likeness (SSIM) and labels, its code left free"

    def loss(self, batch: Batch) -> Any:
        """1 - SSIM, and a tenth of the labels' cross-entropy."""
        restored, logits, _, _ = self._drawn(batch)
        return unlike(restored, batch.originals) + LABEL_SHARE * label_loss(logits, batch.labels)


def _encoder(shape: ReaderShape) -> Any:
    """Images to mean and log variance of their codes."""
    layers = keras.layers
    inputs = hidden = keras.Input((shape.image_size, shape.image_size, 1))
    for channels in CHANNELS:
        hidden = layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu")(hidden)
    hidden = layers.Flatten()(hidden)
    return keras.Model(inputs, [layers.Dense(LATENT)(hidden), layers.Dense(LATENT)(hidden)], name="encoder")


def _decoder(shape: ReaderShape) -> Any:
    """Codes to images."""
    layers, side = keras.layers, shape.image_size // STEP
    inputs = keras.Input((LATENT,))
    hidden = layers.Dense(side * side * CHANNELS[-1], activation="relu")(inputs)
    hidden = layers.Reshape((side, side, CHANNELS[-1]))(hidden)
    for channels in CHANNELS[::-1]:
        hidden = layers.Conv2DTranspose(channels, 3, strides=2, padding="same", activation="relu")(hidden)
    image = layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid")(hidden)
    return keras.Model(inputs, image, name="decoder")
