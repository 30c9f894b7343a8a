"""The audit by canary: below the stated epsilon where the noise is as stated, above it where it is not."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from test_private_training import (  # type: ignore[import-not-found]  # beside this file, for pytest
    LINEAR,
    SETTINGS,
    image_set,
    partition,
    start,
)

from fedward.privacy.accounting import epsilon
from fedward.privacy.epsilon_lower_bound import canary_scores, epsilon_found
from fedward.privacy.mechanism import expected_event
from fedward.settings import PrivacySettings

pytestmark = pytest.mark.slow

ONE_STEP = dataclasses.replace(
    SETTINGS, sampling_rate=1.0, steps=1, momentum=0.0, learning_rate=0.1, noise_multiplier=1.0, clip_norm=0.05
)


def found(settings: PrivacySettings, trials: int = 250) -> float:
    source = np.random.default_rng(11).bytes
    scores = canary_scores(partition(image_set(8, 4)), "p3", start(), LINEAR, settings, trials, source)
    return epsilon_found(*scores, settings.delta)


def stated(settings: PrivacySettings) -> float:
    return epsilon([expected_event(settings)]) or 0.0


@pytest.mark.parametrize(("rate", "steps"), [(1.0, 1), (0.5, 3)])
def test_an_attacker_finds_something_but_less_than_the_stated_epsilon(rate: float, steps: int) -> None:
    settings = dataclasses.replace(ONE_STEP, sampling_rate=rate, steps=steps)
    bound = found(settings)
    assert bound < stated(settings)
    assert bound > 0.2 or rate < 1, "the attacker must be able to find something"


def test_an_attacker_finds_out_when_there_is_less_noise_than_stated() -> None:
    promised = dataclasses.replace(ONE_STEP, noise_multiplier=5.0)
    assert found(dataclasses.replace(promised, noise_multiplier=0.5)) > stated(promised)


def test_scores_of_one_law_give_no_epsilon_and_far_apart_ones_all_that_the_trials_can_show() -> None:
    rng = np.random.default_rng(1)
    assert epsilon_found(rng.normal(size=1_000), rng.normal(size=1_000), 1e-5) < 0.1
    apart = epsilon_found(np.ones(1_000), np.zeros(1_000), 0.0)
    least = stats.beta.ppf(0.0125, 500, 1)
    assert apart == pytest.approx(np.log(least / (1 - least)))


def test_the_bound_holds_as_often_as_it_says() -> None:
    """On the Gaussian mechanism itself, whose epsilon is known: two scores one deviation apart, times the noise."""
    settings = dataclasses.replace(ONE_STEP, noise_multiplier=2.0)
    rng, true = np.random.default_rng(2), stated(settings)
    bounds = [epsilon_found(rng.normal(0.5, 1, 400), rng.normal(0, 1, 400), settings.delta) for _ in range(40)]
    assert max(bounds) < true
    assert np.mean(bounds) > 0.05
