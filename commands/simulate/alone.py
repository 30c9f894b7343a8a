"""Training alone: what a hospital would have without the federation, by the same training on its own images only."""

from collections.abc import Callable

from fedward.learning.model import Classifier
from fedward.local_update import local_update
from fedward.privacy.mechanism import privatize
from fedward.settings import Settings
from fedward.types import GlobalModel, Partition, Vector


def train_alone(
    partition: Partition, initial: Vector, classifier: Classifier, settings: Settings, each_round: Callable[[], None]
) -> Vector:
    """Train for as many rounds as the federation, with the same local work and no averaging.

    What belongs to averaging is left out: encryption's range and rounding, votes, and the step that hospitals apply to
    an aggregate (`server-optimizer.name`). A proximal term pulls toward the weights that each round began with.

    Args:
        partition: The images; only `train` is used.
        initial: Weights to start from: the federation's own.
        classifier: Any classifier of the right shape; what it held before is overwritten.
        settings: The federation's.
        each_round: Called after each round.

    Returns:
        The weights after the last round.

    Guarantees:
        1. Every round passes the same privacy stage as in the federation, so that as many rounds cost the same
           epsilon.
        2. Without privacy, the same images and settings give the same weights on the same machine; with it the noise
           comes from the system, here as there.

    Raises:
        DataError: there is nothing to train on, or training diverged.
    """
    weights = initial
    for round_index in range(1, settings.training.rounds + 1):
        trained = local_update(partition, GlobalModel(weights, b""), classifier, settings, round_index)
        update = privatize(trained, settings.privacy)
        weights = weights + update.delta
        each_round()
    return weights
