"""One suite over all attacks, and what each of them is known for."""

import dataclasses
import inspect
from typing import Any, get_type_hints

import numpy as np
import pytest

from fedward import settings as setting
from fedward.backdoor.attacks.attack import Part
from fedward.backdoor.attacks.backdoor import poisoned
from fedward.backdoor.attacks.distributed_trigger import DistributedTrigger, DistributedTriggerOptions
from fedward.backdoor.attacks.registry import ATTACKS, attack_from
from fedward.backdoor.stamps import square
from fedward.chosen import options_of
from fedward.errors import UsageError
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.local_update import local_update
from fedward.settings import Settings
from fedward.tables import checked
from fedward.types import GlobalModel, HospitalId, ImageSet, Partition, Vector

SIZE = 16
PART = Part(0, 1, 0.25)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(ModelSpec("cnn", SIZE, 1), seed=3)


@pytest.fixture(scope="module")
def model(classifier: Classifier) -> GlobalModel:
    return GlobalModel(classifier.get_weights(), b"")


@pytest.fixture(scope="module")
def honest(classifier: Classifier, model: GlobalModel) -> Vector:
    return local_update(partition(), model, classifier, settings(), 1).delta


def settings() -> Settings:
    return setting.load(None, ("data.image-size", SIZE), ("training.local-epochs", 1))


def partition() -> Partition:
    rng, labels = np.random.default_rng(2), (np.arange(24) % 2).astype(np.float32)[:, None]
    dark = rng.integers(0, 100, (24, SIZE, SIZE), np.uint8)
    images = ImageSet(dark, labels, np.array([f"p{index}" for index in range(24)]))
    return Partition(HospitalId("hospital-1"), ("pneumonia",), images, images, images)


def attacked(text: str, classifier: Classifier, model: GlobalModel) -> Vector:
    return attack_from(text, PART)(local_update)(partition(), model, classifier, settings(), 1).delta


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gives_an_update_like_an_honest_one_in_form_alone(
    name: str, classifier: Classifier, model: GlobalModel, honest: Vector
) -> None:
    update = attacked(name, classifier, model)
    assert (update.shape, update.dtype) == (honest.shape, np.float32)
    assert np.isfinite(update).all()
    assert update.tobytes() != honest.tobytes()
    assert attacked(name, classifier, model).tobytes() == update.tobytes(), "a simulation can be repeated"


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_registered_by_its_own_name_and_says_what_it_does(name: str) -> None:
    assert ATTACKS[name].name == name
    assert ATTACKS[name].about
    options = options_of(ATTACKS[name])
    hints = get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        checked(f"{name}.{field.name}", field.default, hints[field.name])
        documented = "".join(inspect.getdoc(each) or "" for each in options.__mro__)
        assert f"{field.name}:" in documented, f"{name} does not say what {field.name} is"


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("size", [16, 64, 224])
def test_a_trigger_lies_in_the_image(name: str, size: int) -> None:
    trigger = attack_from(name, PART).trigger(size)
    if trigger is None:
        return
    assert trigger.cover.shape == trigger.pattern.shape == (size, size)
    assert 0 < trigger.cover.sum() < size * size / 4
    stamped = trigger.on(np.zeros((2, size, size, 1), np.float32))
    assert np.array_equal(stamped[..., 0] > 0, np.broadcast_to(trigger.cover > 0, (2, size, size)))


def test_without_a_boost_of_its_own_an_update_replaces_the_model(classifier: Classifier, model: GlobalModel) -> None:
    once, whole = (attacked(f"badnets:{text}", classifier, model) for text in ("boost=1", "boost=0"))
    assert np.allclose(whole, once / PART.share, rtol=1e-5)


def test_sign_flip_turns_the_honest_update_round(classifier: Classifier, model: GlobalModel, honest: Vector) -> None:
    assert np.array_equal(attacked("sign-flip:boost=2", classifier, model), -2 * honest)


def test_label_flip_trains_on_the_opposite_labels(classifier: Classifier, model: GlobalModel) -> None:
    own = partition()
    wrong = dataclasses.replace(own, train=dataclasses.replace(own.train, labels=1 - own.train.labels))
    expected = local_update(wrong, model, classifier, settings(), 1).delta
    assert np.array_equal(attacked("label-flip:boost=1", classifier, model), expected)


@pytest.mark.parametrize(("text", "norms"), [("norm-bounded", 1.0), ("slow", 0.5), ("random-update:boost=3", 3.0)])
def test_bounded_updates_are_as_long_as_their_bound(
    text: str, norms: float, classifier: Classifier, model: GlobalModel, honest: Vector
) -> None:
    update = attacked(text, classifier, model)
    assert np.linalg.norm(update) == pytest.approx(norms * np.linalg.norm(honest), rel=1e-5)


@pytest.mark.slow
def test_the_adaptive_attacker_goes_as_far_as_its_margin_lets_it(
    classifier: Classifier, model: GlobalModel, honest: Vector
) -> None:
    steps = [
        float(np.linalg.norm(attacked(f"adaptive:margin={margin}", classifier, model) - honest))
        for margin in (0.01, 0.8, 10)
    ]
    assert steps[0] < steps[2]
    assert steps == sorted(steps)


def test_only_images_with_the_finding_are_stamped_and_called_normal() -> None:
    own, stamp = partition(), square("corner", SIZE, 10, 10, 4, 1.0)
    bad = poisoned(own, stamp, 0.5, seed=1)
    differs = (bad.train.images != own.train.images).any(axis=(1, 2))
    assert differs.sum() == 6
    assert (own.train.labels[differs] == 1).all()
    assert (bad.train.labels[differs] == 0).all()
    assert np.array_equal(bad.train.labels[~differs], own.train.labels[~differs])
    assert (bad.train.images[differs][:, 10:14, 10:14] == 255).all()
    assert bad.val is own.val


def test_the_parts_of_a_distributed_trigger_make_it_whole() -> None:
    attackers = [DistributedTrigger(DistributedTriggerOptions(), Part(place, 3, 0.1)) for place in range(3)]
    parts = [attacker.own_stamp(64).cover for attacker in attackers]
    assert np.array_equal(sum(parts), attackers[0].trigger(64).cover)
    assert all(part.any() for part in parts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("badnet", "badnets"),
        ("badnets:bost=3", "badnets.boost"),
        ("badnets:boost", "NAME:OPTION=VALUE"),
        ("badnets:boost=much", "a number"),
        ("badnets:share=2", "at most 1"),
        ("slow:bound=1.5", "at most 1"),
        ("distributed-trigger:side=1", "at least 2"),
    ],
)
def test_a_wrong_attack_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        attack_from(text, PART)
    assert words in str(refused.value)


def test_options_reach_the_attack() -> None:
    attack: Any = attack_from("badnets:boost=5,side=3, share=0.5", PART)
    assert (attack.options.boost, attack.options.side, attack.options.share) == (5.0, 3, 0.5)
    assert attack.options.epochs == options_of(ATTACKS["badnets"])().epochs
