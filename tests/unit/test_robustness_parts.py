"""Defenses that stand before a classifier, signs of hidden gradients, and figures of attacked images."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedward.adversarial.victim import Victim
from fedward.errors import UsageError
from fedward.labs.robustness.checks import masking
from fedward.labs.robustness.defenses import Defended, InputDefense, Restored
from fedward.labs.robustness.jpeg import Jpeg, smooth_jpeg
from fedward.labs.robustness.measuring import measured
from fedward.labs.robustness.plan import FULL, NONE, QUICK, Plan, narrowed, training_units, with_eps
from fedward.labs.robustness.slope import kept_of_slope
from fedward.labs.robustness.training import threshold_of
from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import tf
from fedward.learning.weight_shapes import ModelSpec
from fedward.reconstruction.registry import READERS
from fedward.reconstruction.shape import ReaderShape
from fedward.types import HospitalId, ImageSet, Partition, Vector

pytestmark = pytest.mark.slow

SIZE = 16


def images(count: int = 5) -> Vector:
    return np.random.default_rng(3).random((count, SIZE, SIZE, 1), np.float32)


def moved_denoiser() -> Restored:
    reader = READERS["denoiser"](ReaderShape(SIZE, 1), seed=1)
    reader.set_weights(np.random.default_rng(2).normal(0, 0.1, len(reader.get_weights())).astype(np.float32))
    return Restored(reader)


@pytest.fixture(scope="module", params=["jpeg", "denoiser"])
def defense(request: pytest.FixtureRequest) -> InputDefense:
    return Jpeg() if request.param == "jpeg" else moved_denoiser()


def test_what_an_attacker_follows_gives_what_the_defense_gives(defense: InputDefense) -> None:
    pixels = images()
    cleaned = defense.cleaned(pixels)
    assert np.allclose(defense.differentiable(tf.constant(pixels)), cleaned, atol=1e-6)
    assert np.abs(cleaned - pixels).max() > 0.01, "it does something"
    assert cleaned.min() >= 0
    assert cleaned.max() <= 1


def test_jpeg_is_the_file_of_that_quality() -> None:
    pixels = images(2)
    content = io.BytesIO()
    Image.fromarray(np.round(pixels[1, ..., 0] * 255).astype(np.uint8)).save(content, "JPEG", quality=20)
    expected = np.asarray(Image.open(content), np.float32) / 255
    assert np.allclose(Jpeg().cleaned(pixels)[1, ..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("grey", [100, 127, 128, 131])
def test_jpegs_slope_is_that_of_the_cubed_remainder(grey: int) -> None:
    with tf.GradientTape() as tape:
        flat = tf.fill((2, SIZE, SIZE, 1), grey / 255)
        tape.watch(flat)
        total = tf.reduce_sum(Jpeg().differentiable(flat))
    coefficient = 8 * (grey - 128) / 40  # a block's mean, of which the standard's table at quality 20 keeps every 40th
    slope = 3 * (coefficient - round(coefficient)) ** 2
    assert tape.gradient(total, flat).numpy() == pytest.approx(slope, abs=1e-4)


def test_a_defended_classifier_scores_what_the_defense_gives_and_has_its_slope(defense: InputDefense) -> None:
    classifier, pixels = Classifier(ModelSpec("cnn", SIZE, 1), seed=3), images()
    victim = Victim(Defended(classifier, defense), 0.4)
    assert np.allclose(
        victim.margins(pixels), classifier.logits(defense.cleaned(pixels)) - np.log(0.4 / 0.6), atol=1e-5
    )
    labels = np.ones((len(pixels), 1), np.float32)
    gradient = victim.gradient(pixels, labels)
    if isinstance(defense, Jpeg):
        behind = Victim(classifier, 0.4).gradient(defense.cleaned(pixels), labels)
        with tf.GradientTape() as tape:
            tensor = tf.constant(pixels)
            tape.watch(tensor)
            smooth = smooth_jpeg(tensor, defense.quality)
        assert np.allclose(gradient, tape.gradient(smooth, tensor, behind), atol=1e-6)
    else:
        step = np.float32(1e-3) * np.sign(gradient)
        slope = np.logaddexp(0, -victim.margins(pixels + step)) - np.logaddexp(0, -victim.margins(pixels - step))
        assert slope[:, 0] / 2 == pytest.approx((step * gradient).sum(axis=(1, 2, 3)), rel=0.15)


def test_the_threshold_is_chosen_behind_the_defense() -> None:
    class Brighter(InputDefense):
        def cleaned(self, pixels: Vector) -> Vector:
            return pixels + np.float32(0.5)

        def differentiable(self, pixels: Any) -> Any:
            return pixels + 0.5

    class Mean(Classifier):
        def logits(self, pixels: Vector) -> Vector:
            return 20 * (pixels.mean(axis=(1, 2, 3)) - 0.5)[:, None]

    greys = np.linspace(0, 100, 12).astype(np.uint8)
    labels = (np.arange(12) >= 6).astype(np.float32)[:, None]
    held = ImageSet(np.tile(greys[:, None, None], (1, SIZE, SIZE)), labels, np.array([f"p{n}" for n in range(12)]))
    partitions = [Partition(HospitalId("a"), ("f",), held, held, held)]
    mean = Mean(ModelSpec("cnn", SIZE, 1))
    defended = Defended(mean, Brighter())
    for scored in (mean, defended):
        called = Victim(scored, threshold_of(scored, partitions)).decisions(held.pixels())
        assert (called == (labels > 0)).mean() > 0.9
    assert threshold_of(defended, partitions) > threshold_of(mean, partitions)


# ---- signs of hidden gradients ----------------------------------------------------------------------------------

PLAN = narrowed(QUICK, (), ("fgsm", "pgd", "square"), ("jpeg",), ())


GOOD = {"fgsm": (0.8, 0.5), "pgd": (0.7, 0.3), "square": (0.9, 0.8)}


def figures(
    white_box: dict[str, tuple[float, float]], transfer: float = 0.9, kept: float | None = 0.9
) -> dict[str, Any]:
    """Areas by attack at the two bounds of the plan."""
    found: dict[str, Any] = {"white-box": {}, "transfer": {}, "kept_of_slope": kept}
    for attack, areas in white_box.items():
        for eps, area in zip(PLAN.eps, areas, strict=True):
            found["white-box"][with_eps(attack, eps)] = {"auc": area}
            found["transfer"][with_eps(attack, eps)] = {"auc": transfer}
    return found


@pytest.mark.parametrize(
    ("white_box", "transfer", "sign"),
    [
        (GOOD, 0.9, ""),
        ({"fgsm": (0.81, 0.5), "pgd": (0.82, 0.3), "square": (0.9, 0.8)}, 0.9, ""),
        (GOOD, 0.5, "transferred ones 0.500"),
        (
            {"fgsm": (0.8, 0.9), "pgd": (0.7, 0.85), "square": (0.9, 0.95)},
            0.9,
            "at 4/255 attacks leave an AUC of 0.850",
        ),
        ({"fgsm": (0.5, 0.3), "pgd": (0.7, 0.3), "square": (0.9, 0.8)}, 0.9, "fgsm alone 0.500"),
        ({"fgsm": (0.9, 0.9), "pgd": (0.9, 0.9), "square": (0.6, 0.2)}, 0.9, "square alone 0.600"),
    ],
)
def test_signs_of_hidden_gradients_are_told(
    white_box: dict[str, tuple[float, float]], transfer: float, sign: str
) -> None:
    told = masking(PLAN, figures(white_box, transfer))
    assert any(sign in each for each in told) if sign else told == []


@pytest.mark.parametrize(
    ("kept", "signs"),
    [
        (2.8, []),
        (0.41, []),
        (0.284, ["a step of 1/255 along the slope brings 0.28 of what it foretells"]),
        (-0.1, ["a step of 1/255 along the slope brings -0.10 of what it foretells"]),
        (None, ["attackers find no slope to follow"]),
    ],
)
def test_slopes_that_are_not_the_defenses_are_told(kept: float | None, signs: list[str]) -> None:
    assert masking(PLAN, figures(GOOD, kept=kept)) == signs


class Linear:
    """Logits are a weighted sum of pixels, however sure it is; attackers follow `slope` times its slope."""

    spec = ModelSpec("cnn", SIZE, 1)
    network: Any = None

    def __init__(self, slope: float) -> None:
        self.weights = np.random.default_rng(8).normal(0, 40, (1, SIZE, SIZE, 1)).astype(np.float32)
        self.slope = slope

    def logits(self, pixels: Vector) -> Vector:
        return np.asarray((pixels * self.weights).sum(axis=(1, 2, 3))[:, None])

    def scores(self, pixels: Any, /) -> Any:
        sums = tf.reduce_sum(pixels * self.weights, axis=(1, 2, 3))[:, None]
        return self.slope * sums + tf.stop_gradient((1 - self.slope) * sums)


@pytest.mark.parametrize(("slope", "kept"), [(1.0, 1.0), (4.0, 0.25), (-2.0, -0.5), (0.0, None)])
def test_what_a_step_brings_of_what_a_slope_foretells(slope: float, kept: float | None) -> None:
    found = kept_of_slope(Victim(Linear(slope), 0.7), images(), 1 / 255)
    assert found == (None if kept is None else pytest.approx(kept, rel=1e-3))


# ---- the plan, and figures --------------------------------------------------------------------------------------


def test_only_classifiers_that_are_needed_are_trained() -> None:
    assert [unit.what for unit in training_units(PLAN)] == [NONE]
    assert [unit.what for unit in training_units(narrowed(QUICK, (), (), ("central-pgd",), ()))] == [
        NONE,
        "central-pgd",
    ]
    assert {unit.what for unit in training_units(FULL)} >= {"train-fgsm", "train-pgd", "train-mixed", "private-pgd"}


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_every_attack_of_the_plans_takes_a_bound(plan: Plan) -> None:
    narrowed(plan, (), plan.attacks, (), ())
    with pytest.raises(UsageError, match="pixels"):
        narrowed(plan, (), ("pixels",), (), ())


def test_figures_of_a_faultless_and_of_a_turned_classifier() -> None:
    labels = np.array([[1], [0], [1], [0], [1]], np.float32)
    some = ImageSet(np.zeros((5, 4, 4), np.uint8), labels, np.array(list("abcde")))
    margins = (labels * 2 - 1) * np.float32(3)
    best, worst = measured(some, margins), measured(some, -margins)
    assert (best["auc"], best["auprc"], best["accuracy"], best["f1"]) == (1, 1, 1, 1)
    assert (worst["auc"], worst["accuracy"], worst["f1"]) == (0, 0, 0)
    assert worst["accuracy_interval"][0] == 0
    half = measured(some, np.array([[3], [-1], [2], [2.5], [-3]], np.float32))
    assert half["auc"] == pytest.approx(3 / 6)
    assert half["auc_interval"][0] < half["auc"] < half["auc_interval"][1]


def xrays(count: int, height: int, width: int) -> Vector:
    """Smooth images with a little noise: of noise alone a file keeps nothing."""
    rng = np.random.default_rng(4)
    rows, columns = np.linspace(0, 3, height)[:, None], np.linspace(0, 2, width)[None]
    waves = [0.5 + 0.3 * np.sin(rows + phase) * np.cos(columns * phase) for phase in rng.uniform(0.5, 3, count)]
    return np.clip(np.stack(waves)[..., None] + rng.normal(0, 0.03, (count, height, width, 1)), 0, 1).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 27)])
def test_smooth_jpeg_rounds_where_the_file_does(height: int, width: int) -> None:
    images = np.round(xrays(4, height, width) * 255) / np.float32(255)
    apart = np.abs(smooth_jpeg(tf.constant(images), 20).numpy() - Jpeg().cleaned(images)) * 255
    assert apart.mean() < 1
    # At quality 100 steps are 1 of some 1,000, so that only the rounding of pixels is left.
    apart = np.abs(smooth_jpeg(tf.constant(images), 100).numpy() - Jpeg(100).cleaned(images)) * 255
    assert apart.max() < 2
    assert apart.mean() < 0.5


def test_who_attacks_through_jpeg_sees_the_file_and_gets_further_than_by_the_images_own_gradient() -> None:
    images = xrays(8, 32, 32)
    weights = np.random.default_rng(5).normal(0, 1, (1, 32, 32, 1)).astype(np.float32)
    with tf.GradientTape() as tape:
        pixels = tf.constant(images)
        tape.watch(pixels)
        seen = Jpeg().differentiable(pixels)
        total = tf.reduce_sum(seen * weights)
    assert np.abs(seen.numpy() - Jpeg().cleaned(images)).max() < 1e-6
    knowing = np.sign(tape.gradient(total, pixels).numpy())
    ways = (knowing, np.broadcast_to(np.sign(weights), images.shape))
    moved = [((Jpeg().cleaned(images + 0.03 * way) - Jpeg().cleaned(images)) * weights).sum((1, 2, 3)) for way in ways]
    assert moved[0].mean() > 1.5 * moved[1].mean() > 0
