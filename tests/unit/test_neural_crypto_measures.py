"""NPCR, UACI, entropy and correlation: of random bytes what is published, and of bytes whose figures are plain."""

import numpy as np
import pytest

from fedward.labs.neural_crypto.measures import Bytes, entropy, neighbor_correlation, npcr, uaci


def random_bytes(seed: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (1_000, 256), np.uint8)


def test_random_bytes_have_the_published_figures() -> None:
    one, other = random_bytes(1), random_bytes(2)
    assert npcr(one, other) == pytest.approx(100 * 255 / 256, abs=0.05)
    assert uaci(one, other) == pytest.approx(33.46, abs=0.2)
    assert entropy(one) == pytest.approx(8, abs=0.01)
    assert neighbor_correlation(one) == pytest.approx(0, abs=0.01)


def test_equal_bytes_and_opposite_ones() -> None:
    zeros, ones = np.zeros((2, 256), np.uint8), np.full((2, 256), 255, np.uint8)
    assert (npcr(zeros, zeros), uaci(zeros, zeros)) == (0, 0)
    assert (npcr(zeros, ones), uaci(zeros, ones)) == (100, 100)
    assert uaci(ones, zeros) == 100, "bytes are compared as numbers, without overflow"
    assert entropy(zeros) == 0
    assert neighbor_correlation(zeros) == 1


def test_two_values_as_often_are_one_bit_and_a_ramp_is_all_correlation() -> None:
    assert entropy(np.tile(np.array([0, 255], np.uint8), (3, 128))) == pytest.approx(1)
    assert neighbor_correlation(np.tile(np.array([0, 255], np.uint8), (3, 128))) == pytest.approx(-1)
    assert neighbor_correlation(np.arange(256, dtype=np.uint8)[None]) == pytest.approx(1)
