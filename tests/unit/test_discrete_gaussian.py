"""The law of encryption errors, against one computed by another way: decimals of 80 digits."""

import os
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare

from fedward.ciphertexts import discrete_gaussian as module
from fedward.ciphertexts.discrete_gaussian import discrete_gaussian

DEVIATION = Fraction(32, 5)
getcontext().prec = 80


def law(reach: int = 120) -> dict[int, Decimal]:
    masses = {x: (-(Decimal(x) ** 2) * 25 / (2 * 1024)).exp() for x in range(-reach, reach + 1)}
    whole = sum(masses.values())
    return {x: mass / whole for x, mass in masses.items()}


def distribution() -> dict[int, Decimal]:
    below, found = Decimal(0), {}
    for x, mass in law().items():
        below += mass
        found[x] = below
    return found


@pytest.mark.parametrize("bits", [64, 128, 192])
def test_the_tables_are_the_distribution_function(bits: int) -> None:
    largest, borders = module._borders(DEVIATION, bits)
    exact = distribution()
    for place, border in enumerate(borders):
        assert abs(Decimal(border) - exact[place - largest] * 2**bits) <= 1, place
    assert 1 - sum(mass for x, mass in law().items() if abs(x) <= largest) < Decimal(2) ** -bits


def test_every_real_number_gets_the_number_that_inversion_gives() -> None:
    """Reals near every border, from both sides, and in both tails; beyond 64 bits they go on as they are told to."""
    exact = distribution()
    for x in range(-40, 40):
        border = int(exact[x] * 2**256)
        for step in (-(2**180), -(2**100), 2**100, 2**180):
            assert drawn(border + step) == (x + 1 if step > 0 else x), (x, step)
    for real in (2**40, 2**100, 2**190, 2**256 - 2**40, 2**256 - 2**100):
        assert drawn(real) == next(x for x, mass in exact.items() if real < mass * 2**256)


def drawn(real: int) -> int:
    """What is drawn for a real number of 256 bits: 16 bits of it are asked for, then 48, then 64 at a time."""
    rest = [(real >> 128) & (2**64 - 1), (real >> 64) & (2**64 - 1), real & (2**64 - 1)]
    parts = [(real >> 240).to_bytes(2, "little"), ((real >> 192) & (2**48 - 1)).to_bytes(8, "little")]
    parts += [part.to_bytes(8, "little") for part in rest]
    answers = iter(parts)
    return int(discrete_gaussian(1, DEVIATION, lambda length: next(answers)[:length] if length else b"")[0])


def test_a_million_drawn_numbers_follow_the_law() -> None:
    count, exact = 1_000_000, law()
    values = discrete_gaussian(count, DEVIATION)
    inner = range(-24, 25)
    seen = [int(np.count_nonzero(values == x)) for x in inner]
    expected = [float(exact[x]) * count for x in inner]
    test = chisquare([*seen, count - sum(seen)], [*expected, count - sum(expected)])
    assert test.pvalue > 1e-6
    assert values.std() == pytest.approx(6.4, abs=6 * 6.4 / np.sqrt(2 * count))
    neighbors = np.corrcoef(values[:-1], values[1:])[0, 1]
    assert abs(neighbors) < 6 / np.sqrt(count)


def test_the_test_would_see_a_slightly_wrong_law() -> None:
    values = np.rint(np.random.default_rng(0).normal(0, 6.5, 1_000_000))
    assert values.std() != pytest.approx(6.4, abs=6 * 6.4 / np.sqrt(2_000_000))


def test_randomness_comes_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert discrete_gaussian.__defaults__ == (os.urandom,)
    assert not np.array_equal(discrete_gaussian(100, DEVIATION), discrete_gaussian(100, DEVIATION))
