"""Heat maps: exact contributions of `scatter`, and the hottest place of drawn phantoms, which lies in the finding."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fedward.dataset.phantoms import FINDING, finding_places, list_phantoms
from fedward.explaining.contributions import contributions, places_of
from fedward.explaining.heat_maps import METHODS
from fedward.explaining.spreading import Places, spread
from fedward.learning.model import Classifier
from fedward.learning.scattering import scatter
from fedward.learning.weight_shapes import ModelSpec
from fedward.plugins import MODELS
from fedward.types import Vector

SIZE = 48
TRAINED, OTHERS = 1, 2  # seeds of phantoms
COUNT = 240  # of the others: about 100 have the finding
# Images, epochs, batch size and learning rate that teach each model within seconds.
TRAINING = {"cnn": (360, 10, 16, 0.003), "scatter": (400, 20, 32, 0.003)}


def drawn(count: int, seed: int) -> tuple[Vector, NDArray[np.float32]]:
    listing = list_phantoms(count, SIZE, seed)
    labels = np.array([[float(FINDING in entry.classes)] for entry in listing.entries], np.float32)
    return (np.asarray(listing.pixels)[..., None] / np.float32(255)).astype(np.float32), labels


@cache
def trained(name: str) -> Classifier:
    """A model that tells phantoms with the finding from others."""
    count, epochs, batch, rate = TRAINING[name]
    pixels, labels = drawn(count, TRAINED)
    classifier = Classifier(ModelSpec(name, SIZE, 1), 1)
    prepared, rng = classifier.prepare(pixels), np.random.default_rng(0)
    classifier.start_training(rate)
    for _ in range(epochs):
        order = rng.permutation(count)
        for start in range(0, count, batch):
            classifier.train_batch(prepared[order[start : start + batch]], labels[order[start : start + batch]])
    return classifier


def inside(maps: Vector, places: NDArray[np.bool_]) -> float:
    """The share of maps whose hottest pixel lies where the finding is drawn."""
    hottest = maps.reshape(len(maps), -1).argmax(axis=1)
    return float(places.reshape(len(places), -1)[np.arange(len(maps)), hottest].mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINING)
def test_the_hottest_place_is_in_the_finding_and_a_random_maps_is_not(name: str) -> None:
    classifier = trained(name)
    pixels, labels = drawn(COUNT, OTHERS)
    called = classifier.logits(pixels)[:, 0] > 0
    assert (called == (labels[:, 0] == 1)).mean() > 0.95, "it has learned what it is to explain"
    positive = labels[:, 0] == 1
    places = finding_places(COUNT, SIZE, OTHERS)[positive]
    found = METHODS[name].maps(classifier, pixels[positive], np.zeros(int(positive.sum()), np.intp))
    rng = np.random.default_rng(3)
    coarse = rng.random((len(places), 6, 6), np.float32)
    assert inside(found, places) >= 0.9
    assert inside(spread(coarse, Places(3.5, 8), SIZE), places) < 0.25
    assert inside(np.roll(found, len(found) // 2, axis=0), places) < 0.5, "the map is of its own image"


def test_a_finding_is_drawn_where_phantoms_with_and_without_it_differ() -> None:
    """The places are those of the images: there they are brighter, by far more than elsewhere."""
    listing, places = list_phantoms(400, SIZE, OTHERS), finding_places(400, SIZE, OTHERS)
    pixels, labels = np.asarray(listing.pixels, np.float32), drawn(400, OTHERS)[1][:, 0]
    assert not places[labels == 0].any()
    assert places[labels == 1].any(axis=(1, 2)).all()
    usual = pixels[labels == 0].mean(axis=0)
    above = [(image - usual)[there].mean() - (image - usual)[~there].mean() for image, there in zip(
        pixels[labels == 1], places[labels == 1], strict=True)]  # fmt: skip
    assert np.mean(np.array(above) > 0) > 0.95


@pytest.mark.slow
def test_contributions_add_up_to_the_logit_less_the_bias() -> None:
    rng = np.random.default_rng(1)
    classifier = Classifier(ModelSpec("scatter", SIZE, 3), 1)
    classifier.set_weights(rng.normal(0, 1, classifier.parameters).astype(np.float32))
    center = rng.normal(0, 0.01, sum(int(np.prod(each.shape)) for each in classifier.network.non_trainable_weights))
    classifier.set_fixed(center.astype(np.float32))  # of a saved model, which may be another than today's
    pixels = rng.random((5, SIZE, SIZE, 1), np.float32)
    findings = np.array([0, 1, 2, 1, 0])
    logits = np.asarray(classifier.network(pixels))[np.arange(5), findings]
    bias = np.asarray(classifier.network.layers[-1].bias)[findings]
    found = contributions(classifier, pixels, findings)
    assert found.sum(axis=(1, 2)) == pytest.approx(logits - bias, abs=1e-4)
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize("size", [36, 44, 48])
def test_the_places_of_features_are_what_they_mean_over(size: int) -> None:
    """A spot in the middle of a place shows there most, and alike in the places around it."""
    places = places_of(size)
    spot = np.zeros((1, size, size), np.float32)
    spot[0, int(places.first) + 2 * places.step, int(places.first) + 2 * places.step] = 1
    coarse = np.asarray(scatter(spot))[0, 0]
    assert np.unravel_index(coarse.argmax(), coarse.shape) == (2, 2)
    around = [coarse[1, 2], coarse[3, 2], coarse[2, 1], coarse[2, 3]]
    assert around == pytest.approx([around[0]] * 4, rel=1e-3)
    assert around[0] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_maps_of_every_finding(name: str) -> None:
    size = 48 if name == "scatter" else 32
    classifier = Classifier(ModelSpec(name, size, 2), 1)
    rng = np.random.default_rng(2)
    classifier.set_weights(classifier.get_weights() + rng.normal(0, 0.02, classifier.parameters).astype(np.float32))
    image, other = rng.random((2, size, size, 1), np.float32)
    maps = METHODS[name].maps(classifier, np.stack([image, image, other, image]), np.array([0, 1, 1, 0]))
    assert maps.shape == (4, size, size)
    assert np.isfinite(maps).all()
    assert METHODS[name].against or (maps >= 0).all()
    assert np.abs(maps[0] - maps[1]).max() > 1e-3, "of another finding"
    assert np.abs(maps[1] - maps[2]).max() > 1e-3, "of another image"
    assert maps[0] == pytest.approx(maps[3], abs=1e-4)


@pytest.mark.slow
def test_a_map_of_an_image_depends_on_no_other() -> None:
    pixels, _ = drawn(40, OTHERS)
    every: Callable[..., Vector] = METHODS["cnn"].maps
    together = every(trained("cnn"), pixels, np.zeros(40, np.intp))
    alone = every(trained("cnn"), pixels[17:18], np.zeros(1, np.intp))
    assert together[17] == pytest.approx(alone[0], abs=1e-4)


def test_spreading_goes_through_the_places_and_is_even_beyond_them() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.random((2, 5, 5), np.float32)
    fine = spread(coarse, Places(4, 8), 48)
    assert fine[:, 4:40:8, 4:40:8] == pytest.approx(coarse, abs=1e-6)
    assert fine[:, 44, 4] == pytest.approx(coarse[:, 4, 0], abs=0.2)
    assert spread(np.ones((1, 5, 5), np.float32), Places(3.5, 8), 40) == pytest.approx(np.ones((1, 40, 40)), abs=1e-6)
