"""Every layout, up to 1,000 hospitals and the edges of its fields: real ciphertexts' sums decode without one error."""

import dataclasses
import functools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encryption import RoundKey, decrypt, encrypt_fields
from fedward.ciphertexts.packing import PRESETS, plan_packing
from fedward.ciphertexts.plan import (
    MOST_FIELDS,
    WRONG_DECODE_BOUND,
    PackingPlan,
    plan_for_resolution,
    plan_layout,
    plan_widest,
    statement,
)
from fedward.ciphertexts.serialized import add_ciphertexts, sum_ciphertexts
from fedward.errors import EncryptionError
from fedward.settings import EncryptionSettings
from fedward.sharing.modular import add

SHAPES = ("random", "top", "bottom", "alternating", "one", "zero")
MOST_HOSPITALS = 1000
SEED = b"the round of these tests"


class Summands:
    """Noise of up to 1,024 summands, each encrypted by itself: sums of 1, 2, 4, ... 512 of them, to be combined.

    All but the last summand of a tested sum are encryptions of zero; the last carries all fields' sums. Encryption's
    noise does not depend on what is encrypted, so the sum is one of as many hospitals' as there are summands. Each has
    a key of its own.
    """

    def __init__(self) -> None:
        plan = plan_layout(1, MOST_HOSPITALS, 1.0, 1, 20)
        self.blocks = []
        for size in (2**bit for bit in range(10)):
            keys = [RoundKey.generate() for _ in range(size)]
            chunks = [encrypt_fields(np.zeros(1, np.int64), plan, key, SEED) for key in keys]
            total = [sum_ciphertexts(each) for each in zip(*chunks, strict=True)]
            self.blocks.append((total, functools.reduce(add, [key.residues() for key in keys])))

    def decoded(self, fields: NDArray[np.int64], plan: PackingPlan) -> NDArray[np.int64]:
        """What a sum of `plan.summands` ciphertexts with these fields decodes to."""
        plan, key = dataclasses.replace(plan, parameters=fields.size), RoundKey.generate()
        total, sum_key = list(encrypt_fields(fields, plan, key, SEED)), key.residues()
        for bit, (block, block_key) in enumerate(self.blocks):
            if (plan.summands - 1) >> bit & 1:
                total = [add_ciphertexts(*each) for each in zip(total, block, strict=True)]
                sum_key = add(sum_key, block_key)
        return decrypt(total, plan, RoundKey(sum_key), SEED, plan.summands)


@pytest.fixture(scope="module")
def summands() -> Summands:
    return Summands()


def fields_of(shape: str, plan: PackingPlan, rng: np.random.Generator) -> NDArray[np.int64]:
    bound, count = plan.largest_field_sum, plan.parameters_per_chunk
    if shape == "random":
        return rng.integers(-bound, bound, count, endpoint=True)
    fields = np.zeros(count, dtype=np.int64)
    if shape == "one":
        fields[rng.integers(count)] = bound
    elif shape != "zero":
        fields[:] = -bound if shape == "bottom" else bound
    if shape == "alternating":
        fields[1::2] = -bound
    return fields


thorough = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@thorough
@example(hospitals=1000, preset="exact", shape="alternating", seed=0)
@example(hospitals=128, preset="small", shape="top", seed=0)
@example(hospitals=1000, preset="small", shape="top", seed=0)
@example(hospitals=1000, preset="fine", shape="bottom", seed=0)
@given(
    hospitals=st.integers(1, MOST_HOSPITALS),
    preset=st.sampled_from(sorted(PRESETS)),
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32),
)
def test_every_preset_decodes_real_sums(summands: Summands, hospitals: int, preset: str, shape: str, seed: int) -> None:
    plan = plan_packing(10**6, hospitals, EncryptionSettings(1.0, preset), 1.0)
    fields = fields_of(shape, plan, np.random.default_rng(seed))
    np.testing.assert_array_equal(summands.decoded(fields, plan), fields)


@thorough
@given(
    hospitals=st.integers(1, MOST_HOSPITALS),
    fields_per_coordinate=st.integers(1, MOST_FIELDS),
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32),
)
def test_the_widest_fields_that_fit_decode_real_sums(
    summands: Summands, hospitals: int, fields_per_coordinate: int, shape: str, seed: int
) -> None:
    """At the bound of 2^-40 itself, without any bit to spare."""
    try:
        plan = plan_widest(10**6, hospitals, 1.0, fields_per_coordinate, 50)
    except EncryptionError:
        # One to three fields hold any roster, four up to 511 hospitals.
        assert fields_per_coordinate == 4
        assert hospitals > 511
        return
    fields = fields_of(shape, plan, np.random.default_rng(seed))
    np.testing.assert_array_equal(summands.decoded(fields, plan), fields)
    with pytest.raises(EncryptionError):
        plan_layout(10**6, hospitals, 1.0, fields_per_coordinate, plan.field_bits + 1)


@pytest.mark.parametrize("hospitals", [64, 1000])
def test_a_scale_below_the_law_does_garble(summands: Summands, hospitals: int) -> None:
    """The control: the sums above decode because of the planned scale, not because noise is small anyway."""
    plan = plan_layout(10**6, hospitals, 1.0, 2, 17)
    object.__setattr__(plan, "scale_bits", 6)
    fields = fields_of("random", plan, np.random.default_rng(0))
    try:
        sums = summands.decoded(fields, plan)
    except EncryptionError:
        return
    assert (sums != fields).any()


@given(
    hospitals=st.integers(1, MOST_HOSPITALS),
    value_range=st.floats(1e-6, 1e6),
    bits=st.floats(1, 45),
    security_bits=st.sampled_from([128, 192]),
)
def test_the_planner_keeps_what_it_promises(
    hospitals: int, value_range: float, bits: float, security_bits: int
) -> None:
    resolution = value_range / 2**bits
    try:
        plan = plan_for_resolution(10**6, hospitals, value_range, resolution, security_bits)
    except EncryptionError:
        assert bits > 45  # one field of 48 bits holds any roster
        return
    assert plan.resolution <= resolution
    assert plan.wrong_decode_probability <= WRONG_DECODE_BOUND
    assert statement(plan, 10)["security_bits"] >= security_bits
    for fields in range(plan.fields_per_coordinate + 1, MOST_FIELDS + 1):
        for width in range(2, 19):  # four fields take at most 12 bits each, three at most 17
            try:
                other = plan_layout(10**6, hospitals, value_range, fields, width)
            except EncryptionError:
                continue
            assert other.resolution > resolution


@given(hospitals=st.integers(1, MOST_HOSPITALS), preset=st.sampled_from(sorted(PRESETS)), span=st.floats(1e-6, 1e6))
def test_the_statement_is_the_plans(hospitals: int, preset: str, span: float) -> None:
    plan = plan_packing(7_000_000, hospitals, EncryptionSettings(span, preset), span)
    said = statement(plan, 10)
    assert said["update_bytes"] == pytest.approx(said["bytes_per_parameter"] * 7_000_000)
    assert 2.0 ** said["wrong_decode_log2"] <= WRONG_DECODE_BOUND
    assert 2.0 ** said["wrong_decode_in_run_log2"] == pytest.approx(plan.wrong_decode_in(10))
    assert said["most_hospitals"] >= hospitals
    assert said["resolution"] * (said["largest_sum"] - hospitals) == pytest.approx(span)
    assert said["resolution_bits"] == pytest.approx(math.log2(2 * span / said["resolution"] + 1))
    assert said["bytes_per_parameter"] < {"exact": 4.01, "fine": 8.01, "small": 2.68}[preset]
