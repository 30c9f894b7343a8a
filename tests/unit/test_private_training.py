"""DP-SGD against a twin in NumPy, and what one patient can move, whatever its images are."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fedward import settings as setting
from fedward.errors import DataError, VerificationError
from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import keras
from fedward.learning.weight_shapes import ModelSpec
from fedward.privacy.clipped_gradients import BATCH_IMAGES, ClippedGradients, batches
from fedward.privacy.mechanism import expected_event, privatize
from fedward.privacy.private_training import noisy_sum, train_privately, units_of
from fedward.privacy.secret_noise import noised, room_for_rounding, sample
from fedward.types import GlobalModel, HospitalId, ImageSet, ModelUpdate, Partition, SampledUpdate, Vector

pytestmark = pytest.mark.slow

SETTINGS = dataclasses.replace(
    setting.load().privacy, mode="sample", clip_norm=0.3, noise_multiplier=0.8, sampling_rate=0.5, steps=4
)
FEATURES = 16 * 16


class Linear:
    """One layer on the pixels: its gradients have a closed form."""

    parameters = FEATURES + 1

    @functools.cached_property
    def trainable(self) -> Any:
        """Built by the first test that asks, as nothing may compute while tests are collected (tests/conftest.py)."""
        return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])

    def prepare(self, pixels: Vector) -> Vector:
        return pixels.reshape(len(pixels), -1)

    def set_weights(self, weights: Vector) -> None:
        self.trainable.set_weights([weights[:-1, None], weights[-1:]])


LINEAR: Any = Linear()  # traced once
SUMS = ClippedGradients(LINEAR)


def image_set(n: int, patients: int, seed: int = 0) -> ImageSet:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 16, 16)).astype(np.uint8)
    labels = rng.integers(0, 2, (n, 1)).astype(np.float32)
    return ImageSet(images, labels, np.array([f"p{index % patients}" for index in range(n)]))


def partition(train: ImageSet) -> Partition:
    return Partition(HospitalId("hospital-1"), ("f",), train, image_set(0, 1), image_set(0, 1))


def start() -> GlobalModel:
    return GlobalModel(np.random.default_rng(1).normal(0, 0.05, FEATURES + 1).astype(np.float32), b"")


def gradient(weights: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of the mean cross-entropy of a few images, by hand."""
    wide = np.hstack([rows.astype(np.float64), np.ones((len(rows), 1))])
    errors = 1 / (1 + np.exp(-(wide @ weights))) - labels[:, 0]
    return (wide * errors[:, None]).mean(axis=0)


def contribution(inputs: np.ndarray, labels: np.ndarray, bound: float, weights: Vector | None = None) -> np.ndarray:
    """What one unit with these images adds to a sum."""
    LINEAR.set_weights(start().weights if weights is None else weights)
    (batch,) = batches([np.arange(len(inputs))])
    return SUMS(inputs.astype(np.float32), labels.astype(np.float32), batch, bound)


# ---- the algorithm ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["patient", "image"])
def test_private_training_equals_its_twin_on_the_same_randomness(unit: str) -> None:
    settings = dataclasses.replace(SETTINGS, unit=unit)
    train, model = image_set(70, 23), start()
    update = train_privately(partition(train), model, LINEAR, settings, np.random.default_rng(5).bytes)

    source, flat = np.random.default_rng(5).bytes, train.pixels().reshape(70, -1)
    names = train.patients if unit == "patient" else np.arange(70)
    units = [np.flatnonzero(names == name) for name in np.unique(names)]
    weights, velocity = model.weights.astype(np.float64), np.zeros(FEATURES + 1)
    room = room_for_rounding(settings.clip_norm, settings.noise_multiplier, FEATURES + 1)
    for _ in range(settings.steps):
        total = np.zeros(FEATURES + 1)
        for index in sample(len(units), settings.sampling_rate, source):
            single = gradient(weights.astype(np.float32), flat[units[index]], train.labels[units[index]])
            total += single * min(1.0, room / np.linalg.norm(single))
        noisy = noised(total, settings.clip_norm, settings.noise_multiplier, source)
        velocity = settings.momentum * velocity + noisy / (settings.sampling_rate * len(units))
        weights = weights - settings.learning_rate * velocity
    np.testing.assert_allclose(update.delta, weights - model.weights, atol=1e-6)
    assert update.event == expected_event(settings)
    assert update.event.unit == unit


def test_images_of_a_patient_are_one_unit_wherever_they_stand() -> None:
    train = image_set(30, 7)
    units = units_of(train, "patient")
    assert sorted(np.concatenate(units).tolist()) == list(range(30))
    assert [set(train.patients[unit]) for unit in units] == [{f"p{index}"} for index in range(7)]
    assert [unit.tolist() for unit in units_of(train, "image")] == [[row] for row in range(30)]


def test_units_are_never_torn_between_batches() -> None:
    units = [np.arange(start, start + length) for start, length in ((0, 5), (5, BATCH_IMAGES), (40, 1), (41, 30))]
    made = list(batches(units))
    assert [int((batch.shares > 0).sum()) for batch in made] == [5, BATCH_IMAGES, 31]
    assert [len(batch.rows) for batch in made] == [8, BATCH_IMAGES, BATCH_IMAGES], "filled up by less than eight"
    assert all((np.diff(batch.slots) >= 0).all() for batch in made)
    assert all(len(batch.rows) == len(batch.slots) == len(batch.shares) for batch in made)
    for batch in made:
        sums = np.bincount(batch.slots, batch.shares)
        np.testing.assert_allclose(sums[sums > 0], 1.0, rtol=1e-6)


def test_a_convolutional_models_sum_equals_one_image_at_a_time() -> None:
    """The same gradients as Keras gives for single images, clipped by hand."""
    classifier = Classifier(ModelSpec("cnn", 16, 1), 3)
    train = image_set(6, 6)
    sums, pixels = ClippedGradients(classifier), train.pixels()
    (batch,) = batches([np.array([0]), np.array([1, 2]), np.array([3, 4, 5])])
    before, single = classifier.get_weights(), []
    for unit in ([0], [1, 2], [3, 4, 5]):
        (alone,) = batches([np.array(unit)])
        free = sums(pixels, train.labels, alone, 1e9)
        single.append(free * min(1.0, 0.05 / np.linalg.norm(free)))
    np.testing.assert_allclose(sums(pixels, train.labels, batch, 0.05), np.sum(single, axis=0), rtol=1e-4, atol=1e-8)
    # Against plain descent: the unclipped mean over all six is the gradient that a plain step follows.
    (everybody,) = batches([np.arange(6)])
    step = 1e-4
    classifier.set_weights((before - step * sums(pixels, train.labels, everybody, 1e9)).astype(np.float32))

    def loss() -> float:
        logits = classifier.logits(pixels)[:, 0]
        return float(np.mean(np.logaddexp(0, logits) - train.labels[:, 0] * logits))

    after = loss()
    classifier.set_weights(before)
    length = float(np.sum(sums(pixels, train.labels, everybody, 1e9) ** 2))
    assert loss() - after == pytest.approx(step * length, rel=0.05)


# ---- guarantees -------------------------------------------------------------------------------------------------

HOSTILE = {
    "zero": np.zeros((1, FEATURES)),
    "ordinary": np.full((1, FEATURES), 0.5),
    "largest": np.full((1, FEATURES), np.finfo(np.float32).max),
    "smallest": np.full((1, FEATURES), np.finfo(np.float32).smallest_subnormal),
    "infinite": np.full((1, FEATURES), np.inf),
    "no number": np.full((1, FEATURES), np.nan),
    "one no number": np.eye(1, FEATURES) * np.nan,
    "opposite infinities": np.stack([np.full(FEATURES, np.inf), np.full(FEATURES, -np.inf)]),
    "spike": np.eye(1, FEATURES) * 1e30,
    "mixed": np.stack([np.full(FEATURES, 1e38), np.zeros(FEATURES), np.full(FEATURES, -1e-38)]),
}


@pytest.mark.parametrize("bound", [1e-6, 0.3, 1e4])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_unit_adds_more_than_the_bound(name: str, bound: float) -> None:
    for label in (0.0, 1.0, -1e30, 1e30):
        added = contribution(HOSTILE[name], np.full((len(HOSTILE[name]), 1), label), bound)
        assert np.isfinite(added).all()
        assert np.linalg.norm(added.astype(np.longdouble)) <= bound * (1 + 1e-12)


def test_clipping_keeps_direction_and_short_gradients() -> None:
    rows, labels = np.random.default_rng(2).random((3, FEATURES)), np.ones((3, 1))
    free, clipped = contribution(rows, labels, 1e9), contribution(rows, labels, 0.01)
    np.testing.assert_allclose(free, gradient(start().weights, rows.astype(np.float32), labels), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(clipped, free * 0.01 / np.linalg.norm(free), rtol=1e-9)


@pytest.mark.parametrize("copies", [2, 7, BATCH_IMAGES])
def test_a_copied_image_of_a_patient_does_not_raise_what_the_patient_adds(copies: int) -> None:
    row, label = np.random.default_rng(3).random((1, FEATURES)), np.ones((1, 1))
    once = contribution(row, label, 1e9)
    often = contribution(np.repeat(row, copies, 0), np.repeat(label, copies, 0), 1e9)
    np.testing.assert_allclose(often, once, rtol=1e-5)
    bounded = contribution(np.repeat(row, copies, 0), np.repeat(label, copies, 0), 0.01)
    assert np.linalg.norm(bounded) == pytest.approx(0.01, rel=1e-9)


def test_a_patient_with_more_images_than_a_batch_is_still_one_unit() -> None:
    train = image_set(3 * BATCH_IMAGES, 1)
    settings = dataclasses.replace(SETTINGS, noise_multiplier=1e-6)
    LINEAR.set_weights(start().weights)
    (unit,) = units_of(train, "patient")
    total = noisy_sum(SUMS, LINEAR.prepare(train.pixels()), train.labels, [unit], settings)
    assert np.linalg.norm(total) == pytest.approx(settings.clip_norm, rel=1e-3)


def test_another_unit_in_the_sum_changes_it_by_that_units_part_alone() -> None:
    train = image_set(40, 40)
    inputs = LINEAR.prepare(train.pixels())
    LINEAR.set_weights(start().weights)
    units = [np.array([row]) for row in range(40)]
    total = sum(SUMS(inputs, train.labels, batch, 0.3) for batch in batches(units))
    without = sum(SUMS(inputs, train.labels, batch, 0.3) for batch in batches(units[1:]))
    (alone,) = batches(units[:1])
    np.testing.assert_allclose(total - without, SUMS(inputs, train.labels, alone, 0.3), atol=1e-7)


@pytest.mark.parametrize("images", [2, 8])
def test_an_image_that_is_no_number_silences_its_own_unit_alone(images: int) -> None:
    """The first image, with which batches are filled up too: two images are filled up to eight, eight are not."""
    inputs, labels = np.random.default_rng(4).random((images, FEATURES)).astype(np.float32), np.ones((images, 1), "f4")
    LINEAR.set_weights(start().weights)
    units = [np.array([0]), np.arange(1, images)]
    (others,), (everybody,) = batches(units[1:]), batches(units)
    expected = SUMS(inputs, labels, others, 0.3)
    inputs[0] = np.nan
    np.testing.assert_array_equal(SUMS(inputs, labels, others, 0.3), expected)
    np.testing.assert_array_equal(SUMS(inputs, labels, everybody, 0.3), expected)


def test_the_released_noise_is_gaussian_of_the_stated_deviation() -> None:
    """One step over everybody, seen from outside: update times expected batch over learning rate, less the sum."""
    settings = dataclasses.replace(SETTINGS, sampling_rate=1.0, steps=1, momentum=0.0, learning_rate=0.1)
    train, model = image_set(20, 10), start()
    units = units_of(train, "patient")
    room = room_for_rounding(settings.clip_norm, settings.noise_multiplier, FEATURES + 1)
    LINEAR.set_weights(model.weights)
    exact = sum(SUMS(LINEAR.prepare(train.pixels()), train.labels, batch, room) for batch in batches(units))
    source, seen = np.random.default_rng(8).bytes, []
    for _ in range(100):
        update = train_privately(partition(train), model, LINEAR, settings, source)
        seen.append(-update.delta.astype(np.float64) / 0.1 * 10 - exact)
    noise = np.concatenate(seen) / (settings.noise_multiplier * settings.clip_norm)
    assert stats.kstest(noise, "norm").pvalue > 0.01
    assert noise.std() == pytest.approx(1.0, rel=0.01)


def test_the_divisor_is_the_expected_number_and_not_the_drawn_one() -> None:
    settings = dataclasses.replace(SETTINGS, steps=1, noise_multiplier=1e-6, momentum=0.0, learning_rate=1.0)
    train = image_set(10, 10)
    nobody = train_privately(partition(train), start(), LINEAR, settings, lambda size: b"\xff" * size)
    assert np.abs(nobody.delta).max() < 1e-5
    everybody = train_privately(partition(train), start(), LINEAR, settings, lambda size: b"\x00" * size)
    LINEAR.set_weights(start().weights)
    units = units_of(train, "patient")
    total = sum(SUMS(LINEAR.prepare(train.pixels()), train.labels, batch, 0.3) for batch in batches(units))
    np.testing.assert_allclose(everybody.delta, -total / 5, atol=1e-5)


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(DataError, match="no training images"):
        train_privately(partition(image_set(0, 1)), start(), LINEAR, SETTINGS)


# ---- the gate to encryption -------------------------------------------------------------------------------------


def test_only_what_was_trained_under_the_settings_event_passes() -> None:
    delta, event = np.ones(3, np.float32), expected_event(SETTINGS)
    passed = privatize(SampledUpdate(delta, event), SETTINGS)
    assert passed.event == event
    assert passed.delta.tobytes() == delta.tobytes()
    update = dataclasses.replace(SETTINGS, mode="update")
    none = dataclasses.replace(SETTINGS, mode="none")
    for wrong, settings in (
        (ModelUpdate(delta, 3, 0.5), SETTINGS),
        (SampledUpdate(delta, dataclasses.replace(event, noise_multiplier=0.7)), SETTINGS),
        (SampledUpdate(delta, dataclasses.replace(event, steps=1)), SETTINGS),
        (SampledUpdate(delta, dataclasses.replace(event, unit="image")), SETTINGS),
        (SampledUpdate(delta, event), update),
        (SampledUpdate(delta, event), none),
    ):
        with pytest.raises(VerificationError, match="trained under"):
            privatize(wrong, settings)
