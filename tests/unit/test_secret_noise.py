"""Secret randomness: who is sampled, how the noise is spread, and that nothing shows what it was added to."""

import ast
import tomllib

import numpy as np
import pytest
from scipy import stats

from fedward.privacy.secret_noise import gaussian, grid_step, noised, room_for_rounding, sample
from fedward.settings import PROJECT_FILE


def test_the_normal_law_is_met_in_the_middle_and_in_the_tails() -> None:
    drawn = gaussian(1_000_001, np.random.default_rng(1).bytes)
    assert drawn.shape == (1_000_001,)
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    for edge in (3.0, 4.0):
        beyond = stats.binomtest(int((np.abs(drawn) > edge).sum()), len(drawn), 2 * stats.norm.sf(edge))
        assert beyond.pvalue > 0.01
    pairs = np.corrcoef(drawn[:500_000], drawn[500_001:])[0, 1]
    assert abs(pairs) < 0.005


@pytest.mark.parametrize("extreme", [b"\x00", b"\xff"])
def test_no_random_bytes_give_a_number_that_is_not_finite(extreme: bytes) -> None:
    drawn = gaussian(4, lambda size: extreme * size)
    assert np.isfinite(drawn).all()
    assert np.abs(drawn).max() < 8.6


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.97])
def test_units_are_sampled_one_by_one_at_the_rate(rate: float) -> None:
    source = np.random.default_rng(2).bytes
    counts = np.array([len(sample(500, rate, source)) for _ in range(2_000)])
    assert stats.binomtest(int(counts.sum()), 1_000_000, rate).pvalue > 0.01
    assert counts.var() == pytest.approx(500 * rate * (1 - rate), rel=0.15)  # a binomial's, not a fixed batch's


def test_a_rate_of_one_takes_everybody_and_the_largest_word_is_out_below_it() -> None:
    highest = lambda size: b"\xff" * size  # noqa: E731
    assert sample(5, 1.0, highest).tolist() == [0, 1, 2, 3, 4]
    assert sample(5, np.nextafter(1.0, 0.0), highest).tolist() == []
    assert sample(5, 1e-30, lambda size: b"\x00" * size).tolist() == []


def test_without_a_source_the_system_gives_other_bytes_every_time() -> None:
    zeros = np.zeros(64)
    assert not np.isclose(noised(zeros, 1.0, 1.0), noised(zeros, 1.0, 1.0)).any()
    assert {tuple(sample(64, 0.5)) for _ in range(20)} != {tuple(sample(64, 0.5))}


@pytest.mark.parametrize(("clip_norm", "multiplier"), [(1.0, 1.0), (0.3, 17.0), (1e-6, 0.4), (50.0, 1e4)])
def test_noise_has_the_stated_deviation_and_lies_on_the_grid_whatever_the_value(
    clip_norm: float, multiplier: float
) -> None:
    value = np.random.default_rng(3).normal(0, clip_norm, 200_000)
    result = noised(value, clip_norm, multiplier, np.random.default_rng(4).bytes)
    deviation = clip_norm * multiplier
    assert stats.kstest((result - value) / deviation, "norm").pvalue > 0.01
    wholes = result / grid_step(clip_norm, multiplier)
    assert np.array_equal(wholes, np.rint(wholes))
    assert np.abs(wholes).max() < 2**53, "sums of whole numbers are exact below"


def test_the_same_bytes_give_the_same_noise_on_any_value() -> None:
    """The noise is a whole number of steps that does not depend on the value: the Gaussian mechanism, rounded."""
    values = np.random.default_rng(5).normal(0, 1, (2, 10_000))
    step = grid_step(1.0, 2.0)
    noise = [noised(value, 1.0, 2.0, np.random.default_rng(6).bytes) - np.rint(value / step) * step for value in values]
    assert np.array_equal(*noise)


@pytest.mark.parametrize("coordinates", [1, 1_000, 100_000])
def test_rounded_sums_of_neighbors_differ_by_the_clip_norm_at_most(coordinates: int) -> None:
    rng, clip_norm, multiplier = np.random.default_rng(7), 0.5, 1.0
    step, room = grid_step(clip_norm, multiplier), room_for_rounding(clip_norm, multiplier, coordinates)
    for _ in range(20):
        others = rng.normal(0, 1, coordinates)
        one = rng.normal(0, 1, coordinates)
        one *= room / np.linalg.norm(one)
        moved = (np.rint((others + one) / step) - np.rint(others / step)) * step
        assert np.linalg.norm(moved) <= clip_norm
    assert room > 0.9998 * clip_norm, "the price of rounding"


def test_no_product_code_chooses_another_source() -> None:
    """A seeded source is a hook for tests: what is called without one draws from the system."""
    root = PROJECT_FILE.parent
    inside = {
        "secret_noise.py",
        "private_training.py",
        "mechanism.py",
        "epsilon_lower_bound.py",
    }  # hand on what they were given
    # A lab's noise is repeated by its seed, and protects nobody: no hospital's process has the labs.
    lab = root / "fedward" / "labs" / "leakage" / "obfuscations.py"
    bundled = tomllib.loads(PROJECT_FILE.read_text())["tool"]["flwr"]["app"]["fab-include"]
    assert not [name for name in bundled if name.startswith("fedward/labs")]
    for path in [root / "client.py", *(root / "commands").rglob("*.py"), *(root / "fedward").rglob("*.py")]:
        if path.name in inside or path == lab:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                given = {keyword.arg for keyword in node.keywords}
                if name in {"privatize", "train_privately", "noisy_sum", "noised", "gaussian"}:
                    assert "source" not in given, path
                    assert len(node.args) <= {"privatize": 2, "train_privately": 4}.get(name, 0), path


def test_coordinates_far_apart_have_noise_of_their_own() -> None:
    """Noise is drawn for about a million coordinates at a time; none of it is used twice."""
    size = 1_100_000
    noise = noised(np.zeros(2 * size), 1.0, 1.0, np.random.default_rng(5).bytes)
    # On a grid of 2^24 steps a deviation few values come twice; of repeated noise half of all would.
    assert len(np.unique(noise)) > 0.9 * noise.size
