"""Scattering against kymatio, and what it promises: stable, non-expansive, one image at a time."""

from pathlib import Path

import numpy as np
import pytest
import scipy.special

from fedward.dataset.phantoms import list_phantoms
from fedward.errors import UsageError
from fedward.learning import scattering
from fedward.learning.model import Classifier
from fedward.learning.model_file import load_logits, save_model
from fedward.learning.prepared_images import PreparedImages
from fedward.learning.quiet_tensorflow import tf
from fedward.learning.scattering import (
    ANGLES,
    CHANNELS,
    STRIDE,
    feature_count,
    filter_bank,
    normalize,
    phantom_center,
    scatter,
)
from fedward.learning.stored_model import ModelCard
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import Vector

pytestmark = pytest.mark.slow

KYMATIO_PI = 3.1415  # what kymatio divides its filters by; each filter of a path brings the factor once


def images(seed: int, n: int, size: int) -> Vector:
    """Blobs and noise, values in [0, 1]."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(-1, 1, size)
    centers = rng.uniform(-0.5, 0.5, (n, 2, 1, 1))
    distance = (axis[:, None] - centers[:, 0]) ** 2 + (axis[None, :] - centers[:, 1]) ** 2
    return (0.7 * np.exp(-8 * distance) + 0.3 * rng.random((n, size, size))).astype(np.float32)


def coefficients(batch: Vector) -> Vector:
    return np.asarray(scatter(tf.constant(batch)))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    made = Classifier(ModelSpec("scatter", 32, 2))
    made.set_weights(np.random.default_rng(7).normal(size=made.parameters).astype(np.float32))
    return made


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_coefficients_are_kymatios(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Kymatio 0.3 imports a function that SciPy has since removed, for its transform of volumes.
    monkeypatch.setattr(scipy.special, "sph_harm", None, raising=False)
    from kymatio.scattering2d.frontend.numpy_frontend import ScatteringNumPy2D

    batch = np.concatenate([images(1, 3, size), np.random.default_rng(2).random((2, size, size), dtype=np.float32)])
    oracle = ScatteringNumPy2D(3, (size, size), ANGLES)(batch)
    filters = np.array([1] + [2] * 24 + [3] * 192)[:, None, None]
    ours = coefficients(batch)
    assert ours.shape == oracle.shape == (5, CHANNELS, size // STRIDE, size // STRIDE)
    np.testing.assert_allclose(ours, oracle * (KYMATIO_PI / np.pi) ** filters, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [17, 50])
def test_sizes_that_are_no_multiple_of_the_stride_work(size: int) -> None:
    side = filter_bank(size).side
    assert coefficients(images(1, 2, size)).shape == (2, CHANNELS, side, side)
    assert feature_count(size) == CHANNELS * side**2


@pytest.mark.parametrize("size", [15, 513])
def test_sizes_out_of_range_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match="16 to 512"):
        Classifier(ModelSpec("scatter", size, 1))
    with pytest.raises(ValueError, match="16 to 512"):
        filter_bank(size)


def test_filters_do_not_expand_energy() -> None:
    """All filters' squared spectra sum to no more than 1.02 at any frequency; what images have, shrinks."""
    bank = filter_bank(64)
    mean = np.abs(np.fft.fft(_mean_kernel(bank.padded)))
    total = (mean[:, None] * mean[None, :]) ** 2
    for scale in range(3):
        squares = (bank.psi[scale, 0].astype(np.float64) ** 2).sum(axis=0)
        mirrored = np.roll(squares[::-1, ::-1], 1, axis=(0, 1))
        total += (squares + mirrored) / 2  # of a real image both halves of the plane hold the same energy
    assert 0.5 < total.max() < 1.02
    for kind in (images(3, 4, 64), np.random.default_rng(3).random((4, 64, 64), dtype=np.float32)):
        before = (np.pad(kind, ((0, 0), (8, 8), (8, 8)), mode="reflect").astype(np.float64) ** 2).sum(axis=(1, 2))
        after = STRIDE**2 * (coefficients(kind).astype(np.float64) ** 2).sum(axis=(1, 2, 3))
        assert (after <= before).all()


def _mean_kernel(padded: int) -> np.ndarray:
    """phi along one axis, by its formula."""
    axis = np.minimum(np.arange(padded), padded - np.arange(padded))
    return np.exp(-(axis**2) / (2 * 3.2**2)) / (3.2 * np.sqrt(2 * np.pi))


def test_distances_do_not_grow() -> None:
    one, other = images(4, 6, 64), images(5, 6, 64)
    apart = STRIDE * np.linalg.norm((coefficients(one) - coefficients(other)).reshape(6, -1), axis=1)
    border = ((0, 0), (8, 8), (8, 8))
    pixels = np.linalg.norm((np.pad(one, border, "reflect") - np.pad(other, border, "reflect")).reshape(6, -1), axis=1)
    assert (apart <= pixels).all()


def test_a_shift_by_a_pixel_changes_features_far_less_than_pixels() -> None:
    wide = images(6, 8, 70)
    here = wide[:, 3:67, 3:67]
    for shift, share in ((1, 0.2), (2, 0.35)):
        there = wide[:, 3:67, 3 + shift : 67 + shift]
        moved = np.linalg.norm(coefficients(here) - coefficients(there)) / np.linalg.norm(coefficients(here))
        pixels = np.linalg.norm(here - there) / np.linalg.norm(here)
        assert moved < share * pixels, (shift, moved, pixels)


def test_a_constant_image_has_its_value_and_nothing_else() -> None:
    found = coefficients(np.full((1, 32, 32), 0.5, np.float32))
    np.testing.assert_allclose(found[:, 0], 0.5, atol=1e-5)
    np.testing.assert_allclose(found[:, 1:], 0, atol=1e-5)


def test_features_have_length_one_and_black_images_are_no_trouble(classifier: Classifier) -> None:
    batch = images(8, 3, 32)
    batch[0] = 0
    features = classifier.prepare(batch[..., None])
    assert features.shape == (3, feature_count(32))
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_what_phantoms_have_in_common_is_taken_off(classifier: Classifier) -> None:
    """By numpy from the layer's own parts; of other phantoms little stays in common, before it was most."""
    phantoms = list_phantoms(40, 32, 99).pixels
    assert phantoms is not None
    pixels = (phantoms / np.float32(255))[..., None]
    plain = np.asarray(normalize(scatter(tf.constant(pixels[..., 0]))))
    apart = plain - phantom_center(32)
    expected = apart / np.linalg.norm(apart, axis=1, keepdims=True)
    found = classifier.prepare(pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.square(plain.mean(axis=0)).sum() > 0.8
    assert np.square(found.mean(axis=0)).sum() < 0.2


def test_a_center_is_the_same_however_often_it_is_drawn(classifier: Classifier) -> None:
    first = phantom_center(32).tobytes()
    phantom_center.cache_clear()
    assert phantom_center(32).tobytes() == first
    (saved,) = classifier.network.non_trainable_weights
    assert np.asarray(saved).tobytes() == first


def test_brightness_of_groups_does_not_matter_much_but_is_within_the_image(classifier: Classifier) -> None:
    """Normalized by the image's own numbers: contrast halved gives nearly the same features."""
    batch = images(9, 4, 32)[..., None]
    apart = np.linalg.norm(classifier.prepare(batch) - classifier.prepare(batch / 2), axis=1)
    assert (apart < 0.25).all()


def test_an_images_features_depend_on_no_other_image(classifier: Classifier) -> None:
    """Also across the batches that a long set is computed in."""
    batch = images(10, 300, 32)[..., None]
    together = classifier.prepare(batch)
    for row in (0, 255, 256, 299):
        np.testing.assert_allclose(classifier.prepare(batch[row : row + 1])[0], together[row], atol=1e-6)
    again = Classifier(ModelSpec("scatter", 32, 1)).prepare(batch)
    assert again.tobytes() == together.tobytes()


def test_only_the_linear_layer_is_federated() -> None:
    made = Classifier(ModelSpec("scatter", 64, 1))
    assert made.parameters == 13_889
    assert [weight.name for weight in made.network.non_trainable_weights] == ["center"]
    assert not made.get_weights().any()
    assert Classifier(ModelSpec("scatter", 64, 14)).parameters == 14 * 13_889


def test_logits_are_the_linear_layer_of_the_features(classifier: Classifier) -> None:
    pixels = images(11, 5, 32)[..., None]
    weights = classifier.get_weights()
    features = classifier.prepare(pixels)
    expected = features @ weights[:-2].reshape(-1, 2) + weights[-2:]
    np.testing.assert_allclose(classifier.logits(pixels), expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(classifier.trainable(features)), expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(classifier.network(pixels)), expected, atol=1e-5)


def test_a_saved_model_takes_pixels_and_gives_the_same_scores(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = images(12, 5, 32)[..., None]
    expected = classifier.logits(pixels)
    spec = classifier.spec
    card = ModelCard(2, spec.name, ("f", "g"), ("a", "b"), spec.image_size, (0.5, 0.5), "ab", 1, 0.1, 0.1)
    save_model(tmp_path / "model.keras", classifier, card)
    # Were phantoms drawn in another way some day: a saved model has the center that it was trained with.
    monkeypatch.setattr(scattering, "phantom_center", lambda size: np.zeros(feature_count(size), np.float32))
    np.testing.assert_allclose(load_logits(tmp_path / "model.keras", pixels), expected, atol=1e-5)


def test_training_moves_the_networks_own_weights() -> None:
    made = Classifier(ModelSpec("scatter", 16, 1))
    pixels, labels = images(13, 20, 16)[..., None], (np.arange(20) % 2).astype(np.float32)[:, None]
    pixels[labels[:, 0] == 1, :, ::2] *= 0.5
    made.start_training(0.01)
    before = made.train_batch(made.prepare(pixels), labels)
    assert before == pytest.approx(np.log(2))
    for _ in range(30):
        after = made.train_batch(made.prepare(pixels), labels)
    assert after < 0.5 * before
    assert ((np.asarray(made.network(pixels)) > 0) == labels).mean() > 0.9


def test_prepared_images_are_computed_once_and_given_up_by_age() -> None:
    asked: list[float] = []

    def compute(pixels: Vector) -> Vector:
        asked.append(float(pixels[0, 0, 0, 0]))
        return np.full((len(pixels), 10), pixels[0, 0, 0, 0], np.float32)

    def one(value: float) -> Vector:
        return np.full((1, 2, 2, 1), value, np.float32)

    kept = PreparedImages(compute, limit_bytes=80)  # two results
    for value in (1.0, 2.0, 1.0, 3.0, 1.0, 2.0):
        assert kept.of(one(value))[0, 0] == value
    assert asked == [1.0, 2.0, 3.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        kept.of(one(1.0))[0, 0] = 5
    assert kept.fits(2, 10)
    assert not kept.fits(3, 10)
    large = PreparedImages(compute, limit_bytes=1)
    large.of(one(8.0))
    large.of(one(8.0))
    assert asked[4:] == [8.0]
