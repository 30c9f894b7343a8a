"""Eves: networks trained from scratch on a cipher that no longer changes, each to tell images from what anybody sees.

An Eve knows all but the key: networks, nonces, and images with what was sent for them under other keys, as many as
she likes. In each pass over her images she has them sent anew, with new keys and nonces. She starts at the mean
image, so that an Eve who learns nothing is as good as the prior. One of them is also given another image under the
same key, and what was sent for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from fedward.labs.neural_crypto.autoencoder import SIDE, Coder, Wide
from fedward.labs.neural_crypto.ciphers import Bytes, Cipher, draw_nonces
from fedward.labs.neural_crypto.mixer import as_signs, circled
from fedward.labs.neural_crypto.networks import ask, train_network
from fedward.labs.neural_crypto.plan import CONVOLUTIONAL, DENSE, LINEAR, WITH_A_PAIR
from fedward.learning.quiet_tensorflow import keras
from fedward.seeding import public_rng
from fedward.types import Vector

_BATCH, _RATE = 64, 1e-3
_CHANNELS = 8  # of the convolutional Eve's first picture


@dataclass(frozen=True)
class Messages:
    """Images, their codes, and the keys that they are sent under; row by row.

    Attributes:
        images: uint8, shape (n, 32, 32).
        codes: float64, shape (n, 256).
        keys: uint8, shape (n, 32, 32).
    """

    images: Bytes = field(repr=False)
    codes: Wide = field(repr=False)
    keys: Bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self) -> Vector:
        """float32, shape (n, 32, 32, 1), values in [0, 1]."""
        return (self.images[..., None] / np.float32(255.0)).astype(np.float32)


def messages(images: Bytes, coder: Coder, shift: int = 1) -> Messages:
    """Images under keys that are others of them."""
    pixels = (images[..., None] / np.float32(255.0)).astype(np.float32)
    return Messages(images, coder.codes(pixels), np.roll(images, shift, axis=0))


def seen(cipher: Cipher, sent: Wide, nonces: Bytes) -> Wide:
    """What a network is given of messages: numbers sent, from 0 to 1, these as angles, and the nonce's bits."""
    unit = (sent - cipher.low) / (cipher.high - cipher.low)
    return np.concatenate([unit, circled(unit * (255 / 256)), as_signs(nonces)], axis=1)


def _linear(inputs: Any) -> Any:
    return inputs


def _dense(inputs: Any) -> Any:
    for _ in range(2):
        inputs = keras.layers.Dense(384, activation="relu")(inputs)
    return inputs


def _convolutional(inputs: Any) -> Any:
    layers, eighth = keras.layers, SIDE // 4
    hidden = layers.Dense(eighth * eighth * _CHANNELS, activation="relu")(inputs)
    hidden = layers.Reshape((eighth, eighth, _CHANNELS))(hidden)
    hidden = layers.Conv2DTranspose(16, 4, strides=2, padding="same", activation="relu")(hidden)
    hidden = layers.Conv2DTranspose(1, 4, strides=2, padding="same")(hidden)
    return layers.Flatten()(hidden)


_HIDDEN: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {LINEAR: _linear, DENSE: _dense, CONVOLUTIONAL: _convolutional, WITH_A_PAIR: _dense}
)


@dataclass(frozen=True)
class Eve:
    """A trained Eve.

    Attributes:
        name: One of the `EVES` of `plan`.
        network: Inputs to images' pixels, shape (n, 1024).
    """

    name: str
    network: Any = field(repr=False)

    def images(self, cipher: Cipher, given: Messages, rng: np.random.Generator) -> tuple[Vector, Wide, Bytes]:
        """What she makes of messages, float32, shape (n, 32, 32, 1), beside what was sent and its nonces."""
        inputs, sent, nonces = _inputs(self.name, cipher, given, rng)
        found = np.clip(ask(self.network, inputs), 0, 1).reshape(-1, SIDE, SIDE, 1)
        return found, sent, nonces


def train_eve(name: str, cipher: Cipher, given: Messages, steps: int, seed: int) -> Eve:
    """Train an Eve from scratch.

    Args:
        name: One of the `EVES` of `plan`.
        cipher: What she attacks.
        given: Training images; she draws other keys among them.
        steps: Of 64 messages each.
        seed: Decides initial weights and draws.
    """
    keras.utils.set_random_seed(seed)
    rng = public_rng("eve", name, cipher.name, seed)
    targets = given.pixels().reshape(len(given), -1)
    width = _inputs(name, cipher, _some(given, np.arange(1)), rng)[0].shape[1]
    inputs = keras.Input((width,))
    mean = keras.initializers.Constant(targets.mean(0))
    outputs = keras.layers.Dense(SIDE * SIDE, kernel_initializer="zeros", bias_initializer=mean)(_HIDDEN[name](inputs))
    network = keras.Model(inputs, outputs)
    waiting: list[tuple[Wide, Vector]] = []

    def draw() -> tuple[Wide, Vector]:
        if not waiting:
            order = rng.permutation(len(given))
            again = Messages(given.images, given.codes, given.images[rng.permutation(len(given))])
            rows = _inputs(name, cipher, _some(again, order), rng)[0]
            size = min(_BATCH, len(rows))
            waiting.extend(
                (rows[start : start + size], targets[order[start : start + size]])
                for start in range(0, len(rows) - size + 1, size)
            )
        return waiting.pop()

    train_network(network, draw, steps, _RATE)
    return Eve(name, network)


def _inputs(name: str, cipher: Cipher, given: Messages, rng: np.random.Generator) -> tuple[Wide, Wide, Bytes]:
    """What an Eve is given of messages, beside what was sent and its nonces."""
    nonces = draw_nonces(rng, len(given))
    sent = cipher.encrypt(given.codes, given.keys, nonces)
    inputs = seen(cipher, sent, nonces)
    if name == WITH_A_PAIR:
        others, second = given.codes[rng.permutation(len(given))], draw_nonces(rng, len(given))
        inputs = np.concatenate(
            [inputs, seen(cipher, cipher.encrypt(others, given.keys, second), second), others], axis=1
        )
    return inputs, sent, nonces


def _some(given: Messages, rows: Any) -> Messages:
    return Messages(given.images[rows], given.codes[rows], given.keys[rows])
