"""A hospital's figures of its image encryption: right where the answer is known, and honest where there is none."""

import dataclasses
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_preprocessing import preprocess
from fedward import settings as setting
from fedward.adversarial.registry import attack_from
from fedward.adversarial.victim import Victim
from fedward.cloaking import own_figures
from fedward.cloaking.own_figures import Shown, measure_encryption
from fedward.cloaking.own_picture import draw
from fedward.errors import DataError
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import ImageSet, Partition

pytestmark = pytest.mark.slow  # readers are trained


@pytest.fixture(scope="module", autouse=True)
def short_training() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_figures, "_DENOISER_EPOCHS", 2)
        patch.setattr(own_figures, "_LABEL_EPOCHS", 2)
        yield


@pytest.fixture(scope="module")
def partition() -> Partition:
    given = [("data.source", "synthetic"), ("data.synthetic-images", 240), ("data.image-size", 32)]
    return preprocess(setting.load(None, *given, ("data.hospitals", 2)).data, 1, bytes(32)).partitions[0]


@pytest.fixture(scope="module")
def victim(partition: Partition) -> Victim:
    classifier = Classifier(ModelSpec("cnn", 32, 1), 1)
    classifier.start_training(0.002)
    pixels = classifier.prepare(partition.train.pixels())
    for _ in range(30):
        for start in range(0, len(pixels), 16):
            classifier.train_batch(pixels[start : start + 16], partition.train.labels[start : start + 16])
    return Victim(classifier)


@pytest.fixture(scope="module")
def stages() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def measured(partition: Partition, victim: Victim, stages: list[tuple[int, int]]) -> tuple[dict[str, Any], Shown]:
    attack = attack_from("fgsm:eps=0.1")
    return measure_encryption(partition, victim, attack, 3, lambda *done: stages.append(done))


def test_figures_are_those_of_the_images(
    partition: Partition, victim: Victim, measured: tuple[dict[str, Any], Shown], stages: list[tuple[int, int]]
) -> None:
    figures, shown = measured
    count, labels = len(partition.test), partition.test.labels > 0
    assert (figures["hospital"], figures["method"], figures["options"]) == (partition.hospital, "fgsm", {"eps": 0.1})
    assert figures["images"]["measured"] == count == len(shown.originals)
    assert figures["images"]["patients"] == len(set(partition.test.patients))
    assert (stages[0], stages[-1]) == ((0, 4), (4, 4))

    own = victim.decisions(partition.test.pixels()) == labels
    assert figures["accuracy"]["clean"] == pytest.approx(own.mean())
    assert figures["accuracy"]["always_the_same_answer"] == pytest.approx(max(labels.mean(), 1 - labels.mean()))
    assert own.mean() > 0.8, "a model that knows nothing has nothing to hide"
    assert figures["images"]["decided_rightly"] == own.sum()
    assert figures["images"]["hidden"] == shown.hidden.sum() == round(figures["hidden_share"] * own.sum())
    assert figures["hidden_share"] > 0.2
    assert figures["accuracy"]["encrypted"] == pytest.approx(own.mean() * (1 - figures["hidden_share"]), abs=0.1)
    assert np.abs(shown.encrypted - shown.originals).max() <= 0.1 + 1e-6
    assert 20 <= figures["encrypted"]["psnr_db"] < 24, "0.1 a pixel is 20 dB, less where black or white stops it"
    assert figures["encrypted"]["unchanged"] == 0
    for kind in ("accuracy", "accuracy_on_hidden"):
        assert all(value is None or 0 <= value <= 1 for value in figures[kind].values())
    assert figures["readers"] == {
        "pairs": len(partition.train), "pairs_for_labels": len(partition.train), "none_because": None
    }  # fmt: skip
    json.dumps(figures, allow_nan=False)


def test_the_same_seed_gives_the_same_figures(
    partition: Partition, victim: Victim, measured: tuple[dict[str, Any], Shown]
) -> None:
    assert measure_encryption(partition, victim, attack_from("fgsm:eps=0.1"), 3)[0] == measured[0]


def test_an_encryption_that_changes_nothing_hides_nothing(partition: Partition, victim: Victim) -> None:
    figures, _ = measure_encryption(partition, victim, attack_from("fgsm:eps=0"), 3)
    assert figures["hidden_share"] == 0
    assert figures["encrypted"] == {
        "psnr_db": None, "psnr_db_median": None, "ssim": 1.0, "ssim_median": 1.0, "unchanged": len(partition.test),
    }  # fmt: skip
    assert figures["accuracy_on_hidden"] == {"reconstructed": None, "recovered": None}
    assert figures["accuracy"]["encrypted"] == figures["accuracy"]["clean"]
    json.dumps(figures, allow_nan=False)


def test_a_method_that_takes_long_measures_fewer_images(
    partition: Partition, victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_figures, "_ENCRYPTING_S", -1.0)
    figures, shown = measure_encryption(partition, victim, attack_from("fgsm"), 3)
    assert (figures["images"]["measured"], figures["readers"]["pairs"]) == (8, 8)
    assert len(shown.restored) == 8


def cropped(images: ImageSet, side: int) -> ImageSet:
    return dataclasses.replace(images, images=images.images[:, :side, :side])


def test_of_images_that_no_reader_takes_the_reason_is_said(partition: Partition) -> None:
    parts = {name: cropped(getattr(partition, name), 20) for name in ("train", "val", "test")}
    victim = Victim(Classifier(ModelSpec("cnn", 20, 1), 1))
    figures, shown = measure_encryption(dataclasses.replace(partition, **parts), victim, attack_from("fgsm"), 3)
    assert figures["readers"]["none_because"] == "readers take images whose side is a multiple of 16"
    assert figures["reconstructed"] is figures["accuracy"]["recovered"] is shown.restored is None
    assert draw(shown, "fgsm").startswith(b"\x89PNG")


@pytest.mark.parametrize(("empty", "word"), [("train", "training"), ("test", "test")])
def test_without_images_there_is_nothing_to_measure(
    partition: Partition, victim: Victim, empty: str, word: str
) -> None:
    none = getattr(partition, empty).some(np.zeros(0, np.intp))
    with pytest.raises(DataError, match=f"no {word} images"):
        measure_encryption(dataclasses.replace(partition, **{empty: none}), victim, attack_from("fgsm"), 3)


def test_the_picture_has_a_row_an_image(measured: tuple[dict[str, Any], Shown]) -> None:
    shown = measured[1]
    one = dataclasses.replace(shown, **{name: value[:1] for name, value in vars(shown).items()})
    heights = [Image.open(BytesIO(draw(each, "fgsm"))).height for each in (one, shown)]
    assert heights[1] > 2.5 * heights[0]
