"""The weight of positive labels: nothing at 1, repeated images at whole numbers, and never more than the clip norm."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from commands.simulate.alone import train_alone
from fedward import settings as setting
from fedward.errors import UsageError
from fedward.learning.model import Classifier, weighted_cross_entropy
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.local_update import local_update
from fedward.privacy.clipped_gradients import ClippedGradients, batches
from fedward.privacy.private_training import train_privately
from fedward.types import GlobalModel, HospitalId, ImageSet, Partition, Vector

pytestmark = pytest.mark.slow

FINDINGS = 3
Made = tuple[Classifier, ClippedGradients]


def image_set(n: int, seed: int = 0) -> ImageSet:
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, FINDINGS)) < 0.3).astype(np.float32)
    labels[0], labels[1] = 1, 0
    images = rng.integers(0, 256, (n, 16, 16)).astype(np.uint8)
    return ImageSet(images, labels, np.array([f"p{index}" for index in range(n)]))


def partition(n: int = 24) -> Partition:
    return Partition(HospitalId("hospital-1"), ("a", "b", "c"), image_set(n), image_set(5, 1), image_set(5, 2))


@pytest.fixture(scope="module", params=["cnn", "scatter"])
def made(request: pytest.FixtureRequest) -> Made:
    classifier = Classifier(ModelSpec(request.param, 16, FINDINGS), 3)
    return classifier, ClippedGradients(classifier)


def gradient(sums: ClippedGradients, prepared: Vector, labels: Vector, weight: float, bound: float = 1e12) -> Any:
    """Sum over the images of each one's gradient, clipped at a bound."""
    return sum(
        (
            sums(prepared, labels, batch, bound, weight)
            for batch in batches([np.array([k]) for k in range(len(labels))])
        ),
        np.zeros(sums.parameters),
    )


# ---- weight 1 ---------------------------------------------------------------------------------------------------


def test_at_weight_1_loss_and_gradient_have_the_bits_of_the_plain_ones() -> None:
    rng = np.random.default_rng(4)
    logits = tf.Variable(
        np.concatenate([rng.normal(0, 3, (60, 3)), [[1e30, -1e30, 0], [88, -104, 1e-40]]]), dtype="float32"
    )
    labels = tf.constant(rng.integers(0, 2, logits.shape), tf.float32)

    @tf.function
    def both(weight: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            weighted = weighted_cross_entropy(labels, logits, weight)
            plain = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))
        return weighted, plain, tape.gradient(weighted, logits), tape.gradient(plain, logits)

    weighted, plain, slope, plain_slope = (value.numpy() for value in both(tf.constant(1.0)))
    assert weighted.tobytes() == plain.tobytes()
    assert slope.tobytes() == plain_slope.tobytes()
    for weight in (0.5, 2.0):
        weighted, plain, slope, plain_slope = (value.numpy() for value in both(tf.constant(weight)))
        assert weighted != plain
        assert np.array_equal(slope != plain_slope, (labels.numpy() == 1) & (plain_slope != 0))


def test_the_default_is_1_and_trains_the_same_bytes_as_1(made: Made) -> None:
    classifier, _ = made
    model, settings = GlobalModel(classifier.get_weights(), b""), setting.load()
    assert settings.training.positive_weight == 1.0
    classifier.start_training(0.01)
    steps = []
    for arguments in ((0.01,), (0.01, 0.0, 1.0), (0.01, 0.0, 3.0)):
        classifier.set_weights(model.weights)
        classifier.start_training(*arguments)
        inputs = classifier.prepare(image_set(24).pixels())
        for _ in range(2):
            classifier.train_batch(inputs, image_set(24).labels)
        steps.append(classifier.get_weights().tobytes())
    assert steps[0] == steps[1] != steps[2]
    classifier.set_weights(model.weights)


# ---- whole weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [2, 5])
def test_a_whole_weight_is_that_many_copies_of_each_positive_label(made: Made, weight: int) -> None:
    """The full batch's gradient of the plain loss by TensorFlow, of a data set with copies.

    A label is of one finding: all copies but one of an image with a positive label count for that finding only.
    """
    classifier, sums = made
    data = image_set(24)
    prepared = classifier.prepare(data.pixels())
    head, count = classifier.trainable, data.labels.size

    with tf.GradientTape() as tape:
        logits = head(prepared, training=True)
        each = [
            tf.nn.sigmoid_cross_entropy_with_logits(data.labels[rows, k], tf.gather(logits[:, k], rows))
            for k in range(FINDINGS)
            for rows in [np.repeat(np.arange(24), np.where(data.labels[:, k] == 1, weight, 1))]
        ]
        repeated = tf.reduce_sum(tf.concat(each, 0)) / count
    expected = np.concatenate([part.numpy().ravel() for part in tape.gradient(repeated, head.trainable_weights)])
    np.testing.assert_allclose(gradient(sums, prepared, data.labels, weight) / 24, expected, rtol=1e-3, atol=2e-6)

    before = classifier.get_weights()
    classifier._optimizer, adam = keras.optimizers.SGD(), classifier._optimizer
    try:
        classifier._step = tf.function(classifier._train_step)
        classifier.start_training(1.0, 0.0, weight)
        loss = classifier.train_batch(prepared, data.labels)
        moved = before - classifier.get_weights()
    finally:
        classifier._optimizer, classifier._step = adam, tf.function(classifier._train_step, reduce_retracing=True)
        classifier.set_weights(before)
    np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=2e-6)
    plain = np.logaddexp(0, logits.numpy()) - data.labels * logits.numpy()
    assert loss == pytest.approx(float(plain.mean()), rel=1e-5), "what is told is without the weight"


# ---- the bound --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [1e-4, 0.5])
@pytest.mark.parametrize("weight", [0.01, 1.0, 100.0, 3e38])
def test_no_unit_adds_more_than_the_bound_whatever_the_weight(made: Made, bound: float, weight: float) -> None:
    classifier, sums = made
    prepared, labels = classifier.prepare(image_set(8).pixels()), np.ones((8, FINDINGS), np.float32)
    before = classifier.get_weights()
    try:
        for scale in (1.0, -1e3):
            classifier.set_weights(before * np.float32(scale))
            for unit in ([0], [1, 2, 3]):
                (batch,) = batches([np.array(unit)])
                added = sums(prepared, labels, batch, bound, weight)
                assert np.isfinite(added).all()
                assert np.linalg.norm(added.astype(np.longdouble)) <= bound * (1 + 1e-12)
    finally:
        classifier.set_weights(before)


def test_weights_reach_private_training_and_training_alone(made: Made) -> None:
    """And the same randomness at weight 1 gives the same bytes as without any weight named."""
    classifier, _ = made
    model, chosen = GlobalModel(classifier.get_weights(), b""), setting.load(None, ("privacy.steps", 2))
    privacy = dataclasses.replace(chosen.privacy, mode="sample", noise_multiplier=1e-6, sampling_rate=1.0)

    def private(*weight: float) -> bytes:
        source = np.random.default_rng(5).bytes
        return train_privately(partition(), model, classifier, privacy, source, *weight).delta.tobytes()

    assert private() == private(1.0) != private(3.0)
    weighted = dataclasses.replace(
        chosen, training=dataclasses.replace(chosen.training, rounds=1, local_epochs=1, positive_weight=3.0)
    )
    found = train_alone(partition(), model.weights, classifier, weighted, lambda: None)
    update = train(partition(), model, classifier, weighted.training, 1)
    assert found.tobytes() == (model.weights + update.delta).tobytes()
    plain = train(partition(), model, classifier, dataclasses.replace(weighted.training, positive_weight=1.0), 1)
    assert update.delta.tobytes() != plain.delta.tobytes()
    sampled = dataclasses.replace(weighted, privacy=privacy)
    near = train_alone(partition(), model.weights, classifier, sampled, lambda: None) - model.weights
    for weight, is_near in ((3.0, True), (1.0, False)):
        other = np.frombuffer(private(weight), np.float32)
        assert np.allclose(near, other, atol=1e-3 * np.abs(other).max()) == is_near
    classifier.set_weights(model.weights)


@pytest.mark.parametrize("mode", ["none", "sample"])
def test_a_hospital_trains_with_the_weight_that_is_set(made: Made, mode: str) -> None:
    classifier, _ = made
    model, chosen = GlobalModel(classifier.get_weights(), b""), setting.load(None, ("training.positive-weight", 9.0))
    privacy = dataclasses.replace(chosen.privacy, mode=mode, steps=1, noise_multiplier=1e-6, sampling_rate=1.0)
    settings = dataclasses.replace(chosen, privacy=privacy)
    found = local_update(partition(), model, classifier, settings, 1).delta
    expected = (
        train(partition(), model, classifier, settings.training, 1).delta
        if mode == "none"
        else train_privately(partition(), model, classifier, privacy, positive_weight=9.0).delta
    )
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(found).max())
    classifier.set_weights(model.weights)


# ---- the setting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.009, 100.1, -1.0, float("nan"), float("inf")])
def test_a_weight_out_of_range_is_refused_and_zero_means_nothing_special(value: float) -> None:
    with pytest.raises(UsageError, match=r"training\.positive-weight"):
        setting.load(None, ("training.positive-weight", value))


def test_all_hospitals_are_bound_to_the_same_weight() -> None:
    settings = setting.load()
    assert settings.guaranteed()["training"]["positive-weight"] == 1.0
    assert setting.replace(settings, "training.positive-weight", 2.0).digest() != settings.digest()
