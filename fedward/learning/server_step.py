"""How the mean update moves the model: plainly, with momentum, or by an adaptive step.

Every hospital takes the step itself, from the decrypted mean: the server never sees one. What an optimizer remembers
(its moments) follows from the accepted aggregates alone, so whoever replays these has the same moments.

Momentum as in Hsu et al. 2019 ("Measuring the Effects of Non-Identical Data Distribution"), adaptive steps as in Reddi
et al. 2021 ("Adaptive Federated Optimization"): the squares start at the floor's square, and no bias is corrected.
"""

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertexts.aggregation import apply_update
from fedward.errors import EncryptionError, EvidenceError
from fedward.settings import TrainingSettings
from fedward.types import GlobalModel, Vector

Wide = NDArray[np.float64]

MOMENTS = {"none": 0, "momentum": 1, "adam": 2, "yogi": 2}  # values remembered for each parameter
USUAL_RATES = {"momentum": 1.0, "adam": 0.01, "yogi": 0.01}  # where training.server-learning-rate is 0


def take_step(model: GlobalModel, mean_update: Wide, settings: TrainingSettings) -> tuple[Vector, Vector]:
    """The weights and moments that a mean update makes of a model.

    Args:
        model: Weights, and moments as the last accepted round left them; none before the first.
        mean_update: float64, shape (parameters,).
        settings: Which optimizer, its rate, decays and floor.

    Returns:
        Weights, float32, shape (parameters,), and moments, float32, shape (MOMENTS[optimizer] * parameters,).

    Raises:
        EncryptionError: the update does not fit the weights.
        EvidenceError: the moments are not those of this optimizer.

    Guarantees:
        1. Equal inputs give equal bits on every machine: of each coordinate only sums, products, quotients and square
           roots of doubles are taken, each rounded as IEEE 754 demands, and what is kept is rounded to float32 once.
        2. With `none`, the weights are those of `apply_update`.
    """
    if settings.server_optimizer == "none":
        return apply_update(model.weights, mean_update), np.zeros(0, np.float32)
    if mean_update.shape != model.weights.shape:
        raise EncryptionError(
            f"An update of shape {mean_update.shape} does not fit weights of shape {model.weights.shape}.",
            "Use the aggregate of this model's round.",
        )
    moments = _moments(model, settings)
    move = _momentum(moments, mean_update, settings) if len(moments) == 1 else _adaptive(moments, mean_update, settings)
    move *= settings.server_learning_rate or USUAL_RATES[settings.server_optimizer]
    return apply_update(model.weights, move), moments.ravel().astype(np.float32)


def _moments(model: GlobalModel, settings: TrainingSettings) -> Wide:
    """Float64, one row a moment: the momentum, then the squares where there are any."""
    rows = MOMENTS[settings.server_optimizer]
    if not model.moments.size:
        moments = np.zeros((rows, model.weights.size))
        moments[1:] = settings.server_floor * settings.server_floor
        return moments
    if model.moments.size != rows * model.weights.size:
        raise EvidenceError(
            f"The model's {model.moments.size} moments are not {rows} for each of its {model.weights.size} weights.",
            "Restore the model from a backup, or take it from another hospital.",
        )
    return model.moments.reshape(rows, -1).astype(np.float64)


def _momentum(moments: Wide, mean_update: Wide, settings: TrainingSettings) -> Wide:
    """The sum of past updates, each decayed by its age."""
    moments[0] = settings.server_momentum * moments[0] + mean_update
    move: Wide = moments[0].copy()
    return move


def _adaptive(moments: Wide, mean_update: Wide, settings: TrainingSettings) -> Wide:
    """The mean of past updates over the root of their mean square."""
    momentum, decay = settings.server_momentum, settings.server_decay
    squares = mean_update * mean_update
    moments[0] = momentum * moments[0] + (1.0 - momentum) * mean_update
    if settings.server_optimizer == "adam":
        moments[1] = decay * moments[1] + (1.0 - decay) * squares
    else:
        moments[1] = moments[1] - (1.0 - decay) * squares * np.sign(moments[1] - squares)
    roots: Wide = np.sqrt(moments[1])
    move: Wide = moments[0] / (roots + settings.server_floor)
    return move
