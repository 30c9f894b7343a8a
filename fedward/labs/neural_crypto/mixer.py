"""The corrected cipher: neural networks as the rounds of a Feistel network on bytes, with a nonce for each message.

A message is 256 bytes, in two halves. In each round a small network looks at one half, the key and the nonce, and
what it gives is added to the other half modulo 256. So Alice's rounds are as non-linear as networks are, and Bob, who
has the same networks and the key, undoes them exactly, in the reverse order. The networks are public; the key is an
image.

Networks see bytes as angles, sine and cosine, because 255 and 0 are neighbors. The key is stretched first: each of 64
angles is a fixed, public, random sum of the key image's grey levels, so that one level of one pixel turns them all.
That part is not trained: gradients of so steep a function say nothing.

`Mixer` computes in float64, so that Bob's rounding is Alice's. Training has a twin of it in TensorFlow, and a test
compares the two.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedward.labs.neural_crypto.autoencoder import CODE, SIDE, Wide
from fedward.labs.neural_crypto.ciphers import LEVELS, NONCE, Bytes, to_levels
from fedward.seeding import public_rng

HALF = CODE // 2
ROUNDS = 4
KEY_ANGLES = 64
HIDDEN = 192
ROUND_INPUTS = 2 * HALF + 2 * KEY_ANGLES + 8 * NONCE
_FIRST_TURNS = 0.05  # of a turn: what an untrained round adds, about

Weights = tuple[Wide, Wide, Wide, Wide]  # of one round: matrix and constant of its hidden layer, and of its last one


@dataclass(frozen=True)
class Mixer:
    """See the module.

    Attributes:
        rounds: Weights of each round.
        stretch: float64, shape (1024, 64): turns of each angle by a grey level of each pixel.
        name: See `Cipher`.
        about: See `Cipher`.
    """

    rounds: tuple[Weights, ...] = field(repr=False)
    stretch: Wide = field(repr=False)
    name: str = "mixer"
    about: str = "four rounds of networks, trained against Eve, a nonce for each message"
    low: float = 0.0
    high: float = LEVELS - 1.0

    def encrypt(self, codes: Wide, keys: Bytes, nonces: Bytes) -> Wide:
        """See `Cipher`."""
        halves, given = self._halves(to_levels(codes)), self._given(keys, nonces)
        for index, weights in enumerate(self.rounds):
            halves[1 - index % 2] = (halves[1 - index % 2] + added(weights, halves[index % 2], given)) % LEVELS
        return np.concatenate(halves, axis=1)

    def decrypt(self, sent: Wide, keys: Bytes, nonces: Bytes) -> Wide:
        """See `Cipher`; exact under the right key, and never refused."""
        halves, given = self._halves(sent), self._given(keys, nonces)
        for index, weights in reversed(list(enumerate(self.rounds))):
            halves[1 - index % 2] = (halves[1 - index % 2] - added(weights, halves[index % 2], given)) % LEVELS
        return np.concatenate(halves, axis=1) / (LEVELS - 1)

    def _given(self, keys: Bytes, nonces: Bytes) -> Wide:
        return np.concatenate([circled(self.key_turns(keys)), as_signs(nonces)], axis=1)

    def key_turns(self, keys: Bytes) -> Wide:
        """Angles of keys in turns, rounded to 1/256 so that the last bits of a sum decide nothing: shape (n, 64)."""
        turns = (keys.reshape(len(keys), -1).astype(np.float64) @ self.stretch) % 1.0
        return np.asarray(np.rint(turns * LEVELS) % LEVELS / LEVELS, np.float64)

    @staticmethod
    def _halves(levels: Wide) -> list[Wide]:
        return [levels[:, :HALF], levels[:, HALF:]]


def added(weights: Weights, half: Wide, given: Wide) -> Wide:
    """What a round adds: whole numbers, shape (n, 128)."""
    matrix, constant, last, last_constant = weights
    inputs = np.concatenate([circled(half / LEVELS), given], axis=1)
    turns = np.sin(inputs @ matrix + constant) @ last + last_constant
    return np.asarray(np.rint(LEVELS * turns), np.float64)


def circled(turns: Wide) -> Wide:
    """Cosines and sines of angles."""
    angles = 2 * np.pi * turns
    return np.asarray(np.concatenate([np.cos(angles), np.sin(angles)], axis=1), np.float64)


def as_signs(nonces: Bytes) -> Wide:
    """Bits of nonces as 1 and -1: shape (n, 96)."""
    return np.unpackbits(nonces, axis=1).astype(np.float64) * 2.0 - 1.0


def new_mixer(seed: int) -> Mixer:
    """An untrained one, whose rounds add little."""
    rng = public_rng("mixer", seed)
    rounds = tuple(
        (
            rng.normal(0, np.sqrt(2.0 / ROUND_INPUTS), (ROUND_INPUTS, HIDDEN)),
            rng.uniform(-np.pi, np.pi, HIDDEN),
            rng.normal(0, _FIRST_TURNS / np.sqrt(HIDDEN / 2), (HIDDEN, HALF)),
            np.zeros(HALF),
        )
        for _ in range(ROUNDS)
    )
    return Mixer(rounds, rng.random((SIDE * SIDE, KEY_ANGLES)))


def flat(mixer: Mixer) -> Iterator[Wide]:
    """The weights of all rounds, in their order."""
    return (each for weights in mixer.rounds for each in weights)


def from_flat(arrays: Sequence[Wide], stretch: Wide) -> Mixer:
    """The mixer of weights in their order."""
    rounds = []
    for start in range(0, len(arrays), 4):
        matrix, constant, last, last_constant = (np.asarray(each, np.float64) for each in arrays[start : start + 4])
        rounds.append((matrix, constant, last, last_constant))
    return Mixer(tuple(rounds), stretch)
