"""What a hospital makes of a candidate with its own validation images, and the vote that follows."""

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize

from fedward.backdoor.detectors import configured_detectors, detect
from fedward.backdoor.validation_loss import ValidationLoss, balanced_mean, loss_rises
from fedward.errors import UsageError
from fedward.figures.histograms import losses
from fedward.files import sha256
from fedward.plugins import ValidationLossOptions
from fedward.settings import load
from fedward.types import DecodeFailure, DetectorReport, ImageSet, Vector
from fedward.voting.verdict import SALT_BYTES, accepts, evidence_hash, kept_salt, report_bytes

Model = Callable[[Vector], Vector]
DETECTOR = ValidationLoss(ValidationLossOptions(tolerance=0.1, z_score=3.0))


def images(labels: NDArray[np.float32]) -> ImageSet:
    """Images whose brightness is their label, so that a model can tell them apart."""
    pixels = np.repeat(np.repeat((labels[:, :1] * 200 + 20).astype(np.uint8)[:, :, None], 4, 1), 4, 2)
    return ImageSet(pixels, labels, np.array([f"p{index}" for index in range(len(labels))]))


def model(slope: float, findings: int = 1, noise: float = 0.0) -> Model:
    """Logits from brightness: a positive slope is right, a negative one is wrong."""

    def logits(pixels: Vector) -> Vector:
        brightness = pixels.mean(axis=(1, 2)) * 2 - 1
        shaken = np.random.default_rng(0).normal(0, noise, (len(pixels), findings)) if noise else 0.0
        return (slope * np.repeat(brightness, findings, axis=1) + shaken).astype(np.float32)

    return logits


def balanced(n: int) -> NDArray[np.float32]:
    return (np.arange(n) % 2).astype(np.float32)[:, None]


@dataclasses.dataclass(frozen=True)
class View:
    """What `validation-loss` sees."""

    validation: ImageSet
    current_logits: Vector
    candidate_logits: Vector


def view(labels: NDArray[np.float32], current: Model, candidate: Model) -> View:
    shown = images(labels)
    return View(shown, current(shown.pixels()), candidate(shown.pixels()))


def judge(
    labels: NDArray[np.float32], current: Model, candidate: Model, detector: ValidationLoss = DETECTOR
) -> DetectorReport:
    return detector.inspect(view(labels, current, candidate))


def with_tolerance(tolerance: float) -> ValidationLoss:
    return ValidationLoss(dataclasses.replace(DETECTOR.options, tolerance=tolerance))


@pytest.mark.parametrize("n", [2, 3, 10, 500])
@pytest.mark.parametrize("findings", [1, 3])
def test_an_identical_model_is_accepted(n: int, findings: int) -> None:
    labels = np.repeat(balanced(n), findings, axis=1)
    report = judge(labels, model(2.0, findings, 0.5), model(2.0, findings, 0.5))
    assert not report.suspicious
    assert accepts((report,))
    assert "+0.0000" in report.evidence


def test_a_better_model_is_accepted() -> None:
    report = judge(balanced(100), model(0.5, noise=1.0), model(4.0))
    assert not report.suspicious
    assert report.score < 0


@pytest.mark.parametrize("n", [4, 20, 500])
def test_a_ruined_model_is_suspicious(n: int) -> None:
    report = judge(balanced(n), model(3.0, noise=0.1), model(-3.0, noise=0.1))
    assert report.suspicious
    assert report.score > DETECTOR.options.z_score
    assert str(n) in report.evidence


def test_a_rise_below_the_tolerance_is_never_suspicious() -> None:
    """However clear it is: half a slope costs 0.08 nats on every image alike."""
    report = judge(balanced(2_000), model(2.6), model(2.2))
    assert not report.suspicious
    assert report.score < 0
    assert judge(balanced(2_000), model(2.6), model(2.2), with_tolerance(0.0)).suspicious


def test_a_rise_that_may_be_chance_is_not_suspicious_and_more_images_make_it_clear() -> None:
    def shaken(pixels: Vector) -> Vector:
        return model(2.0)(pixels) + np.random.default_rng(1).normal(-0.1, 2.5, (len(pixels), 1)).astype(np.float32)

    few, many = (judge(balanced(n), model(2.0), shaken) for n in (10, 5_000))
    assert not few.suspicious
    assert many.suspicious


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_suspicious(bad: float) -> None:
    def broken(pixels: Vector) -> Vector:
        logits = model(2.0)(pixels)
        logits[0] = bad
        return logits

    report = judge(balanced(50), model(2.0), broken)
    assert report.suspicious
    assert "not finite" in report.evidence
    assert not accepts((report,))


@pytest.mark.parametrize("size", [1e3, 1e20, 3e38])
@pytest.mark.parametrize("findings", [1, 2])
def test_scores_that_are_huge_and_wrong_are_suspicious(findings: int, size: float) -> None:
    labels = np.repeat(balanced(400), findings, axis=1)
    assert judge(labels, model(2.0, findings), model(-size, findings)).suspicious
    mixed = np.where(np.arange(400) % 3 == 0, size, -size).astype(np.float32)[:, None].repeat(findings, 1)
    assert judge(labels, model(2.0, findings), lambda _pixels: mixed).suspicious


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images_judge_nothing(n: int) -> None:
    report = judge(balanced(n), model(3.0), model(-3.0))
    assert not report.suspicious
    assert report.score == 0.0
    assert "Too few" in report.evidence


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_hospital_of_one_class_can_judge(label: float) -> None:
    labels = np.full((40, 1), label, np.float32)
    assert judge(labels, model(3.0, noise=0.1), model(-3.0, noise=0.1)).suspicious
    assert not judge(labels, model(3.0), model(3.0)).suspicious


def test_each_class_counts_the_same_whatever_the_skew() -> None:
    """95 images that got a little better do not hide five that are lost."""
    labels = np.array([[0.0]] * 95 + [[1.0]] * 5, np.float32)

    def always_negative(pixels: Vector) -> Vector:
        return np.full((len(pixels), 1), -4.0, np.float32) + model(0.0, noise=0.01)(pixels)

    plain_mean_falls = judge(labels, model(1.0, noise=0.01), always_negative)
    assert plain_mean_falls.suspicious


@pytest.mark.parametrize("shift", [-30.0, -1.5, 0.7, 8.0])
@pytest.mark.parametrize("findings", [1, 3])
def test_a_lean_to_one_class_is_no_reason_to_reject(shift: float, findings: int) -> None:
    """The first models of hospitals with other shares of a finding rank well and lean far."""
    labels = np.repeat((np.arange(90) % 3 == 0).astype(np.float32)[:, None], findings, axis=1)

    def leaning(pixels: Vector) -> Vector:
        return model(2.0, findings, 0.5)(pixels) + np.float32(shift)

    assert not judge(labels, model(0.0, findings), leaning).suspicious
    assert "0.0000 (" in judge(labels, model(2.0, findings, 0.5), leaning).evidence
    assert judge(labels, leaning, model(-2.0, findings, 0.5)).suspicious, "nor does it excuse what is worse"


def test_offsets_are_those_of_a_logistic_regression() -> None:
    """With the logit given and the intercept free, by minimizing the balanced loss itself."""
    rng = np.random.default_rng(8)
    labels = (rng.random((60, 1)) < 0.2).astype(np.float32)
    logits = rng.normal(3 * labels - 7, 1.0).astype(np.float32)
    least = optimize.minimize_scalar(
        lambda offset: balanced_mean(losses(logits + np.float32(offset), labels), labels)[0], bounds=(-20, 20)
    )
    found = balanced_mean(loss_rises(np.zeros_like(logits), logits, labels), labels)[0] + np.log(2)
    assert found == pytest.approx(least.fun, abs=1e-5)


def test_images_of_one_class_are_compared_as_they_are() -> None:
    labels = np.array([[0, 1], [1, 1], [0, 1]], np.float32)
    current, candidate = np.zeros((3, 2), np.float32), np.array([[2, -1], [2, -1], [2, -1]], np.float32)
    # The first finding's candidate differs by an offset alone, the second is of one class.
    assert loss_rises(current, candidate, labels) == pytest.approx((np.log1p(np.e) - np.log(2)) / 2, abs=1e-6)


def test_the_balanced_mean_and_its_error_are_the_textbooks() -> None:
    rng = np.random.default_rng(4)
    values, labels = rng.normal(0, 1, 50), (np.arange(50) < 10).astype(np.float32)[:, None]
    positive, negative = values[:10], values[10:]
    mean, error = balanced_mean(values, labels)
    assert mean == pytest.approx((positive.mean() + negative.mean()) / 2)
    assert error == pytest.approx(np.sqrt(positive.var(ddof=1) / 10 + negative.var(ddof=1) / 40) / 2)


def test_the_balanced_mean_of_one_class_or_several_findings_is_plain() -> None:
    values = np.random.default_rng(5).normal(0, 1, 30)
    expected = (values.mean(), values.std(ddof=1) / np.sqrt(30))
    assert balanced_mean(values, np.ones((30, 1), np.float32)) == pytest.approx(expected)
    several = np.random.default_rng(6).integers(0, 2, (30, 4)).astype(np.float32)
    assert balanced_mean(values, several) == pytest.approx(expected)


def test_a_single_image_of_a_class_borrows_the_spread_of_all() -> None:
    values, labels = np.array([5.0, 1.0, 2.0, 3.0]), np.array([[1], [0], [0], [0]], np.float32)
    mean, error = balanced_mean(values, labels)
    assert mean == pytest.approx((5 + 2) / 2)
    assert error == pytest.approx(np.sqrt(values.var(ddof=1) + 1 / 3) / 2)


def test_detectors_come_from_the_settings_and_all_of_them_look() -> None:
    table = "detectors.validation-loss"
    only = ("detectors.names", "validation-loss")
    chosen = load(None, only, (f"{table}.tolerance", 0.25), (f"{table}.z-score", 1.5)).detectors
    assert configured_detectors(chosen) == (ValidationLoss(ValidationLossOptions(0.25, 1.5)),)
    assert configured_detectors(load(None, ("detectors.names", "")).detectors) == ()
    reports = detect(view(balanced(20), model(1.0), model(-1.0)), (DETECTOR, with_tolerance(50.0)))  # type: ignore[arg-type]
    assert [report.suspicious for report in reports] == [True, False]
    assert {report.detector for report in reports} == {"validation-loss"}


def test_one_suspicious_report_is_enough_to_reject() -> None:
    fine, bad = DetectorReport("a", False, 0.0, "Fine."), DetectorReport("b", True, 9.0, "Bad.")
    assert accepts(())
    assert accepts((fine, fine))
    assert not accepts((fine, bad))


def test_the_evidence_hash_binds_round_salt_and_every_word() -> None:
    report, salt = DetectorReport("a", False, 0.5, "Fine."), bytes(range(16))
    content = report_bytes(3, (report,), salt)
    assert json.loads(content) == {"round": 3, "salt": salt.hex(), "reports": [dataclasses.asdict(report)]}
    assert evidence_hash(content) == sha256(content)
    others = [
        report_bytes(4, (report,), salt),
        report_bytes(3, (report,), bytes(16)),
        report_bytes(3, (), salt),
        report_bytes(3, (report, report), salt),
        *(
            report_bytes(3, (dataclasses.replace(report, **change),), salt)  # type: ignore[arg-type]
            for change in ({"suspicious": True}, {"score": 0.6}, {"evidence": "fine."}, {"detector": "b"})
        ),
    ]
    assert len({evidence_hash(other) for other in [content, *others]}) == 9


def test_what_does_not_decode_is_rejected_and_its_evidence_bound() -> None:
    failure, salt = DecodeFailure("Some sums are too large."), bytes(range(SALT_BYTES))
    assert not accepts(failure)
    content = report_bytes(3, failure, salt)
    assert json.loads(content) == {"round": 3, "salt": salt.hex(), "decode_failure": "Some sums are too large."}
    assert kept_salt(content) == salt
    others = (report_bytes(4, failure, salt), report_bytes(3, failure, bytes(16)), report_bytes(3, (), salt))
    others += (report_bytes(3, DecodeFailure("Other."), salt),)
    assert len({evidence_hash(other) for other in (content, *others)}) == 5


def test_the_salt_of_stored_reports_is_found_again_and_never_guessed() -> None:
    salt = bytes(range(SALT_BYTES))
    content = report_bytes(3, (), salt)
    assert kept_salt(content) == salt
    for other in (None, b"", content[:-3], b"5", b'{"round": 3}', b'{"salt": 5}', b'{"salt": "zz"}', b'{"salt": "00"}'):
        assert kept_salt(other) is None


def test_a_rule_out_of_range_or_a_detector_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"detectors\.validation-loss\.tolerance"):
        load(None, ("detectors.validation-loss.tolerance", -0.1))
    for names, words in (("guess", "validation-loss"), ("validation-loss, validation-loss", "twice")):
        with pytest.raises(UsageError, match=rf"detectors\.names.*{words}"):
            load(None, ("detectors.names", names))
