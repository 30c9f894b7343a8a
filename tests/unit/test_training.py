"""Training: the order of the images, repeatable to the bit, and one step against Keras's own."""

import dataclasses

import numpy as np
import pytest

from fedward import settings as setting
from fedward.errors import DataError
from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.seeding import public_rng
from fedward.types import GlobalModel, HospitalId, ImageSet, ModelUpdate, Partition, Vector

pytestmark = pytest.mark.slow

SETTINGS = dataclasses.replace(
    setting.load().training, seed=3, rounds=5, local_epochs=2, batch_size=4, learning_rate=0.01
)
SPEC = ModelSpec("cnn", 16, 1)


def image_set(seed: int, n: int) -> ImageSet:
    """Noise, with stripes where the label is 1."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 2).astype(np.float32)[:, None]
    stripes = (np.arange(16) % 2 * 120)[None, None, :]
    pixels = rng.integers(0, 100, (n, 16, 16)) + labels[:, :, None] * stripes
    return ImageSet(pixels.astype(np.uint8), labels, np.array([f"p{index}" for index in range(n)]))


def partition(hospital: str = "hospital-1", n: int = 10, others: int = 3) -> Partition:
    held = image_set(9, others)
    return Partition(HospitalId(hospital), ("f",), image_set(1, n), held, held)


# ---- the order, against a classifier that only takes notes ------------------------------------------------------


class NoteTaker:
    """Stands where a classifier stands; its weights count the steps."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, object]] = []
        self._weights = np.zeros(2, np.float32)

    def prepare(self, pixels: Vector) -> Vector:
        return pixels

    def set_weights(self, weights: Vector) -> None:
        self.notes.append(("set", weights.tolist()))
        self._weights = weights.copy()

    def start_training(self, learning_rate: float, proximal_mu: float, positive_weight: float) -> None:
        self.notes.append(("start", (learning_rate, proximal_mu, positive_weight)))

    def train_batch(self, pixels: Vector, labels: Vector) -> float:
        self.notes.append(("batch", (pixels.copy(), labels.copy())))
        self._weights += 1
        return float(len(self.notes))

    def get_weights(self) -> Vector:
        return self._weights


def take_notes(round_index: int = 1, **changes: object) -> tuple[NoteTaker, ModelUpdate]:
    notes = NoteTaker()
    model = GlobalModel(np.array([5.0, 7.0], np.float32), b"")
    settings = dataclasses.replace(SETTINGS, **changes)
    return notes, train(partition(), model, notes, settings, round_index)  # type: ignore[arg-type]


def test_every_epoch_sees_every_image_once_in_an_order_of_its_own() -> None:
    notes, update = take_notes(proximal_mu=0.25, positive_weight=1.5)
    assert notes.notes[0] == ("set", [5.0, 7.0])
    assert notes.notes[1] == ("start", (0.01, 0.25, 1.5))
    batches = [content for kind, content in notes.notes if kind == "batch"]
    assert [len(pixels) for pixels, _ in batches] == [4, 4, 2, 4, 4, 2]  # type: ignore[misc]
    train_set = partition().train
    order = public_rng("train", 3, "hospital-1", 1)
    expected = np.concatenate([order.permutation(10), order.permutation(10)])
    assert np.array_equal(np.concatenate([pixels for pixels, _ in batches]), train_set.pixels()[expected])  # type: ignore[misc]
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), train_set.labels[expected])  # type: ignore[misc]
    assert update.delta.tolist() == [6.0, 6.0]
    assert update.examples == 10
    assert update.loss == pytest.approx((6 + 7 + 8) / 3)  # of the last epoch's three batches


def test_the_batch_size_may_pass_the_number_of_images() -> None:
    notes, _ = take_notes(batch_size=4_096, local_epochs=1)
    assert len([kind for kind, _ in notes.notes if kind == "batch"]) == 1


def test_nothing_to_train_on_is_refused() -> None:
    model = GlobalModel(np.zeros(2, np.float32), b"")
    with pytest.raises(DataError, match="hospital-7"):
        train(partition("hospital-7", n=0), model, NoteTaker(), SETTINGS, 1)  # type: ignore[arg-type]


# ---- the real classifier ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(SPEC, seed=1)


@pytest.fixture(scope="module")
def model(classifier: Classifier) -> GlobalModel:
    return GlobalModel(classifier.get_weights(), b"")


def delta(classifier: Classifier, model: GlobalModel, data: Partition, round_index: int, seed: int = 3) -> bytes:
    settings = dataclasses.replace(SETTINGS, seed=seed)
    return train(data, model, classifier, settings, round_index).delta.tobytes()


def test_the_same_seed_hospital_and_round_give_the_same_bytes(classifier: Classifier, model: GlobalModel) -> None:
    first = delta(classifier, model, partition(), 1)
    others = {
        "round": delta(classifier, model, partition(), 2),
        "hospital": delta(classifier, model, partition("hospital-2"), 1),
        "seed": delta(classifier, model, partition(), 1, seed=4),
    }
    for name, other in others.items():
        assert other != first, name
    assert len(set(others.values())) == 3
    # Nothing that this classifier did in between is left in it.
    assert delta(classifier, model, partition(), 1) == first
    assert delta(Classifier(SPEC, seed=99), model, partition(), 1) == first


def test_validation_and_test_images_have_no_influence(classifier: Classifier, model: GlobalModel) -> None:
    assert delta(classifier, model, partition(others=3), 1) == delta(classifier, model, partition(others=8), 1)


def test_training_learns_what_it_is_shown(classifier: Classifier, model: GlobalModel) -> None:
    data, settings = partition(n=40), dataclasses.replace(SETTINGS, local_epochs=3, learning_rate=0.001)
    update = train(data, model, classifier, settings, 1)
    first = train(data, model, classifier, dataclasses.replace(settings, local_epochs=1), 1)
    assert update.loss < 0.5 * first.loss
    classifier.set_weights(model.weights + update.delta)
    called = classifier.logits(data.train.pixels()) > 0
    assert (called == (data.train.labels == 1)).mean() > 0.9


def test_steps_equal_those_of_kerass_own_training_loop(classifier: Classifier, model: GlobalModel) -> None:
    twin = keras.models.clone_model(classifier.network)
    classifier.set_weights(model.weights)
    twin.set_weights(classifier.network.get_weights())
    twin.compile(keras.optimizers.Adam(0.01), keras.losses.BinaryCrossentropy(from_logits=True))
    classifier.start_training(0.01)
    pixels, labels = image_set(5, 8).pixels(), image_set(5, 8).labels
    for _ in range(3):
        loss = classifier.train_batch(pixels, labels)
        assert loss == pytest.approx(float(twin.train_on_batch(pixels, labels)), rel=1e-5)
        for mine, theirs in zip(classifier.network.get_weights(), twin.get_weights(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-6)


def test_the_first_step_moves_the_bias_against_its_gradient(classifier: Classifier, model: GlobalModel) -> None:
    """Adam's first step by hand: a learning rate's length, whatever the gradient's size; d loss / d bias is p - y."""
    pixels = image_set(6, 6).pixels()
    for label, sign in ((1.0, 1.0), (0.0, -1.0)):
        classifier.set_weights(model.weights)
        classifier.start_training(0.125)
        before = classifier.logits(pixels)
        loss = classifier.train_batch(pixels, np.full((6, 1), label, np.float32))
        assert loss == pytest.approx(float(np.mean(np.logaddexp(0, before if label == 0 else -before))), rel=1e-5)
        moved = classifier.get_weights()[-1] - model.weights[-1]
        assert moved == pytest.approx(sign * 0.125, rel=1e-4)


@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_steps_with_a_pull_are_adams_on_the_gradient_with_the_distance_added(
    classifier: Classifier, model: GlobalModel, mu: float
) -> None:
    """The twin: Keras's own Adam, on gradients of loss + mu / 2 * |weights - start|^2 taken by TensorFlow."""
    twin = keras.models.clone_model(classifier.network)
    classifier.set_weights(model.weights)
    twin.set_weights(classifier.network.get_weights())
    start = [tf.constant(weight) for weight in classifier.network.get_weights()]
    adam = keras.optimizers.Adam(0.01)
    classifier.start_training(0.01, mu)
    pixels, labels = image_set(5, 8).pixels(), image_set(5, 8).labels
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, twin(pixels, training=True)))
            away = [tf.reduce_sum((weight - at) ** 2) for weight, at in zip(twin.trainable_weights, start, strict=True)]
            whole = loss + mu / 2 * tf.add_n(away)
        adam.apply(tape.gradient(whole, twin.trainable_weights), twin.trainable_weights)
        assert classifier.train_batch(pixels, labels) == pytest.approx(float(loss), rel=1e-5)
        for mine, theirs in zip(classifier.network.get_weights(), twin.get_weights(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-5)


def test_a_stronger_pull_keeps_the_model_nearer_and_none_is_what_it_was(
    classifier: Classifier, model: GlobalModel
) -> None:
    def moved(mu: float) -> float:
        settings = dataclasses.replace(SETTINGS, proximal_mu=mu)
        return float(np.linalg.norm(train(partition(n=40), model, classifier, settings, 1).delta))

    free = moved(0.0)
    assert moved(100.0) < 0.7 * moved(1.0) < 0.7 * free * 1.05
    assert moved(0.0) == free, "no pull is left in the classifier"
