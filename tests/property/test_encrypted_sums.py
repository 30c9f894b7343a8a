"""Encrypted sums of up to 1,000 hospitals decode to exactly the plaintext integers."""

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encryption import SecretContext, decrypt, encrypt
from fedward.ciphertexts.aggregation import aggregate_plain
from fedward.ciphertexts.packing import PackingPlan, quantize
from fedward.ciphertexts.plan import plan_layout
from fedward.ciphertexts.serialized import add_ciphertexts
from fedward.types import PrivacyEvent, PrivateUpdate, Vector

pytestmark = pytest.mark.slow

EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
SHAPES = ("random", "top", "bottom", "alternating", "one", "beyond")


@pytest.fixture(scope="module")
def secret() -> SecretContext:
    return SecretContext.generate()


def delta_of(shape: str, parameters: int, rng: np.random.Generator) -> Vector:
    if shape == "random":
        return rng.normal(0, 0.4, parameters).astype(np.float32)
    delta = np.zeros(parameters, dtype=np.float32)
    edge = {"bottom": -1.0, "beyond": 1e30}.get(shape, 1.0)
    delta[:: parameters if shape == "one" else 1] = edge
    if shape == "alternating":
        delta[1::2] = -1.0
    return delta


def sums_of(secret: SecretContext, plan: PackingPlan, deltas: list[Vector], weights: list[int]) -> NDArray[np.int64]:
    """Encrypt each, add all, decrypt; the twin's integers are checked on the way."""
    total = sum(weights)
    running: list[bytes] = []
    integers = []
    for seed, (delta, weight) in enumerate(zip(deltas, weights, strict=True)):
        sent = encrypt(PrivateUpdate(delta, EVENT), weight, total, plan, secret.public, np.random.default_rng(seed))
        integers.append(quantize(delta, weight, total, plan, np.random.default_rng(seed)).values)
        pairs = zip(running, sent.chunks, strict=True)
        running = [add_ciphertexts(*pair) for pair in pairs] if running else list(sent.chunks)
    sums = decrypt(running, plan, secret, len(deltas))
    np.testing.assert_array_equal(sums, aggregate_plain(integers))
    return sums


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(hospitals=64, parameters=8_192, field_bits=18, shape="top", seed=0)
@example(hospitals=64, parameters=8_192, field_bits=18, shape="bottom", seed=0)
@example(hospitals=30, parameters=8_192, field_bits=18, shape="beyond", seed=0)
@example(hospitals=1, parameters=8_193, field_bits=19, shape="alternating", seed=0)
@given(
    hospitals=st.integers(1, 64),
    parameters=st.integers(1, 20_000),
    field_bits=st.sampled_from([10, 14, 17, 18]),
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32),
)
def test_encrypted_sum_is_the_plaintext_sum(
    secret: SecretContext, hospitals: int, parameters: int, field_bits: int, shape: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plan = plan_layout(parameters, hospitals, 1.0, 2, field_bits)
    weights = [int(weight) for weight in rng.integers(1, 5_000, hospitals)]
    sums_of(secret, plan, [delta_of(shape, parameters, rng) for _ in weights], weights)


def test_thousand_hospitals_at_the_edge(secret: SecretContext) -> None:
    rng = np.random.default_rng(0)
    plan = plan_layout(8_192, 1000, 1.0, 2, 17)
    delta = delta_of("alternating", plan.parameters, rng)
    sums = sums_of(secret, plan, [delta] * 1000, [1] * 1000)
    assert np.abs(sums).max() >= plan.levels - plan.summands


@given(order=st.permutations(range(6)), split=st.integers(1, 5))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_addition_is_the_same_in_any_order_and_grouping(six_chunks: list[bytes], order: list[int], split: int) -> None:
    chunks = [six_chunks[index] for index in order]
    grouped = add_ciphertexts(*(functools.reduce(add_ciphertexts, part) for part in (chunks[:split], chunks[split:])))
    assert grouped == functools.reduce(add_ciphertexts, six_chunks)


@pytest.fixture(scope="module")
def six_chunks(secret: SecretContext) -> list[bytes]:
    rng = np.random.default_rng(0)
    plan = plan_layout(100, 6, 1.0, 2, 18)
    return [
        encrypt(PrivateUpdate(delta_of("random", 100, rng), EVENT), 1, 6, plan, secret.public, rng).chunks[0]
        for _ in range(6)
    ]
