"""For every layout that the planner makes: sums stay inside, and decode exactly under noise as large as is accepted."""

import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from fedward.ciphertexts.packing import (
    pack,
    quantize,
    unpack,
)
from fedward.ciphertexts.plan import WRONG_DECODE_BOUND, PackingPlan, largest_coordinate, plan_layout
from fedward.ciphertexts.serialized import MODULUS, RING_DEGREE
from fedward.errors import EncryptionError


def plan_or_none(parameters: int, summands: int, field_bits: int, span: float = 1.0) -> PackingPlan | None:
    try:
        return plan_layout(parameters, summands, span, 2, field_bits)
    except EncryptionError:
        return None


@given(summands=st.integers(1, 1000), field_bits=st.integers(8, 22), span=st.floats(1e-6, 1e6))
def test_planned_bounds_hold(summands: int, field_bits: int, span: float) -> None:
    plan = plan_or_none(1, summands, field_bits, span)
    assume(plan is not None)
    assert plan is not None
    assert plan.wrong_decode_probability <= WRONG_DECODE_BOUND
    assert plan.levels + plan.summands <= plan.largest_field_sum
    # A sum's largest coefficient fits half of the prime, and 20 deviations of noise beside it.
    largest = largest_coordinate(field_bits, 2) * 2**plan.scale_bits
    assert largest + 20 * math.ceil(6.4 * math.sqrt(summands)) < MODULUS // 2
    assert 0 < plan.residual_bound(1) <= plan.residual_bound(summands) <= 0.5
    if field_bits <= 20:  # wider ones leave the alarm to the bounds of coordinates, which no wrong key keeps
        assert 2 * plan.residual_deviation(summands) < 0.2  # under a wrong key the deviation is 0.29


@given(
    weights=st.lists(st.integers(1, 10**6), min_size=1, max_size=63),
    field_bits=st.integers(8, 22),
    span=st.sampled_from([1e-3, 0.1, 1.0, 7.0]),
    absent=st.integers(0, 10**6),
    seed=st.integers(0, 2**32),
)
def test_no_sum_leaves_its_field(weights: list[int], field_bits: int, span: float, absent: int, seed: int) -> None:
    """The worst case: every hospital at the edge of the range, or beyond, on the same side."""
    plan = plan_or_none(8, len(weights), field_bits, span)
    assume(plan is not None)
    assert plan is not None
    rng = np.random.default_rng(seed)
    delta = np.array([1, -1, 1e9, -1e9, 0.999999, -0.999999, 1e-9, 0], dtype=np.float32) * np.float32(span)
    total = sum(weights) + absent
    sums = sum(quantize(delta, weight, total, plan, rng).values for weight in weights)
    assert np.abs(sums).max() <= plan.largest_field_sum


@given(
    data=st.data(),
    layout=st.sampled_from([(1, 36, 23), (2, 8, 40), (2, 20, 19), (2, 21, 17), (3, 14, 17), (3, 13, 20), (4, 10, 19)]),
    edge=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_fields_survive_packing_and_noise(
    data: st.DataObject, layout: tuple[int, int, int], edge: bool, seed: int
) -> None:
    """Noise with the law's own tails, cut at the accepted bound; every number of fields a coordinate."""
    fields_per_coordinate, field_bits, scale_bits = layout
    plan = PackingPlan(10**6, 5, 1.0, field_bits, scale_bits, fields_per_coordinate)
    count = data.draw(st.integers(0, plan.parameters_per_chunk))
    rng = np.random.default_rng(seed)
    bound = plan.largest_field_sum
    fields = rng.choice([-bound, bound], count) if edge else rng.integers(-bound, bound, count, endpoint=True)
    drawn = rng.normal(0, plan.residual_deviation(5), RING_DEGREE)
    noise = np.clip(drawn, -0.99 * plan.residual_bound(5), 0.99 * plan.residual_bound(5)) * 2.0**plan.scale_bits
    np.testing.assert_array_equal(unpack(pack(fields, plan) + noise.astype(np.int64), count, plan, 5), fields)


@given(
    layout=st.sampled_from([(1, 36), (2, 20), (3, 14), (4, 10)]),
    count=st.integers(0, 16_384),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_packing_is_linear(layout: tuple[int, int], count: int, share: float, seed: int) -> None:
    """Whatever the parts, the sum of their coefficients is that of the sum: nothing of a part is left in it."""
    plan = plan_layout(10**6, 5, 1.0, *layout)
    count = min(count, plan.parameters_per_chunk)
    rng = np.random.default_rng(seed)
    total = rng.integers(-plan.largest_field_sum, plan.largest_field_sum, count, endpoint=True)
    part = np.rint(share * rng.random(count) * total).astype(np.int64)
    np.testing.assert_array_equal(pack(part, plan) + pack(total - part, plan), pack(total, plan))


@given(seed=st.integers(0, 2**32), magnitude=st.floats(-9, 64), fields=st.integers(-5, 20_000))
def test_unpacking_anything_raises_only_our_error(seed: int, magnitude: float, fields: int) -> None:
    rng = np.random.default_rng(seed)
    plan = plan_layout(10**6, 5, 1.0, 2, 20)
    coefficients = np.clip(rng.normal(size=RING_DEGREE) * 2.0**magnitude, -(2.0**63), 2.0**62).astype(np.int64)
    try:
        sums = unpack(coefficients, fields, plan, 5)
    except EncryptionError:
        return
    assert not sums.any()
