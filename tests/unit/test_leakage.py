"""Obfuscations against their plain definitions, local training against Keras, what counts as a leak."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from commands.lab.leakage import preset_noise
from commands.lab.leakage_encryption import RoundOfHospitals
from fedward import settings as setting
from fedward.ciphertexts.plan import ERROR_DEVIATION
from fedward.labs.leakage.inversion import MATCHINGS, Inverter, Seen, ceiling, enlarging, read_rows
from fedward.labs.leakage.measures import classes_read, matched, names, positives_read
from fedward.labs.leakage.networks import (
    CLASSES,
    CNN,
    LENET,
    LENET_CLASSES,
    ROWS,
    LocalTraining,
    Tensors,
    labels_for,
    new_network,
    update,
    weights_of,
)
from fedward.labs.leakage.obfuscations import (
    NOISE_ONLY,
    PLAIN,
    Ciphertext,
    ClippedNoise,
    GaussianNoise,
    Obfuscation,
    OpenedSum,
    Qsgd,
    Sign,
    SumOf,
    TopK,
    UniformRounding,
    joined,
    kept_of,
    obfuscations,
    split,
)
from fedward.labs.leakage.plan import (
    FULL,
    HIDING,
    NULLS,
    PLANTED,
    QUICK,
    Case,
    all_cases,
    case_units,
)
from fedward.labs.leakage.summary import LEAK, PARTIAL, PASS, faults, judge, verdict_of
from fedward.labs.leakage.victims import Drawn, draw
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.types import ImageSet, Vector

SHAPES = ((5, 5, 1, 4), (4,), (37, 2), (1,))
SIZE = 16


def drawn_update(seed: int) -> Tensors:
    rng = np.random.default_rng(seed)
    return tuple((0.1 * rng.standard_normal(shape)).astype(np.float32) for shape in SHAPES)


def real_encryption() -> RoundOfHospitals:
    settings = setting.load()
    return RoundOfHospitals(settings.encryption, settings.privacy)


@functools.cache
def every() -> Mapping[str, Obfuscation]:
    """All obfuscations by name. Making them takes seconds, in which the presets' noise is found."""
    return obfuscations(real_encryption(), preset_noise())


NAMES = (PLAIN, *HIDING, NOISE_ONLY)


def test_all_obfuscations_are_tried() -> None:
    assert set(NAMES) == set(every())


@pytest.mark.parametrize("name", NAMES)
def test_every_obfuscation_keeps_shapes_and_repeats_itself(name: str) -> None:
    hide = every()[name]
    updates = [drawn_update(seed) for seed in range(hide.hospitals)]
    seen = hide(updates, np.random.default_rng(1))
    assert [tensor.shape for tensor in seen] == list(SHAPES)
    assert all(tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in seen)
    if name != "ckks":  # whose keys come from the operating system
        again = hide(updates, np.random.default_rng(1))
        assert all(np.array_equal(a, b) for a, b in zip(seen, again, strict=True))


@pytest.mark.parametrize("levels", [4, 16])
def test_qsgd_has_its_levels_and_no_bias(levels: int) -> None:
    (tensor, *_) = drawn_update(3)
    rng = np.random.default_rng(1)
    many = np.array([Qsgd(levels).of(tensor, rng) for _ in range(4_000)])
    steps = np.abs(many) / np.abs(tensor).max() * (levels - 1)
    assert np.allclose(steps, np.rint(steps), atol=1e-5)
    assert steps.max() == pytest.approx(levels - 1)
    error = np.abs(tensor).max() / (levels - 1) / 2 / 4_000**0.5  # the most that a mean of so many deviates by, once
    assert np.abs(many.mean(0) - tensor).max() < 5 * error


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_top_k_keeps_exactly_the_k_largest(share: float) -> None:
    for before, after in zip(drawn_update(1), TopK(share)([drawn_update(1)], np.random.default_rng(1)), strict=True):
        kept = after != 0
        assert kept.sum() == kept_of(before.size, share) == max(1, int(before.size * share))
        assert np.array_equal(after[kept], before[kept])
        assert kept.all() or np.abs(before[kept]).min() >= np.abs(before[~kept]).max()


def test_rounding_signs_and_noise_are_what_they_say() -> None:
    update = drawn_update(2)
    rng = np.random.default_rng(1)
    rounded = UniformRounding(16).of(update[0], rng)
    assert len(np.unique(rounded)) <= 16
    assert np.abs(rounded - update[0]).max() <= np.ptp(update[0]) / 15 / 2 * 1.001
    signs = Sign().of(update[0], rng)
    assert np.array_equal(np.sign(signs), np.sign(update[0]))
    assert np.abs(signs) == pytest.approx(np.abs(update[0]).mean())
    noise = np.array([GaussianNoise(0.5).of(update[2], rng) - update[2] for _ in range(400)])
    assert noise.std() == pytest.approx(0.5 * np.sqrt((update[2] ** 2).mean()), rel=0.03)


def test_clipping_bounds_the_norm_and_noise_has_its_deviation() -> None:
    large = tuple(100 * tensor for tensor in drawn_update(1))
    whole = joined(large).astype(np.float64)
    seen = np.array([joined(ClippedNoise(2.0, 0.25)([large], np.random.default_rng(n))) for n in range(800)])
    mean = seen.mean(0)
    assert np.linalg.norm(mean) == pytest.approx(2.0, rel=0.05)
    assert mean @ whole / np.linalg.norm(mean) / np.linalg.norm(whole) > 0.98, "along the update"
    assert (seen - mean).std() == pytest.approx(0.5, rel=0.02)


def test_presets_noise_is_that_of_their_epsilon() -> None:
    noise = preset_noise()
    strict, middle, loose = (noise[f"privacy-eps{epsilon}"] for epsilon in (1, 3, 8))
    assert strict[1] > 2 * middle[1] > 2 * loose[1] > 2
    assert noise["update-privacy"] == (1.0, 1.0)


def test_sums_through_the_real_encryption_are_sums_and_one_ciphertext_is_uniform() -> None:
    updates = [drawn_update(seed) for seed in range(3)]
    mean = joined(SumOf(3)(updates, np.random.default_rng(1)))
    assert mean == pytest.approx(np.mean([joined(each) for each in updates], 0), abs=1e-6)
    opened = joined(OpenedSum(real_encryption(), 3)(updates, np.random.default_rng(1)))
    step = np.abs(opened - mean).max()
    assert 0 < step < 1e-3, "what is opened is the sum, to the resolution of the layout"
    large = [tuple(np.full((9_000,), 0.9, np.float32) for _ in range(1))]
    seen = np.sort(joined(Ciphertext(real_encryption())(large, np.random.default_rng(1)))[:4_096])
    even = np.linspace(-1, 1, len(seen))
    assert np.abs(seen - even).max() < 0.06, "residues under a key are uniform, whatever is inside"
    assert float(ERROR_DEVIATION) < 10, "so that is not the errors' doing"


@pytest.mark.parametrize(("name", "steps"), [(LENET, 1), (LENET, 3), (CNN, 2)])
def test_an_unrolled_update_is_that_of_real_local_training(name: str, steps: int) -> None:
    network, rate = new_network(name, SIZE, 1), 0.1
    rng = np.random.default_rng(1)
    images, labels = rng.random((3, SIZE, SIZE, 1)).astype(np.float32), np.array([[0], [1], [1]], np.float32)
    before = weights_of(network)
    given = [tf.constant(weight) for weight in before], tf.constant(images), tf.constant(labels)
    told = update(network, *given, LocalTraining(steps, rate))
    network.compile(optimizer=keras.optimizers.SGD(rate), loss=keras.losses.BinaryCrossentropy(from_logits=True))
    for _ in range(steps):
        network.train_on_batch(images, labels)
    for tensor, old, new in zip(told, before, weights_of(network), strict=True):
        scale = max(float(np.abs(old - new).max()), 1e-6)
        assert np.abs(rate * tensor.numpy() - (old - new)).max() < 2e-3 * scale + 1e-7


def seen_of(name: str, images: Vector, labels: NDArray[np.float32]) -> tuple[object, Seen]:
    network = new_network(name, SIZE, 1)
    given = [tf.constant(each) for each in weights_of(network)], tf.constant(images), tf.constant(labels)
    values = tuple(each.numpy() for each in update(network, *given, LocalTraining(1, 0.1)))
    return network, Seen(weights_of(network), labels, values, sparse=False)


def smooth(seed: int, count: int) -> Vector:
    """Images that the latent can make."""
    return ceiling(np.random.default_rng(seed).random((count, SIZE, SIZE, 1)).astype(np.float32))


def test_the_attacker_finds_an_image_and_noise_gives_him_none() -> None:
    image, label = smooth(1, 1), np.ones((1, 1), np.float32)
    network, seen = seen_of(LENET, image, label)
    inverter = Inverter(network, SIZE, LocalTraining(1, 0.1))
    for matching in (MATCHINGS[0], MATCHINGS[3]):
        found, left = inverter(seen, matching, 100, np.random.default_rng(1))
        assert np.mean((found - image) ** 2) < 3e-3, matching.name
        assert left < 0.1
    noise = every()[NOISE_ONLY]([seen.values], np.random.default_rng(1))
    found, _ = inverter(Seen(seen.weights, label, noise, sparse=False), MATCHINGS[0], 40, np.random.default_rng(1))
    assert np.mean((found - image) ** 2) > 2e-2


def test_a_linear_first_layer_gives_its_image_away_exactly() -> None:
    image, label = np.random.default_rng(1).random((1, SIZE, SIZE, 1)).astype(np.float32), np.ones((1, 1), np.float32)
    _, seen = seen_of(ROWS, image, label)
    assert read_rows(seen, SIZE) == pytest.approx(image, abs=1e-4)
    _, seen = seen_of(LENET, image, label)
    assert read_rows(seen, SIZE) is None


def test_the_ceiling_is_what_the_latent_can_make() -> None:
    assert enlarging(SIZE).sum(1) == pytest.approx(1.0, abs=1e-5)
    images = smooth(2, 4)
    assert ceiling(images) == pytest.approx(images, abs=0.2)
    flat = np.full((1, SIZE, SIZE, 1), 0.3, np.float32)
    assert ceiling(flat) == pytest.approx(flat, abs=1e-5)


def images_of(labels: Sequence[int]) -> ImageSet:
    rng = np.random.default_rng(1)
    count = len(labels)
    return ImageSet(
        rng.integers(0, 256, (count, SIZE, SIZE), np.uint8),
        np.array(labels, np.float32)[:, None],
        np.array([f"p{number}" for number in range(count)]),
    )


def test_victims_are_looked_for_among_others_of_their_label() -> None:
    victims = images_of([0, 1] * 40)
    for seed in range(5):
        drawn = draw(victims, 4, 10, np.random.default_rng(seed))
        assert drawn.among == 10
        assert len(drawn.candidates) == 4 * 10
        assert drawn.true.sum() == 4
        whole = victims.pixels().reshape(80, -1)
        rows = [int(np.abs(whole - each.ravel()).sum(1).argmin()) for each in drawn.candidates]
        assert len(set(rows)) == 40, "different patients"
        positives = victims.labels[rows, 0]
        assert positives.sum() == 10 * drawn.labels.sum()
        assert np.array_equal(positives[:4], drawn.labels[:, 0])


def test_the_attacker_names_whom_he_found() -> None:
    drawn = draw(images_of([0, 1] * 40), 2, 20, np.random.default_rng(1))
    prior = np.full((1, SIZE, SIZE, 1), 0.5, np.float32)
    assert names(0.5 * drawn.images[1:] + 0.2, drawn, prior), "also in another brightness and contrast"
    assert not names(drawn.candidates[5:6], drawn, prior)
    hits = sum(
        names(np.random.default_rng(seed).random((3, SIZE, SIZE, 1)).astype(np.float32), drawn, prior)
        for seed in range(200)
    )
    assert hits < 25, "who found nothing is right once in twenty times"


def test_batches_are_put_in_the_order_of_their_originals() -> None:
    originals = np.random.default_rng(1).random((5, SIZE, SIZE, 1)).astype(np.float32)
    assert np.array_equal(matched(originals[[3, 1, 4, 0, 2]], originals), originals)


@pytest.mark.parametrize(("bias", "count", "positives"), [(0.5, 1, 0), (-0.5, 1, 1), (0.0, 4, 2), (-0.25, 4, 3)])
def test_labels_are_read_off_the_last_bias(bias: float, count: int, positives: int) -> None:
    assert positives_read(bias, 0.5, count) == positives


def test_classes_are_read_off_the_last_bias() -> None:
    images = np.random.default_rng(1).random((3, 16, 16, 1), dtype=np.float32)
    labels = labels_for(LENET_CLASSES, np.zeros((3, 1), np.float32))
    assert labels.shape == (3, CLASSES)
    assert labels.argmax(1).tolist() == [0, 1, 2]
    assert labels_for(LENET, labels[:, :1]).shape == (3, 1)
    other = np.roll(labels, 5, axis=1)
    network = new_network(LENET_CLASSES, 16, 1)
    seen = update(
        network,
        [tf.constant(each) for each in weights_of(network)],
        tf.constant(images),
        tf.constant(other),
        LocalTraining(1, 0.01),
    )
    assert set(classes_read(np.asarray(seen[-1]), 3)) == {5, 6, 7}


def test_what_counts_as_a_leak() -> None:
    nothing = {"psnr_db": 0.0, "ssim": 0.0}
    assert verdict_of(0.5, 0.5, nothing) == PASS
    assert verdict_of(0.5, 0.001, nothing) == PARTIAL
    assert verdict_of(0.001, 0.5, nothing) == LEAK
    assert verdict_of(0.5, 0.5, {"psnr_db": 3.1, "ssim": 0.0}) == LEAK
    assert verdict_of(0.5, 0.5, {"psnr_db": 0.0, "ssim": 0.11}) == LEAK
    assert verdict_of(0.5, 0.5, {"psnr_db": 0.0, "ssim": 0.18}, {"psnr_db": 1.6, "ssim": 0.10}) == LEAK
    assert verdict_of(0.5, 0.5, {"psnr_db": 0.0, "ssim": 0.18}, {"psnr_db": 1.6, "ssim": 0.19}) == PASS, (
        "what strangers' images are passed by as well is no image's own"
    )


def row_with(named_p: float, labels_p: float = 1.0) -> dict[str, Any]:
    nothing = {"psnr_db": 0.0, "ssim": 0.0}
    return {
        "model": LENET,
        "named": {"p": named_p},
        "labels_read": {"p": labels_p},
        "most_above_prior": nothing,
        "strangers_above_prior": nothing,
    }


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    judge(rows)
    return [row["verdict"] for row in rows]


def test_luck_in_one_of_many_rows_is_no_leak() -> None:
    """Two of nine named of a hundred happen by luck once in 300 rows."""
    lucky = 0.0034
    assert verdicts([row_with(lucky)]) == [LEAK]
    assert verdicts([row_with(lucky), *(row_with(1.0) for _ in range(35))]) == [PASS] * 36
    leaks = [row_with(1e-12) for _ in range(25)]
    assert verdicts([*leaks, row_with(lucky), *(row_with(1.0) for _ in range(10))]) == [LEAK] * 25 + [PASS] * 11
    assert (
        verdicts([row_with(1e-9) for _ in range(20)] + [row_with(1.0) for _ in range(16)]) == [LEAK] * 20 + [PASS] * 16
    )
    assert verdicts([row_with(1.0, 0.002) for _ in range(20)] + [row_with(1.0)]) == [PARTIAL] * 20 + [PASS]


@pytest.mark.parametrize("seed", range(3))
def test_few_tables_have_a_leak_by_luck(seed: int) -> None:
    """Oracle: guesses drawn as a guesser makes them, 300 tables of 13 rows beside 23 in which all is named."""
    rng = np.random.default_rng(seed)
    hits = rng.binomial(9, 0.01, (300, 13))
    chance = {count: binomtest(count, 9, 0.01, alternative="greater").pvalue for count in range(10)}
    leaks = [chance[9]] * 23
    wrong = [
        LEAK in verdicts([row_with(chance[int(count)]) for count in table] + [row_with(p) for p in leaks])[:13]
        for table in hits
    ]
    assert np.mean(wrong) <= 0.02


@pytest.mark.parametrize(
    ("case", "right", "wrong"), [(PLANTED, LEAK, PASS), *((null, PASS, LEAK) for null in NULLS)], ids=str
)
def test_a_lab_that_fails_one_of_its_controls_says_so(case: Case, right: str, wrong: str) -> None:
    row = dataclasses.asdict(case)
    assert faults([{**row, "verdict": right}]) == []
    assert len(faults([{**row, "verdict": wrong}])) == 1
    assert faults([{**row, "batch": 4, "verdict": wrong}]) == [], "another row is no control"


@pytest.mark.parametrize(
    ("case", "images", "steps"),
    [(Case(PLAIN), 1, 100), (Case(PLAIN, batch=4), 4, 300), (Case("sum-2"), 2, 300), (Case(PLAIN, CNN), 1, 800)],
)
def test_attackers_search_longer_where_it_is_harder(case: Case, images: int, steps: int) -> None:
    assert FULL.steps_for(case, images) == steps


@pytest.mark.parametrize("plan", [QUICK, FULL])
def test_plans_have_known_cases_and_enough_attempts(plan: object) -> None:
    assert plan in (QUICK, FULL)
    chosen = QUICK if plan is QUICK else FULL
    assert {case.obfuscation for case in all_cases(chosen)} <= set(every())
    assert len({unit.name for unit in case_units(chosen)}) == len(all_cases(chosen)) * len(chosen.seeds)
    assert chosen.victims * chosen.attempts * len(chosen.seeds) >= 20
    assert set(HIDING) <= set(every())


def test_a_vector_is_split_as_it_was_joined() -> None:
    update = drawn_update(1)
    assert all(np.array_equal(a, b) for a, b in zip(split(joined(update), update), update, strict=True))


def test_drawn_knows_which_are_true() -> None:
    images = np.zeros((2, SIZE, SIZE, 1), np.float32)
    assert Drawn(images, np.zeros((2, 1), np.float32), np.zeros((6, SIZE, SIZE, 1), np.float32), 3).true.sum() == 2
