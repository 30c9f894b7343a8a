"""Trains the mixer's rounds against an Eve who knows more than she will be measured with.

Eve sees two messages under one key, with their nonces, and the code of one of them; she has to tell the code of the
other. So a mask that depends on the key alone, which would hide single messages, does not do: she would subtract it.
She is trained for the squared error, which is the variance of codes where she learns nothing. Alice changes her
rounds so that Eve's error rises to that, and no further, as Abadi and Andersen 2016 ("Learning to Protect
Communications with Adversarial Neural Cryptography"). Bob's error needs no term: he undoes whatever the rounds are.
"""

import dataclasses
from typing import Any

import numpy as np

from fedward.labs.neural_crypto.autoencoder import CODE
from fedward.labs.neural_crypto.ciphers import LEVELS, NONCE, Bytes, Wide, draw_nonces, to_levels
from fedward.labs.neural_crypto.mixer import HALF, Mixer, as_signs, circled, flat, from_flat
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.seeding import public_rng

_BATCH, _HIDDEN = 128, 384
_ALICES_RATE, _EVES_RATE = 2e-3, 1e-3
_STILL = 1e-3  # of the range: numbers of the code that move less count for less
_EVE_FIRST = 300  # steps that Eve takes before Alice's first, at most as many as Alice takes in all
_EVE_STEPS = 2  # for each of Alice's


def train_mixer(mixer: Mixer, codes: Wide, keys: Bytes, steps: int, seed: int) -> tuple[Mixer, list[float]]:
    """Train an untrained mixer.

    Args:
        mixer: A new one.
        codes: float64, shape (n, 256), of training images.
        keys: uint8, shape (n, 32, 32): the training images; a key is another of them.
        steps: Of Alice; Eve takes two for each.
        seed: Decides Eve's initial weights and all draws.

    Returns:
        The trained mixer, and by Alice's steps the squared error of Eve in training, as a share of the codes' variance.
    """
    keras.utils.set_random_seed(seed)
    rng, training = public_rng("mixer training", seed), _Training(mixer, codes)
    attack, defend = tf.function(training.attack), tf.function(training.defend)

    def batch() -> tuple[Any, Any]:
        rows, others, under = rng.integers(0, len(codes), (3, _BATCH))
        angles = circled(mixer.key_turns(keys[under]))
        given = [np.concatenate([angles, as_signs(draw_nonces(rng, _BATCH))], axis=1) for _ in (0, 1)]
        levels = to_levels(codes[np.stack([rows, others])])
        return tf.constant(levels, tf.float32), tf.constant(np.stack(given), tf.float32)

    for _ in range(min(_EVE_FIRST, steps)):
        attack(*batch())
    seen = []
    for _ in range(steps):
        for _ in range(_EVE_STEPS):
            loss = attack(*batch())
        seen.append(float(loss))
        defend(*batch())
    trained = from_flat([each.numpy() for each in training.rounds], mixer.stretch)
    return dataclasses.replace(trained, name=mixer.name, about=mixer.about), seen


class _Training:
    """Alice's rounds and an Eve, and a step of each."""

    def __init__(self, mixer: Mixer, codes: Wide) -> None:
        self.rounds = [tf.Variable(each.astype(np.float32)) for each in flat(mixer)]
        dense = keras.layers.Dense
        self.eve = keras.Sequential(
            [
                keras.Input((2 * (2 * CODE + 8 * NONCE) + CODE,)),
                dense(_HIDDEN, activation="relu"),
                dense(_HIDDEN, activation="relu"),
                dense(CODE, kernel_initializer="zeros"),
            ]
        )
        self.optimizers = keras.optimizers.Adam(_ALICES_RATE), keras.optimizers.Adam(_EVES_RATE)
        self.optimizers[0].build(self.rounds)
        self.optimizers[1].build(self.eve.trainable_weights)
        self.mean, self.deviation = codes.mean(0).astype(np.float32), (codes.std(0) + _STILL).astype(np.float32)
        self.variance = float((self._scaled(to_levels(codes)).std(0) ** 2).mean())

    def attack(self, levels: Any, given: Any) -> Any:
        """Eve's step; gives her error before it."""
        with tf.GradientTape() as tape:
            error = self._error(levels, given)
        weights = self.eve.trainable_weights
        self.optimizers[1].apply(tape.gradient(error, weights), weights)
        return error

    def defend(self, levels: Any, given: Any) -> None:
        """Alice's step."""
        with tf.GradientTape() as tape:
            loss = tf.maximum(1.0 - self._error(levels, given), 0.0) ** 2
        self.optimizers[0].apply(tape.gradient(loss, self.rounds), self.rounds)

    def _error(self, levels: Any, given: Any) -> Any:
        """Eve's squared error as a share of the variance, of (2, n) messages: unknown ones, and known ones."""
        sent = [mixed(self.rounds, levels[place], given[place]) for place in (0, 1)]
        seen = [tf.concat([_circled(sent[place] / LEVELS), given[place][:, -8 * NONCE :]], 1) for place in (0, 1)]
        told = self.eve(tf.concat([*seen, self._scaled(levels[1])], 1))
        return tf.reduce_mean((told - self._scaled(levels[0])) ** 2) / self.variance

    def _scaled(self, levels: Any) -> Any:
        return (levels / (LEVELS - 1) - self.mean) / self.deviation


def mixed(weights: list[Any], levels: Any, given: Any) -> Any:
    """`Mixer.encrypt` in TensorFlow: float32, with gradients that pass through rounding and through the modulus.

    Args:
        weights: Of all rounds, in their order.
        levels: shape (n, 256), whole numbers from 0 to 255.
        given: shape (n, 224): the key's angles and the nonce, as `Mixer` gives them to its rounds.
    """
    halves = [levels[:, :HALF], levels[:, HALF:]]
    for index in range(len(weights) // 4):
        matrix, constant, last, last_constant = weights[4 * index : 4 * index + 4]
        inputs = tf.concat([_circled(halves[index % 2] / LEVELS), given], 1)
        turns = LEVELS * (tf.sin(inputs @ matrix + constant) @ last + last_constant)
        added = turns + tf.stop_gradient(tf.round(turns) - turns)
        total = halves[1 - index % 2] + added
        halves[1 - index % 2] = total - tf.stop_gradient(tf.floor(total / LEVELS) * LEVELS)
    return tf.concat(halves, 1)


def _circled(turns: Any) -> Any:
    angles = 2 * np.pi * turns
    return tf.concat([tf.cos(angles), tf.sin(angles)], 1)
