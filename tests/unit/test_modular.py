"""Arithmetic modulo the prime, against Python's own whole numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward.sharing.modular import MODULUS, add, multiply, powers, scale, subtract, total, uniform

EDGES = (0, 1, 2, 16383, 16384, 2**30 - 1, 2**30, 2**30 + 1, 2**59, MODULUS - 2, MODULUS - 1)
residues = st.one_of(st.sampled_from(EDGES), st.integers(0, MODULUS - 1))


@given(st.lists(st.tuples(residues, residues), min_size=1, max_size=200))
def test_sums_differences_and_products_are_those_of_whole_numbers(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array(column, np.uint64) for column in zip(*pairs, strict=True))
    assert add(left, right).tolist() == [(one + other) % MODULUS for one, other in pairs]
    assert subtract(left, right).tolist() == [(one - other) % MODULUS for one, other in pairs]
    assert multiply(left, right).tolist() == [one * other % MODULUS for one, other in pairs]


def test_all_pairs_of_edges() -> None:
    left, right = (grid.ravel() for grid in np.meshgrid(np.array(EDGES, np.uint64), np.array(EDGES, np.uint64)))
    assert multiply(left, right).tolist() == [
        int(one) * int(other) % MODULUS for one, other in zip(left, right, strict=True)
    ]


@given(residues, st.integers(0, 2**30))
def test_small_factors(value: int, factor: int) -> None:
    assert int(scale(np.array([value], np.uint64), np.uint64(factor))[0]) == value * factor % MODULUS


@given(st.lists(residues, min_size=1, max_size=300))
def test_the_total_does_not_overflow(values: list[int]) -> None:
    assert total(np.array(values, np.uint64)) == sum(values) % MODULUS


@given(residues, st.integers(1, 70))
def test_powers(base: int, count: int) -> None:
    assert powers(base, count).tolist() == [pow(base, exponent, MODULUS) for exponent in range(1, count + 1)]


def test_uniform_numbers_are_below_the_prime_and_reject_what_is_not() -> None:
    answers = [(MODULUS).to_bytes(8, "little") + (7).to_bytes(8, "little"), (2**60 - 1).to_bytes(8, "little")]
    answers.append((2**63 + 9).to_bytes(8, "little"))  # its four highest bits are not used
    asked: list[int] = []

    def source(length: int) -> bytes:
        asked.append(length)
        return answers[len(asked) - 1]

    assert uniform((2,), source).tolist() == [7, 9]
    assert asked == [16, 8, 8]


def test_uniform_numbers_fill_their_range() -> None:
    drawn = uniform((64, 1024)).astype(np.float64) / MODULUS
    assert drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=6 * np.sqrt(1 / 12 / drawn.size))
    assert np.histogram(drawn, 16, (0, 1))[0] == pytest.approx(4096, abs=6 * np.sqrt(4096))
