"""Server optimizers: each step against the papers' formulas in plain Python numbers, one coordinate at a time."""

import math

import numpy as np
import pytest

from fedward import settings as setting
from fedward.ciphertexts.aggregation import apply_update
from fedward.errors import EncryptionError, EvidenceError
from fedward.learning.server_step import MOST_MOMENTS, ServerOptimizer, server_optimizer, take_step
from fedward.types import GlobalModel

RATE, BETA, DECAY, FLOOR = 0.3, 0.8, 0.95, 0.01
UPDATES = np.random.default_rng(4).normal(0, 0.05, (5, 6)) * np.array([0, 1, 1e-9, 30, -1, 1])
START = np.linspace(-2, 2, 6).astype(np.float32)


def settings(optimizer: str) -> ServerOptimizer:
    """The optimizer of that name, with the options above."""
    given = {"learning-rate": RATE, "momentum": BETA, "decay": DECAY, "floor": FLOOR}
    own = setting.default_tables().get(f"server-optimizer.{optimizer}", {})
    changes = [(f"server-optimizer.{optimizer}.{key}", given[key]) for key in own]
    return server_optimizer(setting.load(None, ("server-optimizer.name", optimizer), *changes).server_optimizer)


def run(how: ServerOptimizer, updates: np.ndarray = UPDATES) -> GlobalModel:
    model = GlobalModel(START, b"")
    for update in updates:
        model = GlobalModel(model.weights, b"", model.moments)
        weights, moments = take_step(model, update, how)
        model = GlobalModel(weights, b"", moments)
    return model


def by_hand(optimizer: str, start: float, updates: list[float], rate: float = RATE) -> float:
    """One coordinate, as the papers write it."""
    weight, momentum, square = start, 0.0, FLOOR**2
    for update in updates:
        if optimizer == "momentum":
            momentum = BETA * momentum + update
            weight += rate * momentum
            continue
        momentum = BETA * momentum + (1 - BETA) * update
        if optimizer == "adam":
            square = DECAY * square + (1 - DECAY) * update**2
        else:
            square -= (1 - DECAY) * update**2 * (1 if square > update**2 else -1 if square < update**2 else 0)
        weight += rate * momentum / (math.sqrt(square) + FLOOR)
    return weight


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "yogi"])
def test_steps_are_the_papers(optimizer: str) -> None:
    model = run(settings(optimizer))
    expected = [
        by_hand(optimizer, float(start), [float(value) for value in column])
        for start, column in zip(START, UPDATES.T, strict=True)
    ]
    np.testing.assert_allclose(model.weights, expected, atol=1e-6)  # kept as float32 in between
    assert np.abs(model.weights - START).max() > 0.1
    assert model.moments.shape == (settings(optimizer).rows * 6,)
    assert model.moments.dtype == model.weights.dtype == np.float32


@pytest.mark.parametrize(("optimizer", "usual"), [("momentum", 1.0), ("adam", 0.01), ("yogi", 0.01)])
def test_each_has_its_own_usual_rate(optimizer: str, usual: float) -> None:
    """What one of them is multiplied with would be far too much or too little for another."""
    assert setting.default_tables()[f"server-optimizer.{optimizer}"]["learning-rate"] == usual


def test_none_is_the_plain_average_to_the_bit_and_remembers_nothing() -> None:
    weights, moments = take_step(GlobalModel(START, b""), UPDATES[0], settings("none"))
    assert weights.tobytes() == apply_update(START, UPDATES[0]).tobytes()
    assert moments.size == 0


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "yogi"])
def test_each_coordinate_moves_by_itself_wherever_it_lies(optimizer: str) -> None:
    """Vectorized loops treat the ends of an array differently; a coordinate's bits must not depend on its place."""
    rng = np.random.default_rng(5)
    updates, weights = rng.normal(0, 0.01, 1003), rng.normal(0, 1, 1003).astype(np.float32)
    how = settings(optimizer)
    whole, moments = take_step(GlobalModel(weights, b""), updates, how)
    parts = [take_step(GlobalModel(weights[k : k + 1], b""), updates[k : k + 1], how) for k in range(1003)]
    assert whole.tobytes() == b"".join(part[0].tobytes() for part in parts)
    rows = moments.reshape(how.rows, -1)
    assert rows.T.tobytes() == b"".join(part[1].tobytes() for part in parts)


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "yogi"])
def test_the_models_own_arrays_are_left_alone(optimizer: str) -> None:
    model = run(settings(optimizer))
    before = model.weights.tobytes(), model.moments.tobytes()
    take_step(model, UPDATES[0], settings(optimizer))
    assert (model.weights.tobytes(), model.moments.tobytes()) == before


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(EncryptionError, match="shape"):
        take_step(GlobalModel(START, b""), np.zeros(5), settings("adam"))
    for made, used in (("momentum", "yogi"), ("momentum", "none"), ("adam", "momentum")):
        with pytest.raises(EvidenceError, match="moments"):
            take_step(run(settings(made)), UPDATES[0], settings(used))
    assert MOST_MOMENTS == 2
