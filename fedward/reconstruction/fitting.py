"""Training of readers: Adam along half a cosine, and the epoch that does best on pairs which are not trained on."""

from typing import Any

import numpy as np

from fedward.errors import UsageError
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.progress import Progress
from fedward.reconstruction.pairs import Pairs
from fedward.reconstruction.reader import Batch, Reader
from fedward.seeding import public_rng

HELD_OUT = 10  # one pair in so many chooses the epoch
FEWEST_TO_HOLD_OUT = 100  # pairs; with fewer, all are trained on, and the last epoch is taken
_SLOWEST = 0.01  # of the learning rate, in the last step


def fit(reader: Reader, pairs: Pairs, seed: int, report: Progress, epochs: int = 0) -> None:
    """Train a reader in place.

    Args:
        reader: A new one.
        pairs: What it learns from. Who measures the reader afterwards uses images of other patients.
        seed: Decides the order of the pairs, which of them are held out, and what a method draws.
        report: Told how many steps are done.
        epochs: Passes over the pairs; 0: as many as the method's plan has.

    Raises:
        UsageError: `epochs` is below 0.

    Guarantees:
        1. The same reader, pairs, seed and epochs give the same weights, on one machine.
    """
    if epochs < 0:
        raise UsageError(f"A reader cannot be trained for {epochs} epochs.", "Choose 1 or more, or 0 for the default.")
    epochs = epochs or reader.plan.epochs
    rng = public_rng("reconstruction", reader.name, seed)
    order = rng.permutation(len(pairs))
    held = order[: len(pairs) // HELD_OUT] if len(pairs) >= FEWEST_TO_HOLD_OUT else order[:0]
    learned = np.sort(order[len(held) :])
    each = -(-len(learned) // reader.plan.batch_size)
    step = _Step(reader, epochs * each)
    best, kept, done = np.inf, None, 0
    for _ in range(epochs):
        shuffled = rng.permutation(learned)
        for rows in np.array_split(shuffled, each):
            step.train(pairs, rows, (seed, done))
            done += 1
            report(done, epochs * each)
        if len(held):
            loss = step.loss(pairs, held, (seed, 0))
            if loss < best:
                best, kept = loss, reader.get_weights()
    if kept is not None:
        reader.set_weights(kept)


class _Step:
    """One step of training, traced once, and the loss without a step."""

    def __init__(self, reader: Reader, steps: int) -> None:
        self._reader = reader
        rate = keras.optimizers.schedules.CosineDecay(reader.plan.learning_rate, steps, alpha=_SLOWEST)
        self._optimizer = keras.optimizers.Adam(rate, global_clipnorm=1.0)
        self._optimizer.build(reader.network.trainable_weights)
        size = reader.shape.image_size
        images, labels = tf.TensorSpec((None, size, size, 1)), tf.TensorSpec((None, reader.shape.findings))
        given = Batch(images, images, labels, tf.TensorSpec((2,), tf.int32))
        self._trained = tf.function(self._train, input_signature=[given])

    def train(self, pairs: Pairs, rows: Any, draw: tuple[int, int]) -> None:
        """Step down the loss of some pairs."""
        self._trained(_batch(pairs, rows, draw))

    def loss(self, pairs: Pairs, rows: Any, draw: tuple[int, int]) -> float:
        """Mean loss of some pairs."""
        size = self._reader.plan.batch_size
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        losses = [float(self._reader.loss(_batch(pairs, part, draw))) for part in parts]
        return float(np.average(losses, weights=[len(part) for part in parts]))

    def _train(self, batch: Batch) -> None:
        with tf.GradientTape() as tape:
            loss = self._reader.loss(batch)
        weights = self._reader.network.trainable_weights
        self._optimizer.apply(tape.gradient(loss, weights), weights)


def _batch(pairs: Pairs, rows: Any, draw: tuple[int, int]) -> Batch:
    return Batch(
        encrypted=tf.constant(pairs.encrypted[rows]),
        originals=tf.constant(pairs.originals[rows]),
        labels=tf.constant(pairs.labels[rows]),
        draw=tf.constant([number % 2**31 for number in draw], tf.int32),
    )
