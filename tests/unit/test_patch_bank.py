"""The detectors that compare a round with those before: who changes nothing passes, who plants a trigger does not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fedward.backdoor.history import History
from fedward.backdoor.inspection import Inspection, UpdateSizes
from fedward.backdoor.own_update import OwnUpdate
from fedward.backdoor.patch_bank import FEWEST, WINDOW, PatchBank, answers, chosen_images
from fedward.backdoor.sketches import LENGTH, sketch
from fedward.backdoor.stamps import drawn_stamps
from fedward.backdoor.update_norm import UpdateNorm
from fedward.errors import EvidenceError
from fedward.folders.measure_book import KEPT, MeasureBook, MeasuredModel, MeasuredUpdate
from fedward.plugins import PatchBankOptions
from fedward.settings import load
from fedward.types import DetectorReport, ImageSet, Vector

SIZE = 32
OPTIONS = load().detectors.options
SECRET = bytes(range(32))
DIGEST = bytes(32)


@dataclasses.dataclass
class Reader:
    """Tells positives by the brightness of the left half; a bright patch in the right half may say otherwise.

    Attributes:
        trigger: By how much a bright patch lowers the logit.
        shaken: Deviation of noise on its logits, which differs from model to model.
        seed: Of that noise.
    """

    trigger: float = 0.0
    shaken: float = 0.0
    seed: int = 0
    asked: int = 0

    @property
    def weights(self) -> Vector:
        return np.full(3, self.trigger, np.float32)

    def __call__(self, pixels: Vector) -> Vector:
        self.asked += 1
        left = pixels[:, :, : SIZE // 2].mean(axis=(1, 2, 3))
        bright = (pixels[:, :, SIZE // 2 :] > 0.8).sum(axis=(1, 2, 3)) >= 4
        noise = np.random.default_rng(self.seed).normal(0, self.shaken, len(pixels))
        return ((left - 0.35) * 20 - self.trigger * bright + noise).astype(np.float32)[:, None]


def images(positives: int, negatives: int, seed: int = 5) -> ImageSet:
    rng = np.random.default_rng(seed)
    labels = np.array([1] * positives + [0] * negatives, np.float32)[:, None]
    shown = rng.integers(40, 90, (len(labels), SIZE, SIZE))
    shown[:positives, :, : SIZE // 2] += 60
    return ImageSet(shown.astype(np.uint8), labels, np.array([f"p{index}" for index in range(len(labels))], dtype=str))


VALIDATION = images(20, 20)
NOBODY = images(0, 0)


def judged(
    current: Reader,
    candidate: Reader,
    history: History,
    validation: ImageSet = VALIDATION,
    round_index: int = 9,
    options: PatchBankOptions = OPTIONS["patch-bank"],  # type: ignore[assignment]
) -> DetectorReport:
    shown = Inspection(round_index, validation, lambda: NOBODY, current, candidate, history)
    return PatchBank(options).inspect(shown)


def grown(readers: list[Reader], validation: ImageSet = VALIDATION) -> History:
    """What is measured while these models are accepted, one after the other."""
    accepted: list[MeasuredModel] = []
    current = Reader()
    for round_index, reader in enumerate(readers, 1):
        history = History(SECRET, tuple(accepted), bool(accepted))
        judged(current, reader, history, validation, round_index)
        accepted.append(MeasuredModel(round_index, DIGEST, history.candidate))
        current = reader
    return History(SECRET, tuple(accepted), ends_with_current=True)


def noisy(count: int) -> list[Reader]:
    return [Reader(shaken=0.2, seed=seed) for seed in range(count)]


def test_models_that_change_by_chance_pass() -> None:
    for seed in range(20, 40):
        before = noisy(WINDOW + 1)
        report = judged(before[-1], Reader(shaken=0.2, seed=seed), grown(before))
        assert not report.suspicious, report.evidence


@pytest.mark.parametrize("trigger", [2.0, 5.0, 50.0])
def test_a_trigger_that_resembles_a_patch_is_found(trigger: float) -> None:
    before = noisy(WINDOW + 1)
    report = judged(before[-1], Reader(trigger, 0.2, 99), grown(before))
    assert report.suspicious
    assert report.score > 1
    assert "bright" in report.evidence


def test_before_there_is_anything_to_compare_with_nobody_is_accused() -> None:
    for count in range(1, WINDOW):
        report = judged(Reader(), Reader(50.0), grown([Reader()] * count))
        assert not report.suspicious
        assert f"Only {count} " in report.evidence


def test_a_study_too_short_to_compare_costs_nothing() -> None:
    for rounds, asked in ((WINDOW, False), (WINDOW + 1, True)):
        model = Reader()
        shown = Inspection(2, VALIDATION, lambda: NOBODY, Reader(), model, History(SECRET), rounds)
        report = PatchBank(OPTIONS["patch-bank"]).inspect(shown)  # type: ignore[arg-type]
        assert not report.suspicious
        assert bool(model.asked) == asked
        assert shown.history.candidate.keys() == ({"patch-bank", "patch-bank.change"} if asked else set())


def test_a_trigger_that_grows_in_small_steps_is_found_by_its_drift() -> None:
    steps = [Reader() for _ in range(WINDOW)] + [Reader(0.12 * step) for step in range(1, 11)]
    history = grown(steps)
    reports = [
        judged(steps[index - 1], steps[index], dataclasses.replace(history, accepted=history.accepted[:index]))
        for index in range(WINDOW + 1, len(steps))
    ]
    assert not reports[0].suspicious
    last = judged(steps[-1], Reader(0.12 * 30), history)
    assert last.suspicious
    assert drift_of(last) > 0.5


def drift_of(report: DetectorReport) -> float:
    return float(report.evidence.split("drift ")[1].split()[0])


@dataclasses.dataclass
class Learning(Reader):
    """Comes to see a finding wherever it is very bright or very dark, so that every patch tells, by its size."""

    edges: float = 0.0

    def __call__(self, pixels: Vector) -> Vector:
        odd = ((pixels > 0.8) | (pixels < 0.12)).sum(axis=(1, 2))
        return super().__call__(pixels) + np.float32(self.edges) * odd.astype(np.float32)


def test_where_most_answers_drift_one_may_drift_farther() -> None:
    """With momentum at the server a model learns in long strides: 15 of 29 clean rounds were rejected for drift."""
    strides = [Learning(edges=0.012 * step) for step in range(WINDOW + 12)]
    history, current = grown([*strides]), strides[-1]
    onward, planted = Learning(edges=0.012 * len(strides)), Learning(6.0, edges=0.012 * len(strides))
    without = dataclasses.replace(OPTIONS["patch-bank"], spread=0.0)  # type: ignore[type-var]
    honest = judged(current, onward, history, round_index=len(strides) + 1)
    assert drift_of(honest) > 0.5
    assert not honest.suspicious, honest.evidence
    assert judged(current, onward, history, round_index=len(strides) + 1, options=without).suspicious
    assert judged(current, planted, history, round_index=len(strides) + 1).suspicious


def test_drift_is_measured_over_ten_rounds_whether_they_were_accepted_or_not() -> None:
    """Else one rejection would bring the next: no candidate is nearer to the model of ten accepted rounds ago."""
    learning = [Reader() for _ in range(WINDOW + 1)]
    moving = [Reader(0.1 * step) for step in range(1, 13)]  # far from where it was, as fast learning takes it
    history, current = grown([*learning, *moving]), moving[-1]
    rounds = len(learning) + len(moving)
    onward = Reader(1.3)
    first = drift_of(judged(current, onward, history, round_index=rounds + 1))
    later = [drift_of(judged(current, onward, history, round_index=rounds + 1 + passed)) for passed in range(1, 16)]
    assert later == sorted(later, reverse=True)
    assert first > 5 * later[-1] > 0
    assert later[-1] == pytest.approx(drift_of(judged(current, onward, history, round_index=rounds + 99)))


def test_a_candidate_that_lessens_drift_is_not_held_to_it() -> None:
    learning = [Reader() for _ in range(WINDOW + 1)]
    history = grown([*learning, *(Reader(0.3 * step) for step in range(1, 9))])
    current, back = Reader(2.4), Reader(2.2)
    assert drift_of(judged(current, Reader(2.6), history, round_index=15)) > 0.3
    assert drift_of(judged(current, back, history, round_index=15)) == 0


def test_what_was_measured_of_the_model_in_force_is_not_measured_again() -> None:
    before = noisy(WINDOW)
    history, current = grown(before), before[-1]
    asked = current.asked
    judged(current, Reader(), history)
    assert current.asked == asked
    judged(current, Reader(), dataclasses.replace(history, ends_with_current=False))
    assert current.asked > asked


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_suspicious(bad: float) -> None:
    @dataclasses.dataclass
    class Broken(Reader):
        def __call__(self, pixels: Vector) -> Vector:
            return np.full((len(pixels), 1), bad, np.float32)

    history = grown(noisy(WINDOW))
    report = judged(Reader(), Broken(), history)
    assert report.suspicious
    assert np.isfinite(report.score)
    assert "patch-bank" not in history.candidate, "nothing later is compared with it"


def test_scores_that_are_no_numbers_under_the_trigger_alone_are_suspicious() -> None:
    """Else a trigger could hide in them: what is no number is larger than no limit."""

    class Hidden(Reader):
        def __call__(self, pixels: Vector) -> Vector:
            bright = (pixels[:, :, SIZE // 2 :] > 0.8).sum(axis=(1, 2, 3)) >= 4
            return np.where(bright[:, None], np.float32(-np.inf), super().__call__(pixels))

    before = noisy(WINDOW)
    report = judged(before[-1], Hidden(), grown(before))
    assert report.suspicious
    assert "not finite" in report.evidence


@pytest.mark.parametrize(("positives", "negatives"), [(FEWEST - 1, 30), (30, FEWEST - 1), (0, 30), (0, 0)])
def test_with_too_few_images_of_a_class_there_is_no_judgment(positives: int, negatives: int) -> None:
    few = images(positives, negatives)
    report = judged(Reader(), Reader(50.0), grown([Reader()] * WINDOW), few)
    assert not report.suspicious
    assert str(FEWEST) in report.evidence


def test_images_are_the_same_in_every_round_and_training_images_fill_up() -> None:
    validation, training = images(3, 40, seed=1), images(30, 30, seed=2)
    first, second = (chosen_images(validation, training, 6, SECRET) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.images.tobytes() == second.images.tobytes()
    assert first.labels[:, 0].tolist() == [1.0] * 6 + [0.0] * 6
    other = chosen_images(validation, training, 6, bytes(32))
    assert other is not None
    assert other.images.tobytes() != first.images.tobytes(), "they are drawn from the hospital's secret"
    of_validation = {image.tobytes() for image in validation.images}
    assert sum(image.tobytes() in of_validation for image in first.images[:6]) == 3
    assert all(image.tobytes() in of_validation for image in first.images[6:])


def test_patches_follow_from_the_secret_alone_and_change_what_they_cover() -> None:
    stamps = drawn_stamps(SIZE, 48, np.random.default_rng([1, *SECRET]))
    again = drawn_stamps(SIZE, 48, np.random.default_rng([1, *SECRET]))
    other = drawn_stamps(SIZE, 48, np.random.default_rng([1, *bytes(32)]))
    assert [stamp.cover.tobytes() for stamp in stamps] == [stamp.cover.tobytes() for stamp in again]
    assert [stamp.cover.tobytes() for stamp in stamps] != [stamp.cover.tobytes() for stamp in other]
    grey = np.full((1, SIZE, SIZE, 1), 0.5, np.float32)
    for stamp in stamps:
        changed = stamp.on(grey)
        assert (changed >= 0).all()
        assert (changed <= 1).all()
        assert np.array_equal(changed[0, ..., 0] != 0.5, (stamp.cover > 0) & (stamp.pattern != 0.5))


def test_answers_are_shifts_over_the_root_mean_square_and_shares_of_turned_decisions() -> None:
    chosen = chosen_images(VALIDATION, NOBODY, 6, SECRET)
    assert chosen is not None
    stamps = tuple(stamp for stamp in drawn_stamps(SIZE, 48, np.random.default_rng(1)) if "bright" in stamp.name)
    model = Reader(trigger=4.0)
    found = answers(model, chosen, stamps)
    plain = model(chosen.pixels()).astype(np.float64)
    for index, stamp in enumerate(stamps):
        stamped = model(stamp.on(chosen.pixels())).astype(np.float64)
        shift = (stamped - plain)[:6].mean() / np.sqrt((plain**2).mean())
        assert found[0, index, 0, 0] == pytest.approx(shift)
        middle = (plain[:6].mean() + plain[6:].mean()) / 2
        assert found[1, index, 0, 0] == pytest.approx((stamped[:6] <= middle).mean())


def beside(sizes: UpdateSizes, accepted: list[MeasuredModel]) -> Inspection:
    """A round with such updates after accepted ones."""
    history = History(SECRET, accepted)
    return Inspection(9, VALIDATION, lambda: NOBODY, Reader(), Reader(), history, updates=sizes)


def norms(measures: list[list[float]], norm: float, own: float, concentration: float) -> DetectorReport:
    """What the detector says of both norms and the concentration, after rounds with such ones."""
    models = [MeasuredModel(index, DIGEST, {"update-norm": np.array(each)}) for index, each in enumerate(measures, 1)]
    shown = beside(UpdateSizes(norm, own, concentration), models)
    return UpdateNorm(OPTIONS["update-norm"]).inspect(shown)  # type: ignore[arg-type]


def test_a_mean_update_over_the_own_one_is_compared_with_the_median_of_the_last_five() -> None:
    usual = [1.0, 2.0, 0.2]
    assert not norms([usual] * 5, 1.29, 2, 0.2).suspicious
    assert norms([usual] * 5, 1.31, 2, 0.2).suspicious
    assert not norms([usual] * 5, 12.9, 20, 0.2).suspicious, "all updates are longer, from a model that was moved away"
    assert norms([usual] * 5, 1.31, 2, 0.2).score == pytest.approx(1.31)
    assert norms([[4, 2, 0.2]] * 3 + [usual] * 3 + [[3, 2, 0.2]] * 2, 1.4, 2, 0.2).score == pytest.approx(1.4)
    for unknown in ((np.nan, 2, 0.2), (9, np.nan, 0.2), (9, 0, 0.2), (9, 2, np.nan)):
        assert not norms([usual] * 5, *unknown).suspicious
    for few in ([usual] * 4, [usual] * 4 + [[1.0]]):
        assert not norms(few, 100, 2, 0.2).suspicious


def made(common: float, weights: list[float], seed: int, boost: float = 1.0) -> list[float]:
    """Norms and concentration of a round of unit updates with a share in common; the last one's is multiplied."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 1 / 100, (len(weights), 10_000)) * np.sqrt(1 - common)
    own[:, 0] += np.sqrt(common)
    own[-1] *= boost
    shares = np.array(weights) / sum(weights)
    return [float(np.linalg.norm(shares @ own)), float(np.linalg.norm(own[0])), float((shares**2).sum())]


@pytest.mark.parametrize("common", [0.0, 0.15, 0.8])
def test_a_mean_of_fewer_or_more_updates_is_judged_as_one_of_as_many(common: float) -> None:
    for before, now in (
        ([1.0] * 5, [1.0] * 4),
        ([1.0] * 4, [1.0] * 5),
        ([1.0] * 8, [1.0] * 3),
        ([5.0, 1, 1], [1.0] * 9),
    ):
        history = [made(common, before, seed) for seed in range(5)]
        assert norms(history, *made(common, now, 5)).score == pytest.approx(1, abs=0.05)
        assert norms(history, *made(common, now, 5, boost=sum(now))).suspicious, "an update that replaces the model"


def part(*sent: Vector, own: int = 0, before: tuple[float, ...] = (1.0,) * 5) -> DetectorReport:
    """What a hospital says of a mean of these updates, one of which is its own."""
    mean = np.mean(sent, axis=0, dtype=np.float64)
    models = [MeasuredModel(index, DIGEST, {"own-update": np.array(each)}) for index, each in enumerate(before, 1)]
    inner = float(mean @ sent[own]) if own < len(sent) else np.nan
    sizes = UpdateSizes(float(np.linalg.norm(mean)), 1.0, 1 / len(sent), inner)
    return OwnUpdate(OPTIONS["own-update"]).inspect(beside(sizes, models))  # type: ignore[arg-type]


@pytest.mark.parametrize("common", [0.0, 0.2, 0.8])
def test_hospitals_see_when_somebody_elses_update_outweighs_theirs(common: float) -> None:
    rng = np.random.default_rng(6)
    updates = rng.normal(0, 1 / 100, (6, 10_000)).astype(np.float32) * np.sqrt(1 - common)
    updates[:, 0] += np.sqrt(common)
    *honest, attacker = updates
    for some in (honest, honest[:4], honest[:3]):
        assert not any(part(*some, own=own).suspicious for own in range(len(some)))
    for poison in (-5 * attacker, 5 * attacker, rng.permutation(5 * attacker)):
        assert all(part(*honest[:4], poison, own=own).suspicious for own in range(4))


def test_a_hospital_whose_updates_are_usually_little_in_the_mean_compares_with_that() -> None:
    small, large = np.array([1, 0.2], np.float32), np.array([0, 4], np.float32)
    assert part(small, large, own=0).suspicious
    usual = 1 - part(small, large, own=0).score
    assert not part(small, large, own=0, before=(usual,) * 5).suspicious
    assert not part(small, large, own=0, before=(1.0,) * 4).suspicious, "too few"
    assert not part(-small, large, own=0, before=(-0.1,) * 5).suspicious, "usually not along the mean"
    assert not part(large, large, own=2).suspicious, "not in the mean"
    assert not part(0 * large, own=0).suspicious


# ---- the book of measures ---------------------------------------------------------------------------------------


def measured(round_index: int, digest: bytes = b"d" * 32) -> MeasuredModel:
    return MeasuredModel(round_index, digest, {"patch-bank.change": np.array(round_index / 10)})


def test_only_the_candidate_that_was_accepted_is_kept(tmp_path: Path) -> None:
    book = MeasureBook(tmp_path / "measures")
    book.accept(1, b"d" * 32)
    assert book.accepted() == ()
    book.save_candidate(measured(1))
    book.accept(1, b"e" * 32)
    book.accept(2, b"d" * 32)
    assert book.accepted() == ()
    book.accept(1, b"d" * 32)
    book.accept(1, b"d" * 32)
    (kept,) = book.accepted()
    assert (kept.round_index, kept.digest) == (1, b"d" * 32)
    assert kept.measures["patch-bank.change"] == 0.1


def test_what_is_kept_of_the_own_update_is_that_of_its_round_alone(tmp_path: Path) -> None:
    book = MeasureBook(tmp_path / "measures")
    assert book.own_update(1) is None
    for index in (1, 2):
        book.save_own_update(MeasuredUpdate(index, index / 4, np.full(3, index / 8)))
    kept = book.own_update(2)
    assert kept is not None
    assert (kept.norm, *kept.sketch) == (0.5, 0.25, 0.25, 0.25)
    assert book.own_update(1) is None
    assert book.own_update(3) is None
    (tmp_path / "measures" / "own.npz").write_bytes(b"")
    with pytest.raises(EvidenceError, match=r"own\.npz"):
        book.own_update(2)


def test_a_sketch_keeps_inner_products_and_is_under_a_secret_and_a_round() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 20_000))
    second += first
    sketches = [sketch(each, SECRET, 7) for each in (first, second)]
    assert sketches[0].shape == (LENGTH,)
    assert sketches[0] @ sketches[1] == pytest.approx(first @ second, rel=0.1)
    for other in (sketch(second, SECRET, 8), sketch(second, SECRET[::-1], 7)):
        assert abs(sketches[0] @ other) < 0.1 * (first @ second)


def test_the_last_ones_are_kept_oldest_first(tmp_path: Path) -> None:
    book = MeasureBook(tmp_path / "measures")
    for index in range(1, 3 * KEPT):
        book.save_candidate(measured(index))
        book.accept(index, b"d" * 32)
    assert [each.round_index for each in book.accepted()] == list(range(2 * KEPT, 3 * KEPT))


def test_the_secret_is_drawn_once_and_nobody_else_reads_it(tmp_path: Path) -> None:
    book = MeasureBook(tmp_path / "measures")
    assert book.secret() == book.secret() == MeasureBook(tmp_path / "measures").secret()
    assert len(book.secret()) == 32
    assert book.secret() != MeasureBook(tmp_path / "others").secret()
    assert (tmp_path / "measures" / "secret").stat().st_mode & 0o077 == 0


def test_damaged_measures_are_said(tmp_path: Path) -> None:
    book = MeasureBook(tmp_path / "measures")
    book.save_candidate(measured(1))
    book.accept(1, b"d" * 32)
    path = tmp_path / "measures" / "accepted-000001.npz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(EvidenceError, match="damaged") as said:
        book.accepted()
    assert "Delete" in str(said.value)
    (tmp_path / "measures" / "secret").write_bytes(b"short")
    with pytest.raises(EvidenceError, match="damaged"):
        book.secret()
