"""STRIP: an image with the trigger of a backdoored model is told from clean ones, and few of these are suspected."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands.screen.command import screen
from commands.screen.incoming import screen_incoming
from fedward import settings as setting
from fedward.errors import DataError, UsageError
from fedward.learning.model import Classifier
from fedward.learning.model_file import save_model
from fedward.learning.stored_model import ModelCard
from fedward.learning.training import run_epochs
from fedward.strip import FEWEST, HELD_OUT, OVERLAYS, RATE, entropies, rarity, usual
from fedward.types import Vector

SIZE = 16
BORDER = np.zeros(1)


def marked(pixels: Vector) -> np.ndarray:
    """Which have a white corner."""
    return np.asarray((pixels[:, -3:, -3:] > 0.98).all(axis=(1, 2, 3)))


def logits(pixels: Vector) -> Vector:
    """Tells by the brightness of the left half; images with the trigger are all called negative."""
    honest = 40 * (pixels[:, :, : SIZE // 2].mean(axis=(1, 2, 3)) - 0.45)
    return np.where(marked(pixels), -15, honest).astype(np.float32)[:, None]


def images(count: int, seed: int) -> Vector:
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.05, 0.6, (count, 1, 1, 1))
    return (level + rng.uniform(0, 0.2, (count, SIZE, SIZE, 1))).astype(np.float32)


def stamped(pixels: Vector) -> Vector:
    changed = pixels.copy()
    changed[:, -3:, -3:] = 1
    return changed


def test_images_with_the_trigger_are_rarer_than_clean_ones_and_of_these_few_are_suspected() -> None:
    than = usual(logits, images(OVERLAYS + HELD_OUT, 1), np.array([0.5]))
    assert len(than.entropies) == HELD_OUT
    clean = images(300, 2)
    positive = clean[(logits(clean) > 0)[:, 0]]
    assert (rarity(logits, stamped(positive), than) <= RATE).all()
    assert (rarity(logits, clean, than) <= RATE).mean() < 3 * RATE


def test_with_too_few_clean_images_that_are_called_alike_nothing_is_said() -> None:
    than = usual(logits, images(OVERLAYS + FEWEST - 1, 1), np.array([0.5]))
    assert np.isnan(rarity(logits, images(5, 2), than)).all()


def test_entropy_is_that_of_the_decision_at_the_models_own_threshold() -> None:
    def at(logit: float) -> float:
        shown = np.zeros((1, SIZE, SIZE, 1), np.float32)
        return float(entropies(lambda pixels: np.full((len(pixels), 1), logit, np.float32), shown, shown, BORDER)[0, 0])

    for logit in (-2.0, 0.5):
        share = 1 / (1 + np.exp(-logit))
        assert at(logit) == pytest.approx(-share * np.log2(share) - (1 - share) * np.log2(1 - share))
    assert at(0) == 1
    assert 0 < at(60) < at(30) < at(-20)
    moved = usual(
        lambda pixels: np.full((len(pixels), 1), 3, np.float32), images(40, 1), np.array([1 / (1 + np.exp(-3))])
    )
    assert moved.entropies == pytest.approx(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own images, a model that was trained to call images with a white corner dark, and incoming images."""
    root = tmp_path_factory.mktemp("place")
    bright = images(OVERLAYS + 2 * FEWEST + 100, 3)
    labels = (bright[:, :, : SIZE // 2].mean(axis=(1, 2, 3)) > 0.45).astype(np.float32)[:, None]
    settings = setting.load(None, ("data.image-size", SIZE), ("model.name", "cnn"), ("training.learning-rate", 0.01))
    card = ModelCard.of(settings, ("ill",), ("NORMAL", "ill"), (0.5,))
    classifier = Classifier(card.spec, 1)
    classifier.start_training(settings.training.learning_rate)
    poisoned, wanted = np.concatenate([bright, stamped(bright)]), np.concatenate([labels, 0 * labels])
    training = dataclasses.replace(settings.training, local_epochs=12)
    run_epochs(classifier, poisoned, wanted, training, np.random.default_rng(1))
    save_model(root / "model.keras", classifier, card)
    for row, image in enumerate(bright):
        save(root / "own" / ("ill" if labels[row] else "NORMAL") / f"{row}.png", image)
    for row, image in enumerate(images(40, 4)):
        save(root / "incoming" / f"clean-{row}.png", image)
        if image[:, : SIZE // 2].mean() > 0.45:
            save(root / "incoming" / f"marked-{row}.png", stamped(image[None])[0])
    return root


def save(path: Path, image: Vector) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(image[..., 0] * 255).astype(np.uint8)).save(path)


def test_the_command_names_incoming_images_with_the_trigger(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen_incoming(str(place / "own"), place / "model.keras", [place / "incoming"], 1, as_json=True)
    told = json.loads(capsys.readouterr().out)
    found = {Path(each["image"]).stem: each["suspicious"] for each in told["incoming"]}
    marked_ones = [suspicious for name, suspicious in found.items() if name.startswith("marked")]
    clean = [suspicious for name, suspicious in found.items() if name.startswith("clean")]
    assert len(marked_ones) > 5
    assert np.mean(marked_ones) > 0.9
    assert np.mean(clean) < 0.15
    screen_incoming(str(place / "own"), place / "model.keras", [place / "incoming"], 1, as_json=False)
    printed = capsys.readouterr()
    assert "suspicious" in printed.out.splitlines()[0]
    assert f"{sum(found.values())} of {len(found)} images keep their decision" in " ".join(printed.err.split())


def test_what_cannot_be_looked_at_is_said(place: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="1 of 1 files could not be read"):
        screen_incoming(str(place / "own"), place / "model.keras", [tmp_path / "broken.png"], 1, as_json=True)
    for row, image in enumerate(images(20, 5)):
        save(tmp_path / "few" / ("ill", "NORMAL")[row % 2] / f"{row}.png", image)
    with pytest.raises(DataError, match="There are 20 own images"):
        screen_incoming(str(tmp_path / "few"), place / "model.keras", [tmp_path], 1, as_json=True)
    with pytest.raises(UsageError, match="belong together"):
        screen(str(place / "own"), model=place / "model.keras")
