"""Privacy: the bound, the noise, its price, and a record that forgets nothing."""

import dataclasses
import json
from pathlib import Path

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from scipy import stats

from fedward import settings as setting
from fedward.errors import BudgetError, DataError
from fedward.privacy.accounting import PrivacyLedger, epsilon
from fedward.privacy.mechanism import clip, expected_event, privatize
from fedward.settings import PrivacySettings
from fedward.types import ModelUpdate, PrivacyEvent, SampledUpdate

NONE = setting.load().privacy
UPDATE = dataclasses.replace(NONE, mode="update", clip_norm=0.7, noise_multiplier=1.3)
SAMPLE = dataclasses.replace(UPDATE, mode="sample", sampling_rate=0.5)
BAD = [np.nan, np.inf, -np.inf]
LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def update(delta: np.ndarray) -> ModelUpdate:
    return ModelUpdate(delta.astype(np.float32), 10, 0.5)


ADVERSARIAL = {
    "zero": np.zeros(100),
    "smallest": np.full(1_000, SMALLEST),
    "largest": np.full(1_000, LARGEST),
    "one spike": np.eye(1, 1_000)[0] * LARGEST,
    "huge and tiny": np.array([LARGEST, SMALLEST, -LARGEST, 1.0]),
    "many": np.random.default_rng(0).normal(0, 1, 200_000),
    "just above": np.array([np.nextafter(np.float32(0.7), np.float32(1))]),
    "thirds": np.full(7, 1 / 3),
    "empty": np.zeros(0),
}


@pytest.mark.parametrize("clip_norm", [1e-9, 0.7, 1.0, 1e6])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_no_vector_is_longer_than_the_clip_norm(name: str, clip_norm: float) -> None:
    clipped = clip(ADVERSARIAL[name].astype(np.float32), clip_norm)
    assert clipped.dtype == np.float64
    assert np.linalg.norm(clipped.astype(np.longdouble)) <= clip_norm


@pytest.mark.parametrize("name", sorted(set(ADVERSARIAL) - {"zero", "empty"}))
def test_clipping_keeps_the_direction_and_leaves_short_vectors_alone(name: str) -> None:
    delta = ADVERSARIAL[name].astype(np.float32)
    clipped, wide = clip(delta, 1.0), delta.astype(np.float64)
    norm = float(np.linalg.norm(wide))
    np.testing.assert_allclose(clipped, wide / max(norm, 1.0), rtol=1e-9)
    if norm <= 1.0:
        assert np.array_equal(clipped, wide)


def test_the_noise_is_gaussian_of_the_promised_deviation() -> None:
    """Kolmogorov and Smirnov, on a million coordinates of a generator that a test may fix."""
    delta = np.random.default_rng(1).normal(0, 1, 1_000_000).astype(np.float32)
    private = privatize(update(delta), UPDATE, np.random.default_rng(2).bytes)
    noise = private.delta - clip(delta, UPDATE.clip_norm)
    deviation = UPDATE.noise_multiplier * UPDATE.clip_norm
    assert stats.kstest(noise / deviation, "norm").pvalue > 0.01
    assert noise.std() == pytest.approx(deviation, rel=0.005)
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.005
    assert private.delta.dtype == np.float32
    assert private.event == PrivacyEvent("update", "hospital", 1.0, 1.3, 1, 0.7, 1e-5)


@pytest.mark.parametrize("coordinates", range(1_000_000, 1_000_008))
def test_an_update_is_no_longer_than_the_clip_norm_after_rounding_to_the_grid_either(coordinates: int) -> None:
    """Of bytes that are all ones the noise is zero: what is left is the update as it was clipped and rounded."""
    private = privatize(update(np.full(coordinates, 5.0)), UPDATE, lambda size: b"\xff" * size)
    assert np.linalg.norm(private.delta.astype(np.longdouble)) <= UPDATE.clip_norm * (1 + 1e-8)  # float32 rounds last
    assert np.linalg.norm(private.delta.astype(np.longdouble)) == pytest.approx(UPDATE.clip_norm, rel=1e-3)


def test_every_coordinate_has_noise_also_where_nothing_changed() -> None:
    private = privatize(update(np.zeros(10_000)), UPDATE)
    assert np.count_nonzero(private.delta) == 10_000
    assert len(np.unique(private.delta)) > 9_900


def test_without_a_generator_the_noise_never_repeats() -> None:
    first, second = (privatize(update(np.zeros(64)), UPDATE).delta for _ in "ab")
    assert not np.isclose(first, second).any()


def test_mode_none_changes_nothing_and_says_so() -> None:
    delta = np.random.default_rng(3).normal(0, 9, 100)
    private = privatize(update(delta), NONE)
    assert private.delta.tobytes() == delta.astype(np.float32).tobytes()
    assert private.event == expected_event(NONE)
    assert (private.event.mode, private.event.noise_multiplier, private.event.clip_norm) == ("none", 0.0, 0.0)


@pytest.mark.parametrize("settings", [NONE, SAMPLE], ids=["none", "sample"])
@pytest.mark.parametrize("bad", BAD)
def test_an_update_that_is_no_number_does_not_leave(settings: PrivacySettings, bad: float) -> None:
    trained = update(np.array([0.0, bad]))
    sampled = SampledUpdate(trained.delta, expected_event(settings))
    with pytest.raises(DataError, match="learning-rate"):
        privatize(sampled if settings.mode == "sample" else trained, settings)


@pytest.mark.parametrize("bad", BAD)
def test_in_mode_update_an_update_that_is_no_number_looks_like_any_other(bad: float) -> None:
    """The same noise gives the same bytes as an update of zeros: whether training failed does not show."""
    delta = np.full(1_000, 5.0)
    delta[7] = bad
    noise = [np.random.default_rng(4).bytes for _ in "ab"]
    private = privatize(update(delta), UPDATE, noise[0])
    assert private.delta.tobytes() == privatize(update(np.zeros(1_000)), UPDATE, noise[1]).delta.tobytes()
    assert np.count_nonzero(private.delta) == 1_000
    assert private.event == expected_event(UPDATE)


# ---- the price --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("multiplier", [1.5, 4.0])
@pytest.mark.parametrize("rounds", [1, 5, 40])
def test_epsilon_is_dp_accountings_own(multiplier: float, rounds: int) -> None:
    settings = dataclasses.replace(UPDATE, noise_multiplier=multiplier)
    theirs = []
    for accountant in (RdpAccountant(), PLDAccountant()):
        accountant.compose(dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(multiplier), rounds))
        theirs.append(accountant.get_epsilon(1e-5))
    assert epsilon([expected_event(settings)] * rounds) == pytest.approx(min(theirs), rel=1e-12)


def test_a_sampled_release_is_accounted_as_poisson_sampled() -> None:
    event = PrivacyEvent("sample", "image", 0.01, 1.1, 300, 1.0, 1e-5)
    theirs = []
    for accountant in (RdpAccountant(), PLDAccountant()):
        accountant.compose(dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(1.1)), 300)
        theirs.append(accountant.get_epsilon(1e-5))
    assert epsilon([event]) == pytest.approx(min(theirs), rel=1e-12)
    assert epsilon([event]) < 0.2 * epsilon([dataclasses.replace(event, sampling_rate=1.0)])  # type: ignore[operator]


def test_epsilon_is_at_least_the_gaussian_mechanisms_exact_one() -> None:
    """Balle and Wang 2018: the accountant may only overstate."""
    exact = stats.norm
    multiplier, delta = 2.0, 1e-5
    stated = epsilon([dataclasses.replace(expected_event(UPDATE), noise_multiplier=multiplier)])
    assert stated is not None

    def delta_at(value: float) -> float:
        low, high = 1 / (2 * multiplier) - value * multiplier, -1 / (2 * multiplier) - value * multiplier
        return float(exact.cdf(low) - np.exp(value) * exact.cdf(high))

    assert delta_at(stated) <= delta
    assert delta_at(0.7 * stated) > delta


@pytest.mark.slow
def test_epsilon_grows_with_rounds_and_falls_with_noise() -> None:
    event = expected_event(UPDATE)
    by_round = [epsilon([event] * rounds) for rounds in (1, 2, 5, 20, 100)]
    assert by_round == sorted(set(by_round))  # type: ignore[type-var]
    by_noise = [epsilon([dataclasses.replace(event, noise_multiplier=noise)]) for noise in (4.0, 2.0, 1.0, 0.5)]
    assert by_noise == sorted(set(by_noise))  # type: ignore[type-var]


def test_no_private_release_has_no_epsilon() -> None:
    assert epsilon([]) is None
    assert epsilon([expected_event(NONE)] * 3) is None


def test_releases_without_noise_among_private_ones_are_not_charged() -> None:
    private = expected_event(UPDATE)
    assert epsilon([expected_event(NONE), private]) == epsilon([private])


# ---- the record -------------------------------------------------------------------------------------------------


def test_what_was_charged_stays_charged(tmp_path: Path) -> None:
    path = tmp_path / "privacy.jsonl"
    assert PrivacyLedger(path).spent() == []
    event = expected_event(UPDATE)
    for index in range(1, 4):
        PrivacyLedger(path).charge(index, event)
    assert PrivacyLedger(path).spent() == [event] * 3
    assert [json.loads(line)["round"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_a_charge_that_a_crash_cut_short_was_not_released(tmp_path: Path) -> None:
    path = tmp_path / "privacy.jsonl"
    ledger, event = PrivacyLedger(path), expected_event(UPDATE)
    ledger.charge(1, event)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-20])
    assert ledger.spent() == [event]
    ledger.charge(2, event)
    assert ledger.spent() == [event, event]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "5",
        "[]",
        '{"round": 1}',
        '{"event": {"mode": "none", "unit": "none"}}',
        json.dumps({"round": "1", "event": vars(expected_event(UPDATE))}),
        json.dumps({"round": [1], "event": vars(expected_event(UPDATE))}),
        json.dumps({"event": vars(expected_event(UPDATE))}),
        '{"round": 1, "event": {"mode": "update"}}',
        '{"round": 1, "event": null}',
        '{"round": 1, "event": {"mode": "none", "unit": "none", "discount": 0.5}}',
    ],
)
def test_a_damaged_record_is_refused_and_not_guessed(tmp_path: Path, line: str) -> None:
    path = tmp_path / "privacy.jsonl"
    ledger = PrivacyLedger(path)
    ledger.charge(1, expected_event(UPDATE))
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    with pytest.raises(BudgetError, match="damaged") as refused:
        ledger.spent()
    assert refused.value.exit_code == 4


def test_a_record_that_lacks_a_round_of_the_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "privacy.jsonl"
    ledger, event, released = PrivacyLedger(path), expected_event(UPDATE), {1, 3}
    for index in (1, 1, 2, 3):  # a crash, and a round that never came to the ledger
        ledger.charge(index, event)
    ledger.check_whole(released)
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:3]))
    with pytest.raises(BudgetError, match=r"older than the ledger.* in round 3\..*newest copy") as refused:
        ledger.check_whole(released)
    assert (refused.value.exit_code, str(path) in refused.value.what) == (4, True)
    path.unlink()
    with pytest.raises(BudgetError, match="in round 1"):
        ledger.check_whole(released)
    ledger.check_whole(set())


def test_a_release_without_noise_does_not_stand_for_a_private_one(tmp_path: Path) -> None:
    ledger = PrivacyLedger(tmp_path / "privacy.jsonl")
    ledger.charge(1, expected_event(NONE))
    with pytest.raises(BudgetError, match="older than the ledger"):
        ledger.check_whole({1})
