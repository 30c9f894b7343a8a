"""Server optimizers: move the model by a round's mean update, plainly (FedAvg), with momentum, or by Adam or Yogi.

Every hospital takes the step itself, from the decrypted mean: the server never sees one. What an optimizer remembers
(its moments) follows from the accepted aggregates alone, so whoever replays these has the same moments.

Momentum as in Hsu et al. 2019 ("Measuring the Effects of Non-Identical Data Distribution"), adaptive steps as in Reddi
et al. 2021 ("Adaptive Federated Optimization"): the squares start at the floor's square, and no bias is corrected.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertexts.aggregation import apply_update
from fedward.errors import EncryptionError, EvidenceError
from fedward.plugins import AdaptiveOptions, MomentumOptions, NoOptions
from fedward.settings import ServerOptimizerSettings
from fedward.types import GlobalModel, Vector

Wide = NDArray[np.float64]


class ServerOptimizer(Protocol):
    """How a mean update becomes a move of the model.

    Guarantees:
        1. Equal inputs give equal bits on every machine: of each coordinate only sums, products, quotients and square
           roots of doubles are taken, each rounded as IEEE 754 demands.
    """

    rows: ClassVar[int]  # values remembered for each parameter

    def __init__(self, options: Any) -> None:
        """Make the optimizer from the options that are registered under its name."""
        ...

    def first_moments(self, parameters: int) -> Wide:
        """What is remembered before the first accepted round: float64, shape (rows, parameters)."""
        ...

    def move(self, moments: Wide, mean_update: Wide) -> Wide:
        """By how much the weights move: float64, shape (parameters,); `moments` are brought forward in place."""
        ...


@dataclass(frozen=True)
class Plain:
    """The mean update itself, as in FedAvg."""

    options: NoOptions
    rows: ClassVar[int] = 0

    def first_moments(self, parameters: int) -> Wide:
        """Nothing is remembered."""
        return np.zeros((self.rows, parameters))

    def move(self, moments: Wide, mean_update: Wide) -> Wide:  # noqa: ARG002 - it remembers nothing
        """The mean update."""
        return mean_update


@dataclass(frozen=True)
class Momentum:
    """The sum of past updates, each decayed by its age."""

    options: MomentumOptions
    rows: ClassVar[int] = 1

    def first_moments(self, parameters: int) -> Wide:
        """Zeros."""
        return np.zeros((self.rows, parameters))

    def move(self, moments: Wide, mean_update: Wide) -> Wide:
        """The decayed sum, this update included."""
        moments[0] = self.options.momentum * moments[0] + mean_update
        move: Wide = moments[0] * self.options.learning_rate
        return move


@dataclass(frozen=True)
class Adaptive:
    """Adam: the decaying mean of past updates over the root of the decaying mean of their squares.

    The rows of the moments are the mean of updates, then the mean of squares.
    """

    options: AdaptiveOptions
    rows: ClassVar[int] = 2

    def first_moments(self, parameters: int) -> Wide:
        """A mean of zeros, and squares that start at the floor's square."""
        moments = np.zeros((self.rows, parameters))
        moments[1] = self.options.floor * self.options.floor
        return moments

    def move(self, moments: Wide, mean_update: Wide) -> Wide:
        """The step of Reddi et al. 2021, algorithm 2."""
        momentum = self.options.momentum
        moments[0] = momentum * moments[0] + (1.0 - momentum) * mean_update
        moments[1] = self.next_squares(moments[1], mean_update * mean_update)
        roots: Wide = np.sqrt(moments[1])
        move: Wide = moments[0] / (roots + self.options.floor) * self.options.learning_rate
        return move

    def next_squares(self, squares: Wide, square: Wide) -> Wide:
        """A decaying mean of squares."""
        return self.options.decay * squares + (1.0 - self.options.decay) * square


@dataclass(frozen=True)
class Yogi(Adaptive):
    """Yogi: as `Adaptive`, with squares that move by a bounded amount each round."""

    def next_squares(self, squares: Wide, square: Wide) -> Wide:
        """Move each square toward the new one, by a fixed share of the new one."""
        moved: Wide = squares - (1.0 - self.options.decay) * square * np.sign(squares - square)
        return moved


# Each is made from the options that `fedward.plugins` has under the same name.
OPTIMIZERS: Mapping[str, type[ServerOptimizer]] = MappingProxyType(
    {"none": Plain, "momentum": Momentum, "adam": Adaptive, "yogi": Yogi}
)


MOST_MOMENTS = max(optimizer.rows for optimizer in OPTIMIZERS.values())  # for each parameter, by any of them


def server_optimizer(settings: ServerOptimizerSettings) -> ServerOptimizer:
    """The optimizer that the settings name, with its options."""
    return OPTIMIZERS[settings.name](settings.options[settings.name])


def take_step(model: GlobalModel, mean_update: Wide, optimizer: ServerOptimizer) -> tuple[Vector, Vector]:
    """The weights and moments that a mean update makes of a model.

    Args:
        model: Weights, and moments as the last accepted round left them; none before the first.
        mean_update: float64, shape (parameters,).
        optimizer: How the mean update moves weights and moments.

    Returns:
        Weights, float32, shape (parameters,), and moments, float32, shape (optimizer.rows * parameters,).

    Raises:
        EncryptionError: the update does not fit the weights.
        EvidenceError: the moments are not those of this optimizer.

    Guarantees:
        1. Equal inputs give equal bits on every machine, as the optimizer guarantees; what is kept is rounded to
           float32 once.
        2. With `none`, the weights are those of `apply_update`.
    """
    if mean_update.shape != model.weights.shape:
        raise EncryptionError(
            f"An update of shape {mean_update.shape} does not fit weights of shape {model.weights.shape}.",
            "Use the aggregate of this model's round.",
        )
    moments = _moments(model, optimizer)
    move = optimizer.move(moments, mean_update)
    return apply_update(model.weights, move), moments.ravel().astype(np.float32)


def _moments(model: GlobalModel, optimizer: ServerOptimizer) -> Wide:
    """Float64, one row a moment."""
    if not model.moments.size:
        return optimizer.first_moments(model.weights.size)
    if model.moments.size != optimizer.rows * model.weights.size:
        raise EvidenceError(
            f"The model's {model.moments.size} moments are not {optimizer.rows} for each of its {model.weights.size} "
            "weights.",
            "Restore the model from a backup, or take it from another hospital.",
        )
    return model.moments.reshape(optimizer.rows, -1).astype(np.float64)
