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
from fedward.learning.training import Attacked
from fedward.learning.weight_shapes import ModelSpec
from fedward.local_update import local_update
from fedward.privacy.clipped_gradients import ClippedGradients
from fedward.privacy.private_training import noisy_sum
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
    training = with_training(adversarial=kind, adversarial_share=1.0).training
    attacked = attacked_images(classifier, training, np.random.default_rng(1))
    assert attacked is not None
    victim, pixels = Victim(classifier), partition.train.pixels()
    own = Aim(victim.decisions(pixels).astype(np.float32))
    found = attacked(pixels)
    assert 0 < np.abs(found - pixels).max() <= EPS + 1e-6
    assert (own.missing(victim.margins(found)) < own.missing(victim.margins(pixels))).all()
    one_step = craft(attack_from(f"fgsm:eps={EPS}"), victim, pixels, own, np.random.default_rng(1))
    same = np.array([np.array_equal(*each) for each in zip(found, one_step, strict=True)])
    assert {"fgsm": same.all(), "pgd": not same.any(), "mixed": 0.3 < same.mean() < 0.7}[kind]


def test_what_becomes_of_an_image_does_not_depend_on_the_others(
    classifier: Classifier, start: GlobalModel, partition: Partition
) -> None:
    classifier.set_weights(start.weights)
    training = with_training(adversarial="fgsm", adversarial_share=1.0).training
    attacked = attacked_images(classifier, training, np.random.default_rng(1))
    assert attacked is not None
    pixels = partition.train.pixels()
    few = attacked(pixels[:5])
    assert (np.abs(few - pixels[:5]).max(axis=(1, 2, 3)) > 0).all()
    # Gradients of other batches round otherwise, which turns a sign where they are almost 0.
    assert (attacked(pixels)[:5] != few).mean() < 0.01


def test_as_many_images_are_attacked_as_the_share_says(
    classifier: Classifier, start: GlobalModel, partition: Partition
) -> None:
    classifier.set_weights(start.weights)
    training = with_training(adversarial="fgsm", adversarial_share=0.3).training
    attacked = attacked_images(classifier, training, np.random.default_rng(1))
    assert attacked is not None
    pixels = partition.train.pixels()
    changed = np.concatenate([(attacked(pixels) != pixels).any(axis=(1, 2, 3)) for _ in range(5)])
    assert 0.25 < changed.mean() < 0.35  # of 1,000: 3.4 deviations
    assert set(changed[:200]) == {True, False}


def test_an_attack_that_changes_nothing_leaves_training_as_it_was_to_the_bit(
    classifier: Classifier, start: GlobalModel, partition: Partition
) -> None:
    plain = trained(partition, start, classifier, adversarial="none")
    nowhere = trained(partition, start, classifier, adversarial="pgd", adversarial_eps=0.0)
    nobody = trained(partition, start, classifier, adversarial="pgd", adversarial_share=0.0)
    some = trained(partition, start, classifier, adversarial="fgsm")
    assert np.array_equal(plain, nowhere)
    assert np.array_equal(plain, nobody)
    assert not np.array_equal(plain, some)


def test_under_dp_sgd_a_patient_moves_the_sum_by_the_clip_norm_at_most(
    classifier: Classifier, start: GlobalModel, partition: Partition
) -> None:
    privacy = dataclasses.replace(SETTINGS.privacy, mode="sample", clip_norm=0.5, noise_multiplier=1e-6)
    images, units = partition.train.some(slice(0, 12)), [np.arange(3 * each, 3 * each + 3) for each in range(4)]
    classifier.set_weights(start.weights)
    gradients = ClippedGradients(classifier)
    brighter = {"asked": 0}

    def attacked(pixels: Vector) -> Vector:
        brighter["asked"] += len(pixels)
        return np.clip(pixels + np.float32(0.2), 0, 1)

    def total(some: list[np.ndarray], change: Attacked | None) -> np.ndarray:
        return noisy_sum(gradients, images.pixels(), images.labels, some, privacy, attacked=change)

    with_one, without, plain = total(units, attacked), total(units[:-1], attacked), total(units, None)
    assert brighter["asked"] >= 21
    assert 0 < np.linalg.norm(with_one - without) <= 0.5 + 1e-3
    assert np.linalg.norm(with_one - plain) > 0.01, "gradients are those of attacked images"


def test_dp_sgd_trains_on_attacked_images_too(partition: Partition, start: GlobalModel, classifier: Classifier) -> None:
    seen = []

    def notes(made: Classifier, training: object, draw: np.random.Generator) -> Attacked:
        seen.append(draw.bytes(16))
        return lambda pixels: pixels

    private = setting.replace(with_training(adversarial="pgd"), "privacy.mode", "sample")
    private = setting.replace(private, "privacy.steps", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedward.local_update.attacked_images", notes)
        for _ in range(2):
            local_update(partition, start, classifier, private, 1)
    assert len(set(seen)) == 2, "draws that nobody can repeat"


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


def test_it_does_not_go_with_scatter() -> None:
    scatter = ("model.name", "scatter")
    setting.load(None, scatter)
    with pytest.raises(UsageError, match="does not go with model scatter"):
        setting.load(None, ("training.adversarial", "pgd"), scatter)
