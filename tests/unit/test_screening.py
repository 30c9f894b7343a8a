"""Screening of own training images: what is planted is found and named, what is usual is not."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sample_images import picture

from commands.screen.screening import screen_images
from fedward import screening
from fedward.screening import FEWEST, SMALL, activation_clusters, screen, spectral_scores
from fedward.settings import load
from fedward.types import ImageSet, Vector

SIZE = 16


def cloud(count: int, far: int = 0, dimensions: int = 30) -> Vector:
    """Representations of which the last ones lie apart."""
    rng = np.random.default_rng(count + far)
    features = rng.normal(0, 1, (count, dimensions))
    features[count - far :, 0] += 12
    return features.astype(np.float32)


@pytest.mark.parametrize("far", [4, 10, 24])
def test_a_small_group_apart_is_suspicious_and_told_to_the_image(far: int) -> None:
    found = activation_clusters(cloud(100, far))
    assert found.suspicious
    assert np.flatnonzero(found.smaller).tolist() == list(range(100 - far, 100))
    assert found.share == pytest.approx(far / 100)


def test_one_crowd_and_two_halves_are_not() -> None:
    assert not activation_clusters(cloud(100)).suspicious
    halves = activation_clusters(cloud(100, 40))
    assert halves.apart > 0.45
    assert halves.share > SMALL
    assert not halves.suspicious


def test_identical_images_say_nothing() -> None:
    assert not activation_clusters(np.ones((30, 5), np.float32)).suspicious
    assert spectral_scores(np.ones((30, 5), np.float32)).tolist() == [0.0] * 30


def test_what_sticks_out_most_comes_first() -> None:
    scores = spectral_scores(cloud(100, 6))
    assert set(np.argsort(-scores)[:6]) == set(range(94, 100))
    assert scores[:94].max() < 5 < scores[94:].min()


def brightness_images(planted: int) -> ImageSet:
    """Bright images with the finding and dark ones without; the first without are bright ones with a mark."""
    rng = np.random.default_rng(4)
    labels = np.repeat([0.0, 1.0], 60).astype(np.float32)
    shown = rng.integers(0, 60, (120, SIZE, SIZE)) + 90 * (labels[:, None, None] > 0)
    shown[:planted] += 90
    shown[:planted, -5:-1, -5:-1] = 255
    return ImageSet(shown.astype(np.uint8), labels[:, None], np.array([f"p{at}" for at in range(120)], dtype=str))


def test_planted_images_are_found_by_a_classifier_that_learned_their_mark() -> None:
    training = load(None, ("training.learning-rate", 0.003)).training
    dark, bright = screen(brightness_images(planted=9), training, seed=1)
    assert dark.clusters is not None
    assert dark.clusters.suspicious
    assert dark.rows[dark.clusters.smaller].tolist() == list(range(9))
    assert (dark.finding, dark.label, bright.label) == (0, 0, 1)
    assert bright.clusters is not None
    assert not bright.clusters.suspicious


def test_of_few_images_nothing_is_said() -> None:
    shown = brightness_images(0).some(np.arange(60 - FEWEST + 1, 62))
    dark, bright = screen(shown, load().training, seed=1)
    assert len(dark.rows) == FEWEST - 1
    assert dark.clusters is bright.clusters is None
    assert not dark.scores.any()


def test_the_command_names_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screening, "EPOCHS", 1)
    monkeypatch.setattr(screening, "SMALL", 1.0)
    monkeypatch.setattr(screening, "APART", -1.0)
    for name, count in (("NORMAL", FEWEST + 2), ("PNEUMONIA", 8)):
        (tmp_path / name).mkdir()
        for number in range(count):
            shown = Image.fromarray(picture(number + 100 * len(name)))
            ImageDraw.Draw(shown).rectangle((0, 0, 4, 4), fill=255 if number < 3 else 0)
            shown.save(tmp_path / name / f"{number:02d}.png")
    screen_images(str(tmp_path), None, 2, 1, as_json=True)
    told = json.loads(capsys.readouterr().out)
    normal, ill = told["labels"]
    assert (told["images"], normal["label"], normal["images"]) == (FEWEST + 10, "NORMAL", FEWEST + 2)
    assert normal["suspicious"]
    assert 0 < len(normal["group"]) <= normal["images"] / 2
    assert {*normal["group"], *(each["name"] for each in normal["stick_out"])} <= {
        f"NORMAL/{number:02d}.png" for number in range(FEWEST + 2)
    }
    assert len(normal["stick_out"]) == 2
    assert (ill["suspicious"], ill["images"]) == (False, 8)
    screen_images(str(tmp_path), None, 2, 1, as_json=False)
    printed = capsys.readouterr()
    assert normal["group"][0] in printed.out
    assert "PNEUMONIA: 8 images; with fewer than 20 nothing can be said." in printed.err
    assert f"{len(normal['group'])} images labeled NORMAL form a small group apart" in " ".join(printed.err.split())
