"""Attacks on a classifier's input: on a linear classifier the best change is known, and each comes close to it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedward.adversarial.attack import Aim, Attack
from fedward.adversarial.harness import craft, hidden, in_eight_bits
from fedward.adversarial.registry import ATTACKS, attack_from
from fedward.adversarial.victim import Victim
from fedward.errors import FedwardError, UsageError
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import Vector

SIZE = 16
UNBOUNDED = ("hop-skip-jump", "pixels")
BOUNDED = [name for name in ATTACKS if name not in UNBOUNDED]
FOLLOW_GRADIENTS = [name for name, attack in ATTACKS.items() if attack.needs == "gradients"]


@dataclass
class Linear:
    """Margins that are linear in pixels, one finding a column of weights; counts what it is asked."""

    weights: Vector = field(
        default_factory=lambda: np.random.default_rng(3).normal(0, 1, (SIZE * SIZE, 1)).astype(np.float32)
    )
    asked: int = 0

    def margins(self, pixels: Vector) -> Vector:
        self.asked += len(pixels)
        return ((pixels - 0.5).reshape(len(pixels), -1) @ self.weights).astype(np.float32)

    def decisions(self, pixels: Vector) -> NDArray[np.bool_]:
        return self.margins(pixels) >= 0

    def gradient(self, pixels: Vector, labels: Vector) -> Vector:
        errors = 1 / (1 + np.exp(-self.margins(pixels).astype(np.float64))) - labels
        return (errors @ self.weights.T).reshape(pixels.shape).astype(np.float32)

    def margins_and_gradient(self, pixels: Vector, labels: Vector) -> tuple[Vector, Vector]:
        return self.margins(pixels), self.gradient(pixels, labels)


def images(count: int = 12, seed: int = 1) -> Vector:
    return np.random.default_rng(seed).uniform(0.3, 0.7, (count, SIZE, SIZE, 1)).astype(np.float32)


def run(name: str, victim: Any, pixels: Vector, aim: Aim) -> Vector:
    return craft(attack_from(name), victim, pixels, aim, np.random.default_rng(7))


def right(victim: Linear, pixels: Vector) -> Vector:
    return victim.decisions(pixels).astype(np.float32)


@pytest.mark.parametrize("name", FOLLOW_GRADIENTS)
def test_on_a_linear_classifier_the_best_change_within_the_bound_is_reached(name: str) -> None:
    victim, pixels = Linear(), images()
    labels = right(victim, pixels)
    iterations = "" if name == "fgsm" else ",iterations=30"
    found = run(f"{name}:eps=0.05{iterations}", victim, pixels, Aim(labels))
    direction = np.where(labels > 0, -1, 1) * np.sign(victim.weights).T
    best = pixels + np.float32(0.05) * direction.reshape(pixels.shape)
    assert np.allclose(found, best, atol=1e-6)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("eps", [0.0, 0.02, 0.3])
def test_no_pixel_leaves_the_bound_or_what_a_pixel_may_be(name: str, eps: float) -> None:
    victim, pixels = Linear(), images()
    pixels[0], pixels[1] = 0, 1
    found = run(f"{name}:eps={eps}", victim, pixels, Aim(right(victim, pixels)))
    assert np.abs(found - pixels).max() <= eps + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    if eps == 0:
        assert np.array_equal(found, pixels), "the null attack"


@pytest.mark.parametrize("name", ATTACKS)
def test_decisions_are_turned_and_the_images_given_are_not_written_to(name: str) -> None:
    victim, pixels = Linear(), images()
    kept, labels = pixels.copy(), right(Linear(), pixels)
    found = run(name if name in UNBOUNDED else f"{name}:eps=0.1", victim, pixels, Aim(labels))
    assert hidden(victim, pixels, found, labels).all()  # type: ignore[arg-type]
    assert np.array_equal(pixels, kept)
    again = run(name if name in UNBOUNDED else f"{name}:eps=0.1", Linear(), pixels, Aim(labels))
    assert np.array_equal(found, again), "the same draws give the same images"


def test_what_was_wrong_before_is_not_hidden() -> None:
    victim, pixels = Linear(), images()
    wrong = 1 - right(victim, pixels)
    assert not hidden(victim, pixels, run("fgsm:eps=0.2", victim, pixels, Aim(wrong)), wrong).any()  # type: ignore[arg-type]


def test_hop_skip_jump_comes_near_the_shortest_way_across_the_border() -> None:
    victim, pixels = Linear(), images()
    labels = right(victim, pixels)
    found = run("hop-skip-jump", victim, pixels, Aim(labels))
    shortest = np.abs(victim.margins(pixels)[:, 0]) / np.linalg.norm(victim.weights)
    gone = np.sqrt(((found - pixels) ** 2).sum(axis=(1, 2, 3)))
    assert (gone >= 0.999 * shortest).all()
    assert np.median(gone / shortest) < 3
    begun = run("hop-skip-jump:iterations=1,first-evaluations=2", victim, pixels, Aim(labels))
    assert np.median(gone) < np.median(np.sqrt(((begun - pixels) ** 2).sum(axis=(1, 2, 3)))), "it gets nearer"


def test_coarse_directions_come_nearer_where_neighbors_count_alike() -> None:
    side = 6  # does not divide the images' side
    squares = np.random.default_rng(3).normal(0, 1, (3, 3))
    alike = squares.repeat(side, 0).repeat(side, 1)[:SIZE, :SIZE].reshape(-1, 1).astype(np.float32)
    victim, pixels = Linear(alike), images()
    aim = Aim(right(victim, pixels))
    few = "hop-skip-jump:iterations=3,first-evaluations=8"
    fine, coarse = (run(f"{few},coarse={each}", victim, pixels, aim) for each in (1, side))
    ways = [np.sqrt(((each - pixels) ** 2).sum(axis=(1, 2, 3))) for each in (fine, coarse)]
    assert np.median(ways[1]) < np.median(ways[0]) / 1.5
    assert hidden(victim, pixels, coarse, aim.labels).all()  # type: ignore[arg-type]


def test_hop_skip_jump_leaves_an_image_as_it_is_where_no_image_shows_the_wanted_decision() -> None:
    @dataclass
    class Stubborn(Linear):
        def margins(self, pixels: Vector) -> Vector:
            return np.ones((len(pixels), 1), np.float32)

    pixels = images(3)
    assert np.array_equal(run("hop-skip-jump", Stubborn(), pixels, Aim(np.ones((3, 1), np.float32))), pixels)


def test_pixels_sets_no_more_pixels_than_asked_for_and_leaves_alone_what_has_reached_the_aim() -> None:
    victim, pixels = Linear(), images()
    labels = right(victim, pixels)
    labels[0] = 1 - labels[0]
    found = run("pixels:count=5,generations=3", victim, pixels, Aim(labels))
    changed = (found != pixels).sum(axis=(1, 2, 3))
    assert changed[0] == 0
    assert (changed[1:] > 0).all()
    assert changed.max() <= 5
    assert found.min() >= 0
    assert found.max() <= 1
    before, after = (Aim(labels).missing(victim.margins(each)) for each in (pixels, found))
    assert (after < before)[1:].all()


def test_adaptive_steps_find_what_steps_of_one_length_jump_over() -> None:
    """A loss with a narrow best place: long steps of one length go to and fro over it."""

    @dataclass
    class Narrow(Linear):
        def margins(self, pixels: Vector) -> Vector:
            off = np.abs(pixels - 0.513).sum(axis=(1, 2, 3))
            return (off - 1.0)[:, None].astype(np.float32)

        def gradient(self, pixels: Vector, labels: Vector) -> Vector:
            return -np.sign(pixels - np.float32(0.513)) * (2 * labels[:, :, None, None] - 1)

    victim, pixels = Narrow(), np.full((3, SIZE, SIZE, 1), 0.5, np.float32)
    aim = Aim(np.ones((3, 1), np.float32))
    fixed = run("pgd:eps=0.1,iterations=40,step=0.4", victim, pixels, aim)
    adaptive = run("apgd:eps=0.1,iterations=40", victim, pixels, aim)
    assert not aim.reached(victim.decisions(fixed)).any()
    assert aim.reached(victim.decisions(adaptive)).all()


def test_auto_turns_whatever_one_of_its_attacks_turns() -> None:
    @dataclass
    class Blind(Linear):
        """Its gradient says nothing, as where a defense hides it."""

        def gradient(self, pixels: Vector, labels: Vector) -> Vector:  # noqa: ARG002
            return np.zeros_like(pixels)

    victim, pixels = Blind(), images()
    labels = right(victim, pixels)
    eps = "eps=0.2,iterations=5"
    left = hidden(victim, pixels, run(f"apgd:{eps}", victim, pixels, Aim(labels)), labels)  # type: ignore[arg-type]
    both = hidden(victim, pixels, run(f"auto:{eps}", victim, pixels, Aim(labels)), labels)  # type: ignore[arg-type]
    assert both.mean() > left.mean() + 0.3


def test_square_leaves_alone_what_has_reached_the_aim() -> None:
    pixels = images()
    asked = []
    for labels in (right(Linear(), pixels), 1 - right(Linear(), pixels)):
        victim = Linear()
        run("square:eps=0.001,iterations=50", victim, pixels, Aim(labels))
        asked.append(victim.asked)
    assert asked[0] > 40 * len(pixels)
    assert asked[1] == len(pixels)


@pytest.mark.parametrize("name", FOLLOW_GRADIENTS)
def test_toward_labels_every_finding_must_become_as_wanted(name: str) -> None:
    victim = Linear(np.random.default_rng(4).normal(0, 1, (SIZE * SIZE, 2)))
    pixels = images()
    wanted = np.tile(np.array([[1, 0]], np.float32), (len(pixels), 1))
    aim = Aim(wanted, toward=True)
    iterated = "" if name == "fgsm" else ",iterations=20"
    found = run(f"{name}:eps=0.2{iterated}", victim, pixels, aim)
    assert (victim.decisions(found) == [True, False]).all()
    assert aim.reached(victim.decisions(found)).all()


def test_away_from_labels_any_finding_will_do_and_toward_them_all_must() -> None:
    margins = np.array([[1, 1], [1, -1], [-1, -1]], np.float32)
    labels = np.ones((3, 2), np.float32)
    assert Aim(labels).reached(margins >= 0).tolist() == [False, True, True]
    assert Aim(labels, toward=True).reached(margins >= 0).tolist() == [True, False, False]
    assert Aim(labels).missing(margins).tolist() == [1, -1, -1]
    assert Aim(labels, toward=True).missing(margins).tolist() == [-1, 1, 1]


def test_images_that_are_no_numbers_are_said() -> None:
    victim = Linear(np.full((SIZE * SIZE, 1), np.nan))
    with pytest.raises(FedwardError, match="no numbers"):
        run("fgsm", victim, images(), Aim(np.ones((12, 1), np.float32)))


def test_eight_bits_keep_what_they_can() -> None:
    pixels = images()
    rounded = in_eight_bits(pixels)
    assert np.abs(rounded - pixels).max() <= 0.5 / 255 + 1e-7
    assert np.array_equal(in_eight_bits(rounded), rounded)


@pytest.mark.parametrize("text", ["fgsm:eps=2", "fgsm:eps", "fgsm:far=1", "nothing", "pgd:iterations=0"])
def test_a_wrong_name_or_option_is_said(text: str) -> None:
    with pytest.raises(UsageError):
        attack_from(text)


def test_every_attack_says_what_it_is_and_takes() -> None:
    for name, made in ATTACKS.items():
        attack: Attack = attack_from(name)
        assert attack.name == name == made.name
        assert made.about
        assert made.needs in ("gradients", "scores", "decisions")
        assert (attack.bound is None) == (name in UNBOUNDED)


def test_a_sure_classifier_has_a_gradient_too() -> None:
    """Where it rounds to 0, attacks seem to fail."""
    classifier = Classifier(ModelSpec("cnn", 32, 1), seed=2)
    weights = classifier.get_weights()
    weights[-1] += 40  # the last layer's bias
    classifier.set_weights(weights)
    pixels = images(2).repeat(2, axis=1).repeat(2, axis=2)
    victim = Victim(classifier)
    assert victim.margins(pixels).min() > 30
    assert (np.abs(victim.gradient(pixels, np.ones((2, 1), np.float32))).max(axis=(1, 2, 3)) > 0).all()


def test_a_classifiers_gradient_is_the_slope_of_its_loss_at_its_thresholds() -> None:
    classifier = Classifier(ModelSpec("cnn", 32, 1), seed=2)
    pixels = np.random.default_rng(5).uniform(0.2, 0.8, (3, 32, 32, 1)).astype(np.float32)
    labels = np.array([[1], [0], [1]], np.float32)
    victim = Victim(classifier, 0.7)
    assert np.allclose(victim.margins(pixels), classifier.logits(pixels) - np.log(0.7 / 0.3), atol=1e-6)
    gradient = victim.gradient(pixels, labels)
    assert np.allclose(gradient[1:2], victim.gradient(pixels[1:2], labels[1:2]), atol=1e-6), "each by itself"

    def loss(shown: Vector) -> NDArray[np.float64]:
        margins = victim.margins(shown).astype(np.float64)[:, 0]
        return np.logaddexp(0, np.where(labels[:, 0] > 0, -margins, margins))

    step = np.float32(1e-3) * np.sign(gradient)
    slope = (loss(pixels + step) - loss(pixels - step)) / 2
    assert slope == pytest.approx((step * gradient).sum(axis=(1, 2, 3)), rel=0.08)
