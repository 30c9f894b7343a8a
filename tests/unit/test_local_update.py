"""Local training by privacy mode, and an attack as a way to train made from the honest one."""

import dataclasses

import numpy as np
import pytest

from fedward import settings as setting
from fedward.learning.model import Classifier
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.local_update import LOCAL_UPDATES, Attack, LocalUpdate, local_update
from fedward.privacy.mechanism import privatize
from fedward.settings import Settings
from fedward.types import GlobalModel, HospitalId, ImageSet, ModelUpdate, Partition, SampledUpdate

MODES = ("none", "update", "sample")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(ModelSpec("cnn", 16, 1), seed=3)


@pytest.fixture(scope="module")
def model(classifier: Classifier) -> GlobalModel:
    return GlobalModel(classifier.get_weights(), b"")


def partition() -> Partition:
    rng, labels = np.random.default_rng(2), (np.arange(12) % 2).astype(np.float32)[:, None]
    images = ImageSet(
        rng.integers(0, 256, (12, 16, 16), np.uint8), labels, np.array([f"p{index}" for index in range(12)])
    )
    return Partition(HospitalId("hospital-1"), ("pneumonia",), images, images, images)


def settings(mode: str) -> Settings:
    return setting.load(None, ("privacy.mode", mode), ("privacy.steps", 1), ("training.local-epochs", 1))


def test_every_privacy_mode_has_a_way_to_train() -> None:
    assert tuple(LOCAL_UPDATES) == MODES


@pytest.mark.parametrize("mode", MODES)
def test_what_comes_out_passes_the_privacy_stage_of_its_mode(
    classifier: Classifier, model: GlobalModel, mode: str
) -> None:
    chosen = settings(mode)
    update = local_update(partition(), model, classifier, chosen, 1)
    assert type(update) is (SampledUpdate if mode == "sample" else ModelUpdate)
    assert privatize(update, chosen.privacy).event.mode == mode


def test_without_privacy_it_is_plain_training_of_that_round(classifier: Classifier, model: GlobalModel) -> None:
    chosen = settings("none")
    first, second = (local_update(partition(), model, classifier, chosen, index).delta for index in (1, 2))
    assert first.tobytes() == train(partition(), model, classifier, chosen.training, 1).delta.tobytes()
    assert first.tobytes() != second.tobytes()


def flip_labels(honest: LocalUpdate) -> LocalUpdate:
    """Poisons the data, then trains as everybody does."""

    def poisoned(
        partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
    ) -> ModelUpdate | SampledUpdate:
        flipped = dataclasses.replace(partition.train, labels=1 - partition.train.labels)
        mine = dataclasses.replace(partition, train=flipped)
        return honest(mine, model, classifier, settings, round_index)

    return poisoned


def turn_around(honest: LocalUpdate) -> LocalUpdate:
    """Trains as everybody does, then changes the update."""

    def turned(
        partition: Partition, model: GlobalModel, classifier: Classifier, settings: Settings, round_index: int
    ) -> ModelUpdate | SampledUpdate:
        update = honest(partition, model, classifier, settings, round_index)
        return dataclasses.replace(update, delta=-5 * update.delta)

    return turned


def do_nothing(honest: LocalUpdate) -> LocalUpdate:
    """The null attack."""
    return honest


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("attack", [flip_labels, turn_around])
def test_an_attack_wraps_the_honest_update(
    classifier: Classifier, model: GlobalModel, mode: str, attack: Attack
) -> None:
    chosen = settings(mode)
    update = attack(local_update)(partition(), model, classifier, chosen, 1)
    assert privatize(update, chosen.privacy).event.mode == mode, "its result is taken for an honest one"


def test_what_an_attack_does_shows_in_the_update_and_in_nothing_else(
    classifier: Classifier, model: GlobalModel
) -> None:
    chosen, mine = settings("none"), partition()
    before = mine.train.labels.tobytes(), model.weights.tobytes()
    honest = local_update(mine, model, classifier, chosen, 1).delta
    none, flipped, turned = (
        attack(local_update)(mine, model, classifier, chosen, 1).delta
        for attack in (do_nothing, flip_labels, turn_around)
    )
    assert none.tobytes() == honest.tobytes()
    assert turned.tobytes() == (-5 * honest).tobytes()
    assert flipped.tobytes() not in (honest.tobytes(), turned.tobytes())
    assert (mine.train.labels.tobytes(), model.weights.tobytes()) == before
