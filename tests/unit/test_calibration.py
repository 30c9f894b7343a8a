"""Noise for a wanted epsilon: enough, hardly more, and the same as the settings files promise."""

from pathlib import Path

import pytest
from source_tree import ROOT

from fedward import settings as setting
from fedward.errors import UsageError
from fedward.privacy.accounting import budget_of, calibrated, epsilon
from fedward.privacy.mechanism import expected_event
from fedward.settings import Settings

pytestmark = pytest.mark.slow

PRESETS = [ROOT / "config" / f"privacy-eps{budget}.toml" for budget in (8, 3, 1)]


def cost(settings: Settings) -> float:
    found = epsilon([expected_event(settings.privacy)] * settings.training.rounds)
    assert found
    return found


def with_noise(settings: Settings, multiplier: float) -> Settings:
    return setting.replace(settings, "privacy.noise-multiplier", multiplier)


def check(settings: Settings) -> Settings:
    """All rounds fit the target, one more does not, and 1 part in 100 less noise would pass it."""
    found, target = calibrated(settings), settings.privacy.target_epsilon
    assert cost(found) <= target
    assert cost(with_noise(found, 0.99 * found.privacy.noise_multiplier)) > target
    assert cost(setting.replace(found, "training.rounds", found.training.rounds + 1)) > target
    return found


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_spends_what_its_name_says(preset: Path) -> None:
    settings = setting.load(preset)
    assert f"eps{settings.privacy.target_epsilon:g}" in str(preset)
    assert (settings.privacy.mode, settings.privacy.unit, settings.privacy.delta) == ("sample", "patient", 1e-5)
    assert budget_of(check(settings).privacy) == settings.privacy.target_epsilon


@pytest.mark.parametrize(
    ("mode", "rate", "steps", "rounds", "target"),
    [
        ("update", 1.0, 1, 3, 2.0),
        ("sample", 1.0, 5, 4, 1.0),
        ("sample", 0.02, 40, 10, 0.5),
        ("sample", 0.01, 1, 2, 3.0),
        ("sample", 0.5, 10, 3, 0.02),
    ],
)
def test_noise_is_enough_and_hardly_more(mode: str, rate: float, steps: int, rounds: int, target: float) -> None:
    check(
        setting.load(
            None,
            ("privacy.mode", mode),
            ("privacy.sampling-rate", rate),
            ("privacy.steps", steps),
            ("privacy.target-epsilon", target),
            ("training.rounds", rounds),
        )
    )


@pytest.mark.parametrize("target", [30.0, 40.0])
def test_a_target_that_is_easily_met_gets_the_least_noise_there_is(target: float) -> None:
    found = calibrated(
        setting.load(None, ("privacy.mode", "update"), ("privacy.target-epsilon", target), ("training.rounds", 1))
    )
    assert found.privacy.noise_multiplier == 0.25
    assert cost(found) < 25 < target, "less than the target allows"


def test_a_calibrated_run_is_calibrated_alike_a_second_time() -> None:
    once = calibrated(setting.load(PRESETS[2]))
    assert calibrated(once) == once


def test_a_target_that_no_noise_reaches_is_refused() -> None:
    settings = setting.load(PRESETS[2], ("privacy.target-epsilon", 1e-9), ("training.rounds", 1000))
    with pytest.raises(UsageError, match="No noise gives epsilon 1e-09"):
        calibrated(settings)


def test_without_a_target_nothing_changes() -> None:
    settings = setting.load(None, ("privacy.mode", "sample"), ("privacy.noise-multiplier", 1.7))
    assert calibrated(settings) == settings
