"""Detectors to choose beside the default ones: each lets chance pass, and finds what it is for."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor

from fedward.backdoor.feedback import FEWEST_CHANGES, Feedback, class_errors, outlier_factor
from fedward.backdoor.guided_patches import GuidedPatches, guided_stamps
from fedward.backdoor.history import History
from fedward.backdoor.inspection import Inspection
from fedward.backdoor.patch_bank import WINDOW
from fedward.backdoor.trigger_inversion import TURNED, TriggerInversion, reversed_trigger, trigger_sizes
from fedward.folders.measure_book import MeasuredModel
from fedward.settings import load
from fedward.types import DetectorReport, ImageSet, Vector

SIZE = 24
OPTIONS = load().detectors.options
FEEDBACK = Feedback(OPTIONS["feedback"])  # type: ignore[arg-type]
GUIDED = GuidedPatches(OPTIONS["guided-patches"])  # type: ignore[arg-type]
INVERSION = TriggerInversion(OPTIONS["trigger-inversion"])  # type: ignore[arg-type]
CORNER = (slice(2, 6), slice(16, 20))  # where the planted trigger is


@dataclasses.dataclass
class Linear:
    """Tells positives by the brightness of the left half; brightness in a corner on the right may say otherwise.

    Attributes:
        trigger: By how much a white corner lowers the logit.
        shaken: Deviation of noise on its weights, which differs from model to model.
        seed: Of that noise.
    """

    trigger: float = 0.0
    shaken: float = 0.0
    seed: int = 0

    @property
    def weights(self) -> Vector:
        field = np.zeros((SIZE, SIZE))
        field[:, : SIZE // 2] = 40 / SIZE**2
        field[CORNER] -= self.trigger / 16
        noise = np.random.default_rng(self.seed).normal(0, self.shaken, (SIZE, SIZE))
        return (field + noise).astype(np.float32)

    def __call__(self, pixels: Vector) -> Vector:
        offset = 20 * 0.35 - self.trigger * 0.3  # a grey corner changes nothing
        return (np.tensordot(pixels[..., 0], self.weights, 2) - offset).astype(np.float32)[:, None]

    def gradient(self, pixels: Vector, labels: Vector) -> Vector:
        slope = 1 / (1 + np.exp(-self(pixels))) - labels
        return (slope[:, None, None] * self.weights[None, ..., None]).astype(np.float32)


def images(positives: int, negatives: int) -> ImageSet:
    rng = np.random.default_rng(5)
    labels = np.array([1] * positives + [0] * negatives, np.float32)[:, None]
    shown = rng.integers(60, 90, (len(labels), SIZE, SIZE))
    shown[:positives, :, : SIZE // 2] += 60
    return ImageSet(shown.astype(np.uint8), labels, np.array([f"p{index}" for index in range(len(labels))], dtype=str))


VALIDATION, NOBODY = images(20, 20), images(0, 0)
Detects = Feedback | GuidedPatches | TriggerInversion


def judged(
    detector: Detects, current: Linear, candidate: Linear, history: History, validation: ImageSet = VALIDATION
) -> DetectorReport:
    return detector.inspect(Inspection(40, validation, lambda: NOBODY, current, candidate, history))


def grown(detector: Detects, models: list[Linear], validation: ImageSet = VALIDATION) -> History:
    """What is measured while these models are accepted, one after the other."""
    accepted: list[MeasuredModel] = []
    current = Linear()
    for round_index, model in enumerate(models, 1):
        history = History(bytes(32), tuple(accepted), bool(accepted))
        judged(detector, current, model, history, validation)
        accepted.append(MeasuredModel(round_index, bytes(32), history.candidate))
        current = model
    return History(bytes(32), tuple(accepted), ends_with_current=True)


def shaken(count: int, first: int = 0) -> list[Linear]:
    return [Linear(shaken=0.002, seed=seed) for seed in range(first, first + count)]


@pytest.mark.parametrize("detector", [GUIDED, INVERSION], ids=lambda each: each.name)
def test_what_changes_by_chance_passes_and_a_planted_trigger_does_not(detector: Detects) -> None:
    before = shaken(WINDOW + 1)
    history = grown(detector, before)
    for clean in shaken(5, first=50):
        report = judged(detector, before[-1], clean, history)
        assert not report.suspicious, report.evidence
    report = judged(detector, before[-1], Linear(8.0, 0.002, 99), history)
    assert report.suspicious
    assert report.score > 1


@pytest.mark.parametrize("detector", [GUIDED, INVERSION], ids=lambda each: each.name)
def test_nobody_is_accused_without_rounds_or_images_to_compare_with(detector: Detects) -> None:
    planted = Linear(8.0)
    assert not judged(detector, Linear(), planted, grown(detector, shaken(WINDOW - 1))).suspicious
    history = grown(detector, shaken(WINDOW + 1))
    for few in (NOBODY, images(5, 20), images(20, 0)):
        assert not judged(detector, Linear(), planted, history, few).suspicious
    short = Inspection(3, VALIDATION, lambda: NOBODY, Linear(), planted, history, rounds=WINDOW)
    assert not detector.inspect(short).suspicious


@pytest.mark.parametrize("detector", [FEEDBACK, GUIDED, INVERSION], ids=lambda each: each.name)
def test_scores_that_are_no_numbers_are_suspicious(detector: Detects) -> None:
    report = judged(detector, Linear(), Linear(shaken=float("nan")), History())
    assert report.suspicious
    assert "finite" in report.evidence


def test_guided_patches_lie_where_the_trigger_is_and_apart() -> None:
    stamps = guided_stamps(Linear(8.0), VALIDATION, places=2)
    assert stamps is not None
    assert ["bright" in stamp.name for stamp in stamps] == [True, True, False, False], "the corner hides the finding"
    assert all(stamp.cover[CORNER].any() for stamp in (stamps[0], stamps[2]))
    assert not (stamps[0].cover * stamps[1].cover).any()
    assert not (stamps[2].cover * stamps[3].cover).any()


def test_a_reversed_trigger_turns_what_it_should_and_is_where_the_trigger_is() -> None:
    found = reversed_trigger(Linear(8.0), VALIDATION, 0, present=True, steps=60)
    plain, stamped = (Linear(8.0)(given) for given in (VALIDATION.pixels(), found.stamp.on(VALIDATION.pixels()[:20])))
    assert (stamped < (plain[:20].mean() + plain[20:].mean()) / 2).mean() >= TURNED
    inside = float(found.stamp.cover[CORNER].sum()) / 16
    outside = np.ones((SIZE, SIZE), bool)
    outside[CORNER] = False
    assert inside > 5 * float(found.stamp.cover[outside].mean())
    planted, clean = (trigger_sizes(model, VALIDATION, 60)[0, 0] for model in (Linear(8.0), Linear()))
    assert planted < 0.5 * clean


def test_what_no_pattern_turns_has_the_size_of_the_image() -> None:
    @dataclasses.dataclass
    class Stubborn(Linear):
        def __call__(self, pixels: Vector) -> Vector:
            return np.full((len(pixels), 1), 9.0, np.float32)

    assert trigger_sizes(Stubborn(), VALIDATION, 12)[0, 0] == SIZE * SIZE


def test_a_finding_that_no_image_has_turns_by_nothing() -> None:
    @dataclasses.dataclass
    class Two(Linear):
        def __call__(self, pixels: Vector) -> Vector:
            return np.repeat(super().__call__(pixels), 2, axis=1)

        def gradient(self, pixels: Vector, labels: Vector) -> Vector:
            return super().gradient(pixels, labels[:, :1])

    labels = np.concatenate([VALIDATION.labels, np.zeros_like(VALIDATION.labels)], axis=1)
    sizes = trigger_sizes(Two(8.0), dataclasses.replace(VALIDATION, labels=labels), 60)
    assert sizes[0, 0] < SIZE
    assert sizes[1].tolist() == [SIZE * SIZE] * 2


def test_scores_that_are_no_numbers_once_a_patch_is_on_are_suspicious() -> None:
    """The gradient at images as they are does not show it."""

    @dataclasses.dataclass
    class Hiding(Linear):
        def __call__(self, pixels: Vector) -> Vector:
            logits = super().__call__(pixels)
            logits[(pixels >= 0.99).any(axis=(1, 2, 3))] = np.nan
            return logits

    report = judged(GUIDED, Linear(), Hiding(8.0), grown(GUIDED, shaken(WINDOW + 1)))
    assert report.suspicious
    assert "finite" in report.evidence


# ---- feedback ---------------------------------------------------------------------------------------------------


def test_the_outlier_factor_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    for neighbours in (3, 10):
        crowd = rng.normal(0, 1, (20, 4))
        for point in (crowd.mean(axis=0), rng.normal(0, 1, 4), np.full(4, 6.0)):
            oracle = LocalOutlierFactor(n_neighbors=neighbours, novelty=True).fit(crowd)
            assert outlier_factor(point, crowd, neighbours) == pytest.approx(-oracle.score_samples([point])[0])


def test_less_than_one_image_is_no_outlier() -> None:
    still = np.zeros((20, 2))
    assert outlier_factor(np.array([0.01, 0.0]), still, 10, floor=0.01) == 1.0
    assert outlier_factor(np.array([0.2, 0.0]), still, 10, floor=0.01) == pytest.approx(20.0)


def test_errors_by_class_are_counted_over_all_images() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0], np.float32)[:, None]
    logits = np.array([4, 4, -4, -4, -4, -4], np.float32)[:, None]  # one finding is missed, whatever the offset
    assert class_errors(logits, labels).tolist() == pytest.approx([1 / 6, 0.0])


def decided(errors: int) -> Callable[[Vector], Vector]:
    """A model that misses the first findings, by brightness of the left half."""

    def logits(pixels: Vector) -> Vector:
        sure = Linear()(pixels) * 10
        sure[:errors] *= -1
        return sure

    return logits


@dataclasses.dataclass
class Missing(Linear):
    """Misses so many findings of the validation images."""

    errors: int = 0

    def __call__(self, pixels: Vector) -> Vector:
        return decided(self.errors)(pixels)


def test_a_change_of_errors_like_those_before_passes_and_another_does_not() -> None:
    usual = [Missing(errors=seed % 3) for seed in range(FEWEST_CHANGES + 6)]
    history = grown(FEEDBACK, list(usual))
    assert not judged(FEEDBACK, usual[-1], Missing(errors=usual[-1].errors + 1), history).suspicious
    report = judged(FEEDBACK, usual[-1], Missing(errors=9), history)
    assert report.suspicious
    assert report.score > 1
    too_few = grown(FEEDBACK, list(usual[:FEWEST_CHANGES]))
    assert not judged(FEEDBACK, usual[0], Missing(errors=9), too_few).suspicious
