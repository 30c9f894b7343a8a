"""Autoencoders: an image of 32 pixels a side to a code of 256 numbers, and back.

The published one has two convolutions with poolings, kernels of 2 by 2 and channels 1-16-4-16-1: 677 weights for grey
images, 935 for those of three colors. The wide one has a hundred times as many, and no ReLU at its code: no cipher
can give Bob more than his autoencoder does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedward.labs.neural_crypto.networks import ask, train_network, weights_of
from fedward.learning.quiet_tensorflow import keras
from fedward.seeding import public_rng
from fedward.types import Vector

Wide = NDArray[np.float64]

SIDE = 32  # pixels of an image
CODE_SIDE, CODE_CHANNELS = 8, 4
CODE = CODE_SIDE * CODE_SIDE * CODE_CHANNELS  # 256
PUBLISHED, WIDE = "published", "wide"
_BATCH = 64
_IMAGE, _CODE = (SIDE, SIDE, 1), (CODE_SIDE, CODE_SIDE, CODE_CHANNELS)
_RATES: Mapping[str, float] = MappingProxyType({PUBLISHED: 3e-3, WIDE: 2e-3})


def build_encoder(kind: str) -> Any:
    """A new encoder: images (n, 32, 32, 1) to codes (n, 8, 8, 4)."""
    conv = keras.layers.Conv2D
    if kind == PUBLISHED:
        inner = [
            conv(16, 2, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            conv(CODE_CHANNELS, 2, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
        ]
    else:
        inner = [
            conv(32, 4, strides=2, padding="same", activation="relu"),
            conv(64, 4, strides=2, padding="same", activation="relu"),
            conv(CODE_CHANNELS, 3, padding="same"),
        ]
    return keras.Sequential([keras.Input(_IMAGE), *inner])


def build_decoder(kind: str = PUBLISHED) -> Any:
    """A new decoder: codes (n, 8, 8, 4) to images (n, 32, 32, 1) in [0, 1]."""
    back = keras.layers.Conv2DTranspose
    if kind == PUBLISHED:
        inner = [back(16, 2, strides=2, activation="relu"), back(1, 2, strides=2, activation="sigmoid")]
    else:
        inner = [
            keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
            back(32, 4, strides=2, padding="same", activation="relu"),
            back(1, 4, strides=2, padding="same", activation="sigmoid"),
        ]
    return keras.Sequential([keras.Input(_CODE), *inner])


class Coder(Protocol):
    """Makes codes of images, and images of codes."""

    def codes(self, pixels: Vector) -> Wide:
        """Codes of images: from float32, shape (n, 32, 32, 1), to float64, shape (n, 256), values in [0, 1]."""
        ...

    def images(self, codes: Wide) -> Vector:
        """Images of codes: from float64, shape (n, 256), to float32, shape (n, 32, 32, 1), values in [0, 1]."""
        ...


@dataclass(frozen=True)
class Autoencoder:
    """A trained autoencoder, public as the ciphers' networks are: only keys are secret.

    Codes are scaled by what training images had: 0 is the least that a number of the code was, 1 the most.

    Attributes:
        kind: `PUBLISHED` or `WIDE`.
        encoder: Its weights, in the order of `build_encoder`.
        decoder: Its weights.
        low: float64, shape (256,): what a code of 0 stands for.
        high: The same for 1.
    """

    kind: str
    encoder: tuple[Vector, ...] = field(repr=False)
    decoder: tuple[Vector, ...] = field(repr=False)
    low: Wide = field(repr=False)
    high: Wide = field(repr=False)

    def codes(self, pixels: Vector) -> Wide:
        """Scaled codes of images.

        Args:
            pixels: float32, shape (n, 32, 32, 1), values in [0, 1].

        Returns:
            float64, shape (n, 256), values in [0, 1]: what lies beyond is cut off.
        """
        raw = _encode(_with(build_encoder(self.kind), self.encoder), pixels)
        return np.clip((raw - self.low) / (self.high - self.low), 0.0, 1.0)

    def images(self, codes: Wide) -> Vector:
        """Images of scaled codes: float32, shape (n, 32, 32, 1); codes beyond [0, 1] are cut off."""
        raw = np.clip(codes, 0.0, 1.0) * (self.high - self.low) + self.low
        return ask(_with(build_decoder(self.kind), self.decoder), raw.reshape(-1, *_CODE))


def train_autoencoder(kind: str, pixels: Vector, steps: int, seed: int) -> Autoencoder:
    """Train an autoencoder for the squared error.

    Args:
        kind: `PUBLISHED` or `WIDE`.
        pixels: float32, shape (n, 32, 32, 1), values in [0, 1].
        steps: Of 64 images each.
        seed: Decides initial weights and which images each step takes.
    """
    keras.utils.set_random_seed(seed)
    encoder, decoder = build_encoder(kind), build_decoder(kind)
    rng = public_rng("autoencoder", kind, seed)

    def draw() -> tuple[Vector, Vector]:
        chosen = pixels[rng.integers(0, len(pixels), _BATCH)]
        return chosen, chosen

    train_network(keras.Sequential([encoder, decoder]), draw, steps, _RATES[kind])
    raw = _encode(encoder, pixels)
    low, high = raw.min(0), raw.max(0)
    high = np.where(high > low, high, low + 1.0)  # a number that never changes
    return Autoencoder(kind, weights_of(encoder), weights_of(decoder), low, high)


def _encode(encoder: Any, pixels: Vector) -> Wide:
    return ask(encoder, pixels).astype(np.float64).reshape(len(pixels), CODE)


def _with(network: Any, weights: tuple[Vector, ...]) -> Any:
    network.set_weights(list(weights))
    return network
