"""Bounds on epsilon from guesses about canaries: below a mechanism's own, and near it."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from fedward.privacy.one_run_audit import bound_of_scores, epsilon_of_guesses


def test_without_delta_it_is_clopper_and_pearsons_limit_of_the_right_guesses() -> None:
    found = epsilon_of_guesses(1_000, 1_000, 800, 0.0, 0.95)
    assert binom.sf(799, 1_000, 1 / (1 + math.exp(-found))) == pytest.approx(0.05)
    assert epsilon_of_guesses(1_000, 1_000, 500, 0.0, 0.95) == 0
    assert epsilon_of_guesses(10, 0, 0, 1e-5, 0.95) == 0


def test_delta_costs_something_and_abstaining_does_not_cost_all() -> None:
    exact, with_delta = (epsilon_of_guesses(1_000, 1_000, 800, delta, 0.95) for delta in (0.0, 1e-4))
    assert 0 < with_delta < exact
    assert epsilon_of_guesses(1_000, 100, 100, 1e-5, 0.95) > 3


def test_the_bound_holds_as_often_as_it_says() -> None:
    """Randomized response of epsilon 1: nothing leaves more room below its epsilon."""
    rng, above, bounds = np.random.default_rng(3), 0, []
    for _ in range(100):
        members = rng.random(500) < 0.5
        said = members == (rng.random(500) < 1 / (1 + math.exp(-1)))
        bounds.append(bound_of_scores(said.astype(float), members, 0.0, shares=(1.0,)).epsilon)
        above += bounds[-1] > 1
    assert above <= 11  # of 100 at 95 %: 12 or more come with a chance of 0.4 %
    assert np.mean(bounds) > 0.7
