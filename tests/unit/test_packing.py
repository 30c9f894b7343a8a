"""Plans that fit and plans that are refused; whole numbers in and out of coefficients, without encryption."""

import dataclasses

import numpy as np
import pytest
from scipy import special

from fedward.ciphertexts.packing import (
    dequantize,
    pack,
    plan_packing,
    quantize,
    unpack,
    value_range,
)
from fedward.ciphertexts.plan import (
    _FALSE_ALARM_DEVIATIONS,
    ERROR_DEVIATION,
    WRONG_DECODE_BOUND,
    PackingPlan,
    check_security,
    largest_coordinate,
    largest_scale,
    noise_tail_bound,
    plan_for_resolution,
    plan_layout,
)
from fedward.ciphertexts.serialized import MODULUS, RING_DEGREE
from fedward.errors import EncryptionError
from fedward.settings import EncryptionSettings, load


def plan_of(parameters: int = 1000, summands: int = 5, field_bits: int = 20, span: float = 1.0) -> PackingPlan:
    return plan_layout(parameters, summands, span, 2, field_bits)


def test_default_layout_is_the_published_one() -> None:
    plan = plan_packing(500_000, 5, load().encryption, 1.0)
    assert plan.parameters_per_chunk == 8_192
    assert plan.chunks == 62
    assert plan.bytes_per_parameter < 4.07
    assert plan.resolution == pytest.approx(1.0 / (2**19 - 1 - 5))
    assert plan.wrong_decode_probability <= WRONG_DECODE_BOUND


def test_the_smallest_scale_leaves_seven_and_a_half_deviations() -> None:
    """2^-40 is at 7.54 deviations of 6.4 times the root of the summands; doubled, and up to a power of two."""
    for summands, scale_bits in ((5, 8), (16, 9), (64, 10), (1000, 12)):
        plan = PackingPlan(1, summands, 1.0, 14, scale_bits)
        below = 2.0 ** (scale_bits - 2) / (6.4 * np.sqrt(summands))
        assert below < 7.54 < plan.noise_margin
        with pytest.raises(EncryptionError, match="garble"):
            PackingPlan(1, summands, 1.0, 14, scale_bits - 1)


def test_noise_bound_is_above_a_gaussians_share_and_falls() -> None:
    """The bound of a sub-Gaussian stays above what a Gaussian does, by less than a factor that grows as z does."""
    deviations = np.linspace(0.01, 35, 4000)
    bound = np.array([noise_tail_bound(z) for z in deviations])
    share = special.erfc(deviations / np.sqrt(2))
    assert (bound >= share).all()
    assert (bound <= share * (2 + 2.6 * deviations)).all()
    assert (np.diff(bound[bound < 1]) < 0).all()
    assert noise_tail_bound(0.0) == noise_tail_bound(-1.0) == 1.0
    assert 2.0**-65 < noise_tail_bound(_FALSE_ALARM_DEVIATIONS) < 2.0**-64


def test_errors_are_sub_gaussian_with_their_parameter() -> None:
    """What the bound rests on: the moment generating function is at most a Gaussian's."""
    deviation = float(ERROR_DEVIATION)
    values = np.arange(-2000, 2001)
    masses = np.exp(-(values**2) / (2 * deviation**2))
    for argument in (1e-3, 0.01, 0.1, 0.49, 0.5, 1.0, 2.0, 5.0):
        moment = special.logsumexp(argument * values - values**2 / (2 * deviation**2)) - np.log(masses.sum())
        assert moment <= argument**2 * deviation**2 / 2 * (1 + 1e-12) + 1e-12, argument


def test_what_garbles_a_coordinate_is_half_a_step_of_noise() -> None:
    """In every layout the largest sum and half a step stay below half of the prime, as the docstring proves."""
    for fields in range(1, 5):
        for field_bits in range(3, 50):
            scale_bits, largest = largest_scale(field_bits, fields), largest_coordinate(field_bits, fields)
            for scale in range(scale_bits + 1):
                assert largest * 2**scale + 2**scale // 2 < MODULUS // 2
            assert largest * 2 ** (scale_bits + 1) > 15 * 2**55
    assert plan_of()._noise_deviation(4) == 2 * 6.4
    assert plan_of().noise_margin == pytest.approx(2**18 / (6.4 * np.sqrt(5)))


def test_a_runs_bound_is_the_sum_over_coordinates_and_rounds() -> None:
    """The union bound, padding included; at most 1."""
    plan = PackingPlan(10_000, 1600, 1.0, 14, 12, 3)  # 12,288 parameters in one ciphertext of 4,096 coordinates
    each = plan.wrong_decode_probability
    assert 2.0**-46 < each < 2.0**-44
    assert plan.wrong_decode_in(1) == pytest.approx(8192 * each), "the second ciphertext is padding"
    assert plan.wrong_decode_in(50) == pytest.approx(50 * 8192 * each)
    assert dataclasses.replace(plan, parameters=24_577).wrong_decode_in(50) == pytest.approx(50 * 12_288 * each)
    assert plan.wrong_decode_in(10**15) == 1.0
    assert plan.wrong_decode_in(0) == 0.0


@pytest.mark.parametrize("preset", ["exact", "fine", "small"])
@pytest.mark.parametrize("summands", [2, 5, 25, 128, 1000])
def test_presets_are_exact_over_a_long_run_of_a_large_model(preset: str, summands: int) -> None:
    """1,000 rounds of 7 million parameters: with a probability below 2^-95 any number anywhere is wrong."""
    plan = plan_packing(7_000_000, summands, EncryptionSettings(1.0, preset), 1.0)
    assert plan.wrong_decode_in(1000) < 2.0**-95


def test_the_largest_sum_stays_below_half_of_the_prime() -> None:
    """At the largest scale that fits, with twenty deviations of noise; and one bit more does not fit."""
    for fields in range(1, 5):
        for field_bits in range(4, 40 // fields):
            plan = PackingPlan(1, 3, 1.0, field_bits, largest_scale(field_bits, fields), fields)
            edge = np.full(plan.parameters_per_chunk, plan.largest_field_sum)
            largest = pack(edge, plan).max().item()
            assert largest == largest_coordinate(field_bits, fields) * 2**plan.scale_bits == -pack(-edge, plan).min()
            assert 2.0**57 < largest + 20 * plan._noise_deviation(3) < MODULUS / 2
            with pytest.raises(EncryptionError, match="do not fit"):
                dataclasses.replace(plan, scale_bits=plan.scale_bits + 1)


@pytest.mark.parametrize(
    ("preset", "widths"),
    [
        ("exact", {1: 20, 5: 20, 128: 20, 1000: 20}),
        ("fine", {1: 36, 128: 36, 1000: 36}),
        ("small", {1: 14, 5: 14, 128: 14, 4095: 14}),
    ],
)
def test_presets_take_the_documented_widths(preset: str, widths: dict[int, int]) -> None:
    for summands, field_bits in widths.items():
        plan = plan_packing(1000, summands, EncryptionSettings(1.0, preset), 1.0)
        assert plan.field_bits == field_bits
        assert plan.wrong_decode_probability <= WRONG_DECODE_BOUND


def test_the_small_preset_says_where_it_ends() -> None:
    with pytest.raises(EncryptionError, match="preset"):
        plan_packing(1000, 4096, EncryptionSettings(1.0, "small"), 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": 0}, "parameters"),
        ({"summands": 0}, "hospitals"),
        ({"span": float("inf")}, "inf"),
        ({"span": float("nan")}, "nan"),
        ({"span": -1.0}, "-1"),
        ({"field_bits": 8, "summands": 64}, "half its range"),
        ({"field_bits": 27, "summands": 64}, "garble"),
        ({"field_bits": 30}, "do not fit"),
        ({"field_bits": 60}, "no layout"),
    ],
)
def test_plan_refuses_what_does_not_fit(changes: dict[str, float], message: str) -> None:
    with pytest.raises(EncryptionError, match=message):
        plan_of(**changes)  # type: ignore[arg-type]


def test_presets_are_the_documented_ones() -> None:
    """Bytes a parameter at 7 million parameters and 5 hospitals, and the bits by which they differ in resolution."""
    exact, fine, small = (
        plan_packing(7_000_000, 5, load(None, ("encryption.preset", name)).encryption, 1.0)
        for name in ("exact", "fine", "small")
    )
    assert load().encryption.preset == "exact"
    assert [round(plan.bytes_per_parameter, 2) for plan in (exact, fine, small)] == [4.0, 8.0, 2.67]
    assert np.log2(exact.resolution / fine.resolution) == pytest.approx(16, abs=0.01)
    assert np.log2(small.resolution / exact.resolution) == pytest.approx(6, abs=0.01)


def test_the_planner_takes_the_fewest_bytes_that_are_fine_enough() -> None:
    layouts = [(plan_for_resolution(1000, 5, 1.0, step), step) for step in (1e-2, 1e-3, 1e-5, 1e-9)]
    assert [(plan.fields_per_coordinate, plan.field_bits) for plan, _ in layouts] == [(4, 8), (4, 11), (2, 18), (1, 31)]
    assert all(plan.resolution <= step for plan, step in layouts)


@pytest.mark.parametrize("resolution", [0.0, -1.0, float("nan"), 1e-30])
def test_a_resolution_that_cannot_be_had_is_refused(resolution: float) -> None:
    with pytest.raises(EncryptionError, match=r"resolution|steps"):
        plan_for_resolution(1000, 5, 1.0, resolution)


def test_more_hospitals_than_any_layout_holds_are_refused() -> None:
    with pytest.raises(EncryptionError):
        plan_packing(1000, 10**6, EncryptionSettings(1.0, "small"), 1.0)
    with pytest.raises(EncryptionError, match="No layout"):
        plan_for_resolution(1000, 10**15, 1.0, 1e-3)


@pytest.mark.parametrize("security_bits", [0, 80, 256])
def test_a_security_level_beyond_the_parameters_is_refused(security_bits: int) -> None:
    with pytest.raises(EncryptionError, match="128, 192"):
        plan_for_resolution(1000, 5, 1.0, 1e-3, security_bits)
    check_security(128)
    check_security(192)


@pytest.mark.parametrize("changes", [{"scale_bits": 20}, {"scale_bits": 7}, {"field_bits": 21}])
def test_plan_cannot_be_made_by_hand_either(changes: dict[str, int]) -> None:
    with pytest.raises(EncryptionError):
        dataclasses.replace(plan_of(), **changes)  # type: ignore[arg-type]


def test_value_range_comes_from_the_settings() -> None:
    encryption = EncryptionSettings(value_range=0.25, preset="exact")
    privacy = dataclasses.replace(load().privacy, mode="none", clip_norm=2.0, noise_multiplier=0.5)
    assert value_range(encryption, privacy) == 0.25
    assert value_range(encryption, dataclasses.replace(privacy, mode="update")) == 2.0 * (1 + 6 * 0.5)


def test_saturation_is_cut_to_the_public_range_and_counted() -> None:
    plan = plan_of(parameters=5, summands=1)
    delta = np.array([1.0, -1.0, 1.5, -100.0, 0.0], dtype=np.float32)
    quantized = quantize(delta, 7, 7, plan, np.random.default_rng(0))
    assert quantized.saturated == 2
    np.testing.assert_array_equal(quantized.values, plan.levels * np.array([1, -1, 1, -1, 0]))


def test_rounding_is_unbiased() -> None:
    """Mean of 200,000 roundings: within 6 standard errors (at most 0.5 / sqrt(n)) of the value; seeded."""
    plan = plan_of(parameters=200_000)
    for value in (3.3e-5, -3.3e-5, 0.123456, 1e-9):
        delta = np.full(plan.parameters, value, dtype=np.float32)
        values = quantize(delta, 3, 10, plan, np.random.default_rng(1)).values
        expected = float(np.float32(value)) / plan.resolution * 0.3
        assert abs(values.mean() - expected) <= 6 * 0.5 / np.sqrt(plan.parameters)
        assert set(np.unique(values)) <= {np.floor(expected), np.floor(expected) + 1}


def test_rounding_follows_the_seed() -> None:
    plan = plan_of()
    delta = np.random.default_rng(0).normal(0, 0.1, plan.parameters).astype(np.float32)
    first, again, other = (quantize(delta, 1, 2, plan, np.random.default_rng(seed)).values for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_update_that_is_not_finite_is_refused(bad: float) -> None:
    delta = np.zeros(1000, dtype=np.float32)
    delta[17] = bad
    with pytest.raises(EncryptionError, match="1 of 1000 coordinates"):
        quantize(delta, 1, 1, plan_of(), np.random.default_rng(0))


@pytest.mark.parametrize(("weight", "total"), [(0, 5), (-1, 5), (6, 5), (1, 2**53)])
def test_weight_out_of_range_is_refused(weight: int, total: int) -> None:
    with pytest.raises(EncryptionError, match="weight"):
        quantize(np.zeros(1000, np.float32), weight, total, plan_of(), np.random.default_rng(0))
    with pytest.raises(EncryptionError, match="shape"):
        quantize(np.zeros(999, np.float32), 1, 1, plan_of(), np.random.default_rng(0))


def test_dequantize_gives_the_weighted_mean_of_the_included() -> None:
    """Three of four hospitals arrive; the fourth's weight is divided out."""
    plan = plan_of(parameters=4000, summands=4)
    rng = np.random.default_rng(2)
    weights = [100, 20, 3]
    deltas = [rng.uniform(-1, 1, plan.parameters).astype(np.float32) for _ in weights]
    sums = sum(quantize(d, w, 500, plan, rng).values for d, w in zip(deltas, weights, strict=True))
    mean = dequantize(np.asarray(sums), plan, 123, 500)
    expected = sum(d.astype(np.float64) * w for d, w in zip(deltas, weights, strict=True)) / 123
    assert mean.dtype == np.float64
    np.testing.assert_allclose(mean, expected, atol=3 * plan.resolution * 500 / 123, rtol=0)


@pytest.mark.parametrize(("included", "total"), [(0, 5), (6, 5)])
def test_dequantize_refuses_impossible_weights(included: int, total: int) -> None:
    with pytest.raises(EncryptionError, match="included weight"):
        dequantize(np.zeros(3, np.int64), plan_of(parameters=3), included, total)


def test_pack_refuses_what_does_not_fit_the_layout() -> None:
    plan = plan_of()
    for fields in (np.array([plan.largest_field_sum + 1]), np.zeros(plan.parameters_per_chunk + 1, dtype=np.int64)):
        with pytest.raises(EncryptionError, match="does not fit"):
            pack(fields, plan)


def test_unpack_refuses_what_no_honest_sum_contains() -> None:
    plan = plan_of()
    fields = np.arange(-500, 500)
    good = pack(fields, plan)
    np.testing.assert_array_equal(unpack(good, 1000, plan, 5), fields)
    step = 2**plan.scale_bits
    half = 2 ** (plan.field_bits - 1)
    first, last = np.zeros((2, RING_DEGREE), np.int64)
    first[0] = last[-1] = 1
    beyond = MODULUS // 2 + 1
    for bad, message in (
        (good + 3 * step // 10 * first, "off whole numbers"),
        (good + int(2.5 * plan.residual_deviation(5) * step), "off whole numbers"),
        (good - (half - 500) * step * first, "field is out of its bounds"),
        (good + half * 2 * half * step * first, "coordinate is out of its bounds"),
        (good + step * last, "padding"),
        (np.where(last, beyond, good), "no chunk"),
        (np.where(last, -beyond, good), "no chunk"),
        (np.where(last, np.iinfo(np.int64).min, good), "no chunk"),
        (good.astype(np.float64), "no chunk"),
        (good[:-1], "no chunk"),
    ):
        with pytest.raises(EncryptionError, match=message):
            unpack(bad, 1000, plan, 5)
    with pytest.raises(EncryptionError, match="updates is outside"):
        unpack(good, 1000, plan, 6)
