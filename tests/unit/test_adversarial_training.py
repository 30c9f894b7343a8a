"""Training on attacked images: which images, how much they count, and settings that do not go with it."""

import dataclasses

import numpy as np
import pytest

from fedward import settings as setting
from fedward.adversarial.attack import Aim
from fedward.adversarial.harness import craft
from fedward.adversarial.registry import attack_from
from fedward.adversarial.training import attacked_images
from fedward.adversarial.victim import Victim
from fedward.dataset.phantoms import FINDING, list_phantoms
from fedward.errors import UsageError
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.local_update import local_update
from fedward.types import GlobalModel, HospitalId, ImageSet, Partition, Vector

pytestmark = pytest.mark.slow

SIZE, EPS = 32, 0.04
SETTINGS = setting.load(
    None,
    ("training.adversarial-eps", EPS),
    ("training.batch-size", 16),
    ("training.local-epochs", 1),
    ("training.learning-rate", 0.003),
)


def with_training(**changes: object) -> setting.Settings:
    return dataclasses.replace(SETTINGS, training=dataclasses.replace(SETTINGS.training, **changes))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(ModelSpec("cnn", SIZE, 1), seed=4)


@pytest.fixture(scope="module")
def partition() -> Partition:
    listing = list_phantoms(280, SIZE, 5)
    labels = np.array([[entry.classes == (FINDING,)] for entry in listing.entries], np.float32)
    images = ImageSet(np.asarray(listing.pixels), labels, np.array([entry.patient for entry in listing.entries]))
    train, val, test = (images.some(slice(*ends)) for ends in ((0, 200), (200, 210), (210, 280)))
    return Partition(HospitalId("hospital-1"), ("f",), train, val, test)


@pytest.fixture(scope="module")
def start() -> GlobalModel:
    return GlobalModel(Classifier(ModelSpec("cnn", SIZE, 1), seed=4).get_weights(), b"")


def trained(partition: Partition, start: GlobalModel, classifier: Classifier, **changes: object) -> Vector:
    return local_update(partition, start, classifier, with_training(**changes), 1).delta


def test_without_attacked_images_nothing_is_attacked(classifier: Classifier) -> None:
    assert attacked_images(classifier, with_training(adversarial="none").training, np.random.default_rng(1)) is None


@pytest.mark.parametrize("kind", ["fgsm", "pgd", "mixed"])
def test_images_are_moved_away_from_what_the_classifier_itself_decides(
    kind: str, classifier: Classifier, start: GlobalModel, partition: Partition
) -> None:
    classifier.set_weights(start.weights)
    attacked = attacked_images(classifier, with_training(adversarial=kind).training, np.random.default_rng(1))
    assert attacked is not None
    victim, pixels = Victim(classifier), partition.train.pixels()
    own = Aim(victim.decisions(pixels).astype(np.float32))
    for _ in range(2):
        found = attacked(pixels)
        assert 0 < np.abs(found - pixels).max() <= EPS + 1e-6
        assert (own.missing(victim.margins(found)) < own.missing(victim.margins(pixels))).all()


def test_mixed_takes_turns(classifier: Classifier, start: GlobalModel, partition: Partition) -> None:
    classifier.set_weights(start.weights)
    attacked = attacked_images(classifier, with_training(adversarial="mixed").training, np.random.default_rng(1))
    assert attacked is not None
    victim, pixels = Victim(classifier), partition.train.pixels()
    own = Aim(victim.decisions(pixels).astype(np.float32))
    one_step = craft(attack_from(f"fgsm:eps={EPS}"), victim, pixels, own, np.random.default_rng(1))
    same = [np.array_equal(attacked(pixels), one_step) for _ in range(4)]
    assert same in ([True, False, True, False], [False, True, False, True])


def test_attacked_images_count_as_much_as_their_share(
    classifier: Classifier, start: GlobalModel, partition: Partition
) -> None:
    plain = trained(partition, start, classifier, adversarial="none")
    nothing = trained(partition, start, classifier, adversarial="fgsm", adversarial_share=0.0)
    null = trained(partition, start, classifier, adversarial="fgsm", adversarial_eps=0.0, adversarial_share=0.5)
    some = trained(partition, start, classifier, adversarial="fgsm", adversarial_share=0.5)
    close = 0.02 * float(np.linalg.norm(plain))
    assert np.linalg.norm(nothing - plain) < close
    assert np.linalg.norm(null - plain) < close, "attacked images that are the images themselves"
    assert np.linalg.norm(some - plain) > 10 * close


def test_the_step_is_that_of_the_mixed_loss(classifier: Classifier, start: GlobalModel, partition: Partition) -> None:
    """With a share of 1, the step is the one that attacked images alone would make."""
    pixels, labels = partition.train.pixels()[:16], partition.train.labels[:16]
    other = np.clip(pixels + np.float32(0.1), 0, 1)
    found = []
    for images, attacked in ((pixels, other), (other, None)):
        classifier.set_weights(start.weights)
        classifier.start_training(0.01)
        classifier.train_batch(images, labels, attacked, 1.0)
        found.append(classifier.get_weights() - start.weights)
    assert np.allclose(found[0], found[1], atol=1e-5)


def test_training_repeats_to_the_bit(classifier: Classifier, start: GlobalModel, partition: Partition) -> None:
    one, again = (trained(partition, start, classifier, adversarial="mixed") for _ in range(2))
    assert np.array_equal(one, again)


def test_a_classifier_so_trained_is_harder_to_mislead(
    classifier: Classifier, start: GlobalModel, partition: Partition
) -> None:
    wrong = {}
    for kind in ("none", "fgsm"):
        delta = trained(partition, start, classifier, adversarial=kind, adversarial_share=0.5, local_epochs=15)
        classifier.set_weights(start.weights + delta)
        victim, pixels, away = Victim(classifier), partition.test.pixels(), Aim(partition.test.labels)
        assert away.reached(victim.decisions(pixels)).mean() < 0.15, "it has learned"
        found = craft(attack_from(f"pgd:eps={EPS},iterations=20"), victim, pixels, away, np.random.default_rng(1))
        wrong[kind] = float(away.reached(victim.decisions(found)).mean())
    assert wrong["fgsm"] < wrong["none"] - 0.2, wrong


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ((("model.name", "scatter"),), "does not go with model scatter"),
        ((("privacy.mode", "sample"),), "does not go with privacy.mode sample"),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused(changes: tuple[tuple[str, str], ...], sentence: str) -> None:
    setting.load(None, *changes)
    with pytest.raises(UsageError, match=sentence):
        setting.load(None, ("training.adversarial", "pgd"), *changes)
