"""Stage 2, train, in plain epochs: from the global model, on a hospital's images, to an update (FedAvg, FedProx)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedward.errors import DataError
from fedward.learning.model import Classifier
from fedward.seeding import public_rng
from fedward.settings import TrainingSettings
from fedward.types import GlobalModel, ModelUpdate, Partition, Vector

# Gives images to train on in place of those of a batch: some of them attacked, so that the classifier misreads them.
Attacked = Callable[[Vector], Vector]


def train(
    partition: Partition,
    model: GlobalModel,
    classifier: Classifier,
    settings: TrainingSettings,
    round_index: int,
    attacked: Attacked | None = None,
) -> ModelUpdate:
    """Train from the global weights for some local epochs (McMahan et al. 2017, "FedAvg").

    With `proximal_mu`, each step also minimizes `proximal_mu / 2` times the squared distance from the global weights
    (Li et al. 2020, "FedProx"), so that hospitals with different patients drift apart less. The reported loss is
    without this term, and without `positive_weight`, by which positive labels count more or less than the others.

    The order of the images follows from seed, hospital and round alone, so a repeated run repeats the update.

    Args:
        partition: The hospital's images; only `train` is used.
        model: Weights to start from.
        classifier: Any classifier of the right shape; what it held before is overwritten.
        settings: Epochs, batch size, learning rate, proximal term, weight of positive labels and seed.
        round_index: The round, from 1.
        attacked: Attacks some images of each batch, see `run_epochs`.

    Raises:
        DataError: the hospital has nothing to train on.
    """
    if not len(partition.train):
        raise DataError(f"{partition.hospital} has no training images.", "Use fewer hospitals or more data.")
    classifier.set_weights(model.weights)
    classifier.start_training(settings.learning_rate, settings.proximal_mu, settings.positive_weight)
    order = public_rng("train", settings.seed, partition.hospital, round_index)
    inputs, labels = classifier.prepare(partition.train.pixels()), partition.train.labels
    loss = run_epochs(classifier, inputs, labels, settings, order, attacked)
    return ModelUpdate(delta=classifier.get_weights() - model.weights, examples=len(inputs), loss=loss)


def run_epochs(
    classifier: Classifier,
    inputs: Vector,
    labels: NDArray[np.float32],
    settings: TrainingSettings,
    order: np.random.Generator,
    attacked: Attacked | None = None,
) -> float:
    """Take all steps of some epochs, after `start_training`.

    Args:
        classifier: What is trained.
        inputs: What its `prepare` gave, one row an image.
        labels: float32, shape (n, findings), each 0 or 1.
        settings: How many local epochs, and the batch size.
        order: Draws the order of the images in each epoch.
        attacked: Gives what is trained on in place of each batch (Kurakin et al. 2017, "Adversarial Machine Learning at
            Scale"); None: the batch itself.

    Returns:
        The mean loss of the last epoch's steps; 0 without an epoch.
    """
    loss = 0.0
    for _ in range(settings.local_epochs):
        shuffled = order.permutation(len(inputs))
        losses = []
        for start in range(0, len(shuffled), settings.batch_size):
            batch = shuffled[start : start + settings.batch_size]
            shown = inputs[batch] if attacked is None else attacked(inputs[batch])
            losses.append(classifier.train_batch(shown, labels[batch]))
        loss = float(np.mean(losses))
    return loss
