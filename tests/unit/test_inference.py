"""The CNN's quick logits against Keras's own layers: values, and gradients by pixels."""

import numpy as np
import pytest

from fedward.adversarial.victim import Victim
from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import tf
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import Vector

pytestmark = pytest.mark.slow


def drawn(size: int, findings: int = 1, seed: int = 1) -> Classifier:
    """A CNN whose weights are all drawn: scales of both signs, shifts, biases."""
    classifier = Classifier(ModelSpec("cnn", size, findings))
    rng = np.random.default_rng(seed)
    for weight in classifier.network.trainable_weights:
        many = len(weight.shape) == 4
        weight.assign(rng.normal(0, np.prod(weight.shape[:-1]) ** -0.5 if many else 1.0, weight.shape))
    return classifier


def keras_logits(classifier: Classifier, pixels: Vector) -> Vector:
    return np.asarray(classifier.network(pixels, training=False), np.float32)


@pytest.mark.parametrize(("size", "findings"), [(16, 1), (23, 14), (28, 3), (64, 1)])
def test_logits_are_those_of_keras(size: int, findings: int) -> None:
    classifier = drawn(size, findings)
    pixels = np.random.default_rng(2).random((9, size, size, 1), dtype=np.float32)
    expected = keras_logits(classifier, pixels)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(classifier.logits(pixels), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [16, 28])
def test_gradients_by_pixels_are_those_of_keras(size: int) -> None:
    classifier = drawn(size)
    pixels = tf.constant(np.random.default_rng(3).random((6, size, size, 1), dtype=np.float32))
    found = []
    for scores in (classifier.scores, lambda images: classifier.network(images, training=False)):
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            logits = scores(pixels)
        found.append(tape.gradient(logits, pixels).numpy())
    assert np.abs(found[1]).max() > 1e-3
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-4 * np.abs(found[1]).max())


@pytest.mark.parametrize("brightness", [0.0, 0.5, 1.0])
def test_a_plain_image_has_the_logits_of_keras(brightness: float) -> None:
    """Its variance is that of its borders alone."""
    classifier = drawn(64)
    pixels = np.full((1, 64, 64, 1), brightness, np.float32)
    np.testing.assert_allclose(classifier.logits(pixels), keras_logits(classifier, pixels), rtol=1e-4, atol=1e-4)


def test_a_victim_tells_margins_and_gradients_in_one_pass_as_in_two() -> None:
    victim = Victim(drawn(16, findings=2), (0.3, 0.8))
    rng = np.random.default_rng(5)
    pixels, labels = rng.random((40, 16, 16, 1), dtype=np.float32), rng.integers(0, 2, (40, 2)).astype(np.float32)
    margins, gradient = victim.margins_and_gradient(pixels, labels)
    np.testing.assert_allclose(margins, victim.margins(pixels), rtol=1e-5, atol=1e-5)
    assert np.array_equal(gradient, victim.gradient(pixels, labels))
    assert np.abs(gradient).max() > 1e-3


def test_new_weights_count_from_the_next_call_on() -> None:
    classifier = drawn(16)
    pixels = np.random.default_rng(4).random((2, 16, 16, 1), dtype=np.float32)
    before = classifier.logits(pixels)
    classifier.set_weights(classifier.get_weights() * np.float32(1.5))
    after = classifier.logits(pixels)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, keras_logits(classifier, pixels), rtol=1e-4, atol=1e-4)
