"""Encrypted sums of up to 1,000 hospitals decode to exactly the plaintext integers."""

import functools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import encryption
from encryption import RoundKey, decrypt, encrypt, encrypt_fields, opens
from fedward.ciphertexts.aggregation import aggregate_plain
from fedward.ciphertexts.discrete_gaussian import discrete_gaussian
from fedward.ciphertexts.packing import PackingPlan, quantize
from fedward.ciphertexts.plan import plan_layout
from fedward.ciphertexts.serialized import add_ciphertexts, residues_of
from fedward.sharing.modular import add, subtract
from fedward.types import PrivacyEvent, PrivateUpdate, Vector

pytestmark = pytest.mark.slow

EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
SEED = b"the round of these tests"
SHAPES = ("random", "top", "bottom", "alternating", "one", "beyond")


def delta_of(shape: str, parameters: int, rng: np.random.Generator) -> Vector:
    if shape == "random":
        return rng.normal(0, 0.4, parameters).astype(np.float32)
    delta = np.zeros(parameters, dtype=np.float32)
    edge = {"bottom": -1.0, "beyond": 1e30}.get(shape, 1.0)
    delta[:: parameters if shape == "one" else 1] = edge
    if shape == "alternating":
        delta[1::2] = -1.0
    return delta


def sums_of(plan: PackingPlan, deltas: list[Vector], weights: list[int], included: Sequence[int]) -> NDArray[np.int64]:
    """Each hospital encrypts under its own key; those included are added, and the sum of their keys opens the sum.

    The twin's integers are compared, and no sum of other keys opens it.
    """
    total, keys = sum(weights), [RoundKey.generate() for _ in weights]
    running: list[bytes] = []
    integers = []
    for place in included:
        seeded = (np.random.default_rng(place) for _ in range(2))
        sent = encrypt(
            PrivateUpdate(deltas[place], EVENT), weights[place], total, plan, keys[place], SEED, next(seeded)
        )
        integers.append(quantize(deltas[place], weights[place], total, plan, next(seeded)).values)
        pairs = zip(running, sent.chunks, strict=True)
        running = [add_ciphertexts(*pair) for pair in pairs] if running else list(sent.chunks)
    sum_key = functools.reduce(add, [keys[place].residues() for place in included])
    sums = decrypt(running, plan, RoundKey(sum_key), SEED, len(included))
    np.testing.assert_array_equal(sums, aggregate_plain(integers))
    for place, key in enumerate(keys[:10]):
        other = add(sum_key, key.residues()) if place not in included else subtract(sum_key, key.residues())
        assert not opens(running, plan, RoundKey(other), SEED, len(included))
    return sums


@settings(max_examples=40, deadline=None)
@example(hospitals=64, parameters=8_192, fields=(2, 20), shape="top", seed=0)
@example(hospitals=64, parameters=8_192, fields=(2, 20), shape="bottom", seed=0)
@example(hospitals=30, parameters=8_192, fields=(3, 14), shape="beyond", seed=0)
@example(hospitals=1, parameters=8_193, fields=(2, 22), shape="alternating", seed=0)
@example(hospitals=64, parameters=4_097, fields=(1, 36), shape="bottom", seed=0)
@given(
    hospitals=st.integers(1, 64),
    parameters=st.integers(1, 20_000),
    fields=st.sampled_from([(1, 9), (1, 36), (1, 42), (2, 10), (2, 17), (2, 20), (2, 21), (3, 9), (3, 14), (4, 10)]),
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32),
)
def test_encrypted_sum_is_the_plaintext_sum(
    hospitals: int, parameters: int, fields: tuple[int, int], shape: str, seed: int
) -> None:
    """Of any of the hospitals that the plan is for: all, one, or some of them."""
    rng = np.random.default_rng(seed)
    plan = plan_layout(parameters, hospitals, 1.0, *fields)
    weights = [int(weight) for weight in rng.integers(1, 5_000, hospitals)]
    included = rng.permutation(hospitals)[: rng.choice([1, hospitals, rng.integers(1, hospitals + 1)])]
    sums_of(plan, [delta_of(shape, parameters, rng) for _ in weights], weights, [int(place) for place in included])


def beside_the_errors(parts: Sequence[NDArray[np.int64]], plan: PackingPlan) -> NDArray[np.int64]:
    """Coefficients of the opened sum of these parts, less the errors that were drawn for them."""
    drawn, keys = [], [RoundKey.generate() for _ in parts]

    def noted(count: int, deviation: Fraction) -> NDArray[np.int64]:
        drawn.append(discrete_gaussian(count, deviation))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encryption, "discrete_gaussian", noted)
        sent = [encrypt_fields(fields, plan, key, SEED) for fields, key in zip(parts, keys, strict=True)]
    total = [functools.reduce(add_ciphertexts, column) for column in zip(*sent, strict=True)]
    sum_key = RoundKey(functools.reduce(add, [key.residues() for key in keys]))
    masks = sum_key._masks(SEED, range(len(total)))
    opened = encryption._to_coefficients(subtract(np.stack([residues_of(chunk) for chunk in total]), masks))
    return opened.reshape(-1) - np.sum(drawn, axis=0)


@settings(max_examples=20, deadline=None)
@given(
    hospitals=st.integers(2, 5),
    parameters=st.integers(1, 9_000),
    fields=st.sampled_from([(1, 36), (2, 20), (3, 14), (4, 10)]),
    seed=st.integers(0, 2**32),
)
def test_an_opened_sum_shows_nothing_but_sum_and_errors(
    hospitals: int, parameters: int, fields: tuple[int, int], seed: int
) -> None:
    """Of updates with the same sum, all coefficients less the errors are the same, to the last bit."""
    rng = np.random.default_rng(seed)
    plan = plan_layout(parameters, hospitals, 1.0, *fields)
    bound = plan.largest_field_sum // (2 * hospitals)
    parts = rng.integers(-bound, bound, (hospitals, parameters), endpoint=True)
    others = parts.copy()
    moved = rng.integers(-bound, bound, parameters, endpoint=True)
    others[0] += moved
    others[-1] -= moved
    shown = beside_the_errors(list(parts), plan)
    np.testing.assert_array_equal(shown, beside_the_errors(list(others), plan))
    assert shown.any() == parts.sum(axis=0).any()


def test_thousand_hospitals_at_the_edge() -> None:
    rng = np.random.default_rng(0)
    plan = plan_layout(8_192, 1000, 1.0, 2, 20)
    delta = delta_of("alternating", plan.parameters, rng)
    sums = sums_of(plan, [delta] * 1000, [1] * 1000, range(1000))
    assert np.abs(sums).max() >= plan.levels - plan.summands


@given(order=st.permutations(range(6)), split=st.integers(1, 5))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_addition_is_the_same_in_any_order_and_grouping(six_chunks: list[bytes], order: list[int], split: int) -> None:
    chunks = [six_chunks[index] for index in order]
    grouped = add_ciphertexts(*(functools.reduce(add_ciphertexts, part) for part in (chunks[:split], chunks[split:])))
    assert grouped == functools.reduce(add_ciphertexts, six_chunks)


@pytest.fixture(scope="module")
def six_chunks() -> list[bytes]:
    rng = np.random.default_rng(0)
    plan = plan_layout(100, 6, 1.0, 2, 20)
    return [
        encrypt(PrivateUpdate(delta_of("random", 100, rng), EVENT), 1, 6, plan, RoundKey.generate(), SEED, rng).chunks[
            0
        ]
        for _ in range(6)
    ]
