"""The published cipher: Alice and Bob are one linear layer each, 512 numbers to 256, without an activation.

Alice takes the code of the image and that of the key image, Bob what was sent and the code of the key image. So what
is sent is an affine function of both codes, whatever is trained.

The adversarial phase is as published, with its two mistakes: Eve is given what Bob has decoded, and not what was sent;
and her own steps make her error larger.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedward.labs.neural_crypto.autoencoder import CODE, CODE_CHANNELS, CODE_SIDE, Autoencoder, Wide, build_decoder
from fedward.labs.neural_crypto.ciphers import Bytes
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.seeding import public_rng
from fedward.types import Vector

_BATCH, _RATE = 64, 1e-3
_LAST = 20  # steps in which the published Eve is measured
_OUTLIERS = 0.001  # of what is sent lies below `low`, and as much above `high`


@dataclass(frozen=True)
class Affine:
    """See the module; it computes in float64.

    Attributes:
        autoencoder: Gives codes of key images.
        alice: float64, shape (513, 256): of the code, the key's code, and 1.
        bob: The same, of what was sent, the key's code, and 1.
        low: See `Cipher`.
        high: See `Cipher`.
    """

    autoencoder: Autoencoder = field(repr=False)
    alice: Wide = field(repr=False)
    bob: Wide = field(repr=False)
    low: float
    high: float
    name: str = "published"
    about: str = "one linear layer each for Alice and Bob, no nonce"

    def encrypt(self, codes: Wide, keys: Bytes, nonces: Bytes) -> Wide:  # noqa: ARG002 - there were none
        """See `Cipher`."""
        return self.send(codes, self.key_codes(keys))

    def send(self, codes: Wide, key_codes: Wide) -> Wide:
        """What is sent of codes under keys' codes, (n, 256) each, whether there are such images or not."""
        return with_one(codes, key_codes) @ self.alice

    def decrypt(self, sent: Wide, keys: Bytes, nonces: Bytes) -> Wide:  # noqa: ARG002
        """See `Cipher`."""
        return with_one(sent, self.key_codes(keys)) @ self.bob

    def key_codes(self, keys: Bytes) -> Wide:
        """Codes of key images."""
        return self.autoencoder.codes((keys[..., None] / np.float32(255.0)).astype(np.float32))


def with_one(*parts: Wide) -> Wide:
    """Columns side by side, and a column of ones."""
    return np.concatenate([*parts, np.ones((len(parts[0]), 1))], axis=1)


def train_published(
    autoencoder: Autoencoder, pixels: Vector, steps: int, adversarial_steps: int, seed: int
) -> tuple[Affine, float]:
    """Train Alice and Bob together, then in turns with the published Eve.

    Args:
        autoencoder: A trained one.
        pixels: Training images; keys are others of them.
        steps: Of Alice and Bob alone.
        adversarial_steps: Of both sides, in turns, at least one.
        seed: Decides initial weights and draws.

    Returns:
        The cipher, and the published Eve's PSNR in dB on training images in the last steps.
    """
    keras.utils.set_random_seed(seed)
    rng, training = public_rng("published cipher", seed), _Training()
    codes, errors = autoencoder.codes(pixels).astype(np.float32), []
    together, in_turns = tf.function(training.together), tf.function(training.in_turns)
    for step in range(steps + adversarial_steps):
        rows, keys = rng.integers(0, len(codes), (2, _BATCH))
        batch = tf.constant(codes[rows]), tf.constant(codes[keys]), tf.constant(pixels[rows])
        if step < steps:
            together(*batch)
        else:
            errors.append(float(in_turns(*batch)))
    alice, bob = (_matrix(network) for network in (training.alice, training.bob))
    sent = with_one(*(codes[rows].astype(np.float64) for rows in (slice(None), rng.permutation(len(codes))))) @ alice
    low, high = np.quantile(sent, [_OUTLIERS, 1 - _OUTLIERS])
    eve = -10.0 * np.log10(np.mean(errors[-_LAST:]))
    return Affine(autoencoder, alice, bob, float(low), float(high)), float(eve)


class _Training:
    """The published networks, and a step of each phase."""

    def __init__(self) -> None:
        self.alice, self.bob, self.eve = _linear(), _linear(), build_decoder()
        self.ours, self.hers = self.alice.trainable_weights + self.bob.trainable_weights, self.eve.trainable_weights
        self.optimizers = keras.optimizers.Adam(_RATE), keras.optimizers.Adam(_RATE)
        for optimizer, weights in zip(self.optimizers, (self.ours, self.hers), strict=True):
            optimizer.build(weights)

    def together(self, code: Any, key: Any, image: Any) -> None:
        """Alice and Bob alone."""
        with tf.GradientTape() as tape:
            loss, _ = self._errors(code, key, image)
        self.optimizers[0].apply(tape.gradient(loss, self.ours), self.ours)

    def in_turns(self, code: Any, key: Any, image: Any) -> Any:
        """Both sides; gives Eve's error."""
        with tf.GradientTape() as tape:
            bobs, eves = self._errors(code, key, image)
            loss = bobs - eves
        self.optimizers[0].apply(tape.gradient(loss, self.ours), self.ours)
        with tf.GradientTape() as tape:
            bobs, eves = self._errors(code, key, image)
            loss = bobs - eves  # as published: her step makes her error larger
        self.optimizers[1].apply(tape.gradient(loss, self.hers), self.hers)
        return eves

    def _errors(self, code: Any, key: Any, image: Any) -> tuple[Any, Any]:
        """Mean squared errors of Bob, of the code, and of Eve, of the image."""
        read = self.bob(tf.concat([self.alice(tf.concat([code, key], 1)), key], 1))
        # As published: Eve gets what Bob has read.
        seen = self.eve(tf.reshape(read, (-1, CODE_SIDE, CODE_SIDE, CODE_CHANNELS)))
        return tf.reduce_mean((read - code) ** 2), tf.reduce_mean((seen - image) ** 2)


def _linear() -> Any:
    return keras.Sequential([keras.Input((2 * CODE,)), keras.layers.Dense(CODE)])


def _matrix(network: Any) -> Wide:
    """A linear layer's weights, and its constant in the last row."""
    weights, constant = network.get_weights()
    return np.concatenate([weights, constant[None]]).astype(np.float64)
