"""`simulate --baselines`: each hospital alone and all images in one place, trained once, kept, and taken up again."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands.simulate import baselines
from commands.simulate.alone import train_alone
from commands.simulate.pooling import pooled
from data_preprocessing import save_partition
from fedward import settings as setting
from fedward.errors import EvidenceError
from fedward.figures.histograms import histogram
from fedward.figures.scores import score
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.learning.model import Classifier
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.settings import Settings, to_tables
from fedward.types import Address, GlobalModel, HospitalId, ImageSet, Member, Partition

HOSPITALS = ("hospital-1", "hospital-2")


def image_set(seed: int, n: int, classes: int = 2) -> ImageSet:
    """Noise, with stripes where the label is 1."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % classes).astype(np.float32)[:, None]
    stripes = (np.arange(16) % 2 * 60)[None, None, :]
    pixels = rng.integers(0, 150, (n, 16, 16)) + labels[:, :, None] * stripes
    return ImageSet(pixels.astype(np.uint8), labels, np.array([f"p{seed}-{index // 2}" for index in range(n)], np.str_))


def partition(number: int, n: int = 24, classes: int = 2, val: int = 10) -> Partition:
    sets = (image_set(number, n, classes), image_set(10 + number, val, classes), image_set(20 + number, 12, classes))
    return Partition(HospitalId(f"hospital-{number}"), ("f",), *sets)


def settings(**changes: Any) -> Settings:
    given = {"model.name": "cnn", "data.image-size": 16, "training.rounds": 3, "training.batch-size": 8} | changes
    return setting.load(None, *given.items())


def run_of(path: Path, partitions: list[Partition], chosen: Settings) -> SimulationFolder:
    """A run folder after its last round, as far as baselines look at it."""
    folder = SimulationFolder.create(path)
    roster = tuple(Member(part.hospital, Address(f"0x{index}"), 5) for index, part in enumerate(partitions))
    folder.server.save_record(
        RunRecord("t", "", {}, to_tables(chosen), "", "", ("f",), ("a", "b"), 1, Address("0xc"), roster, (), "")
    )
    for part in partitions:
        folder.hospital(part.hospital).partition.parent.mkdir(parents=True)
        save_partition(folder.hospital(part.hospital).partition, part)
    return folder


def finished(path: Path, chosen: Settings, partitions: list[Partition] | None = None) -> dict[str, Any]:
    folder = run_of(path, partitions or [partition(1), partition(2)], chosen)
    baselines.ask_for(folder)
    baselines.finish(folder, chosen)
    found: dict[str, Any] = json.loads((path / baselines.FILE).read_text())
    return found


def without_time(found: dict[str, Any]) -> dict[str, Any]:
    return {name: result | {"seconds": None} for name, result in found.items()}


def test_each_baseline_is_the_federations_own_training_on_those_images_alone(tmp_path: Path) -> None:
    chosen, parts = settings(), [partition(1), partition(2)]
    found = finished(tmp_path / "run", chosen)
    assert set(found) == {*HOSPITALS, "central"}
    assert [found[name]["train_n"] for name in (*HOSPITALS, "central")] == [24, 24, 48]
    test = ImageSet.joined([part.test for part in parts])
    classifier = Classifier(ModelSpec("cnn", 16, 1), chosen.training.seed)
    initial = classifier.get_weights()
    for trained in (parts[1], pooled(parts, "central")):
        weights = initial
        for index in (1, 2, 3):
            weights = weights + train(trained, GlobalModel(weights, b""), classifier, chosen.training, index).delta
        classifier.set_weights(weights)
        thresholds = histogram(classifier.logits(trained.val.pixels()), trained.val.labels).thresholds()
        expected = score(test, classifier.logits(test.pixels()), thresholds).as_dict()
        assert found[trained.hospital]["scores"] == json.loads(json.dumps(expected))
    assert found["hospital-1"]["scores"] != found["hospital-2"]["scores"]


def test_the_same_seed_gives_the_same_baselines(tmp_path: Path) -> None:
    first, second = (without_time(finished(tmp_path / name, settings())) for name in "ab")
    assert first == second


def test_what_is_finished_is_kept_and_only_the_rest_is_trained(tmp_path: Path) -> None:
    chosen = settings()
    whole = finished(tmp_path / "run", chosen)
    marked = {"hospital-1": whole["hospital-1"] | {"seconds": -1.0}}
    (tmp_path / "run" / baselines.FILE).write_text(json.dumps(marked))
    folder = SimulationFolder(tmp_path / "run")
    baselines.ask_for(folder)
    baselines.finish(folder, chosen)
    again = json.loads((tmp_path / "run" / baselines.FILE).read_text())
    assert again["hospital-1"]["seconds"] == -1.0
    assert without_time(again) == without_time(whole)


def test_a_stop_in_the_middle_keeps_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, seen = run_of(tmp_path / "run", [partition(1), partition(2)], settings()), list[str]()

    def interrupted(trained: Partition, *rest: Any) -> Any:
        seen.append(trained.hospital)
        if trained.hospital == "hospital-2":
            raise KeyboardInterrupt
        return train_alone(trained, *rest)

    baselines.ask_for(folder)
    monkeypatch.setattr(baselines, "train_alone", interrupted)
    with pytest.raises(KeyboardInterrupt):
        baselines.finish(folder, settings())
    monkeypatch.undo()
    assert set(json.loads((folder.path / baselines.FILE).read_text())) == {"hospital-1"}
    baselines.finish(folder, settings())
    assert set(json.loads((folder.path / baselines.FILE).read_text())) == {*HOSPITALS, "central"}
    assert seen == ["hospital-1", "hospital-2"]


def test_not_asked_for_means_not_trained(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", [partition(1), partition(2)], settings())
    baselines.finish(folder, settings())
    assert not (folder.path / baselines.FILE).exists()
    assert baselines.summarize(folder, {"auc": 0.5, "accuracy": 0.5}) is None


def test_the_summary_compares_with_the_mean_hospital(tmp_path: Path) -> None:
    found = finished(tmp_path / "run", settings())
    told = baselines.summarize(SimulationFolder(tmp_path / "run"), {"auc": 1.0, "accuracy": 0.75})
    assert told is not None
    areas = [found[name]["scores"]["auc"] for name in HOSPITALS]
    rights = [found[name]["scores"]["accuracy"] for name in HOSPITALS]
    assert told["local_mean"]["auc"] == pytest.approx(np.mean(areas))
    assert told["local_range"]["auc"] == [min(areas), max(areas)]
    assert told["gain_auc"] == pytest.approx(1 - np.mean(areas))
    assert told["gain_accuracy"] == pytest.approx(0.75 - np.mean(rights))
    assert told["hospitals_that_gain_auc"] == sum(area < 1 for area in areas)
    assert told["central"] == found["central"]
    undefined = baselines.summarize(SimulationFolder(tmp_path / "run"), {"auc": None, "accuracy": None})
    assert undefined is not None
    assert undefined["gain_auc"] is undefined["gain_accuracy"] is undefined["hospitals_that_gain_auc"] is None


@pytest.mark.parametrize("mode", ["sample", "update"])
def test_the_privacy_stage_is_passed_in_every_round(mode: str, tmp_path: Path) -> None:
    """With noise beyond all measure, nothing is learned and the weights are far away."""
    loud = settings(**{"privacy.mode": mode, "privacy.noise-multiplier": 1e5, "privacy.steps": 1,
                       "privacy.sampling-rate": 0.5})  # fmt: skip
    classifier, rounds = Classifier(ModelSpec("cnn", 16, 1), 1), list[int]()
    initial = classifier.get_weights()
    weights = train_alone(partition(1), initial, classifier, loud, lambda: rounds.append(1))
    assert len(rounds) == 3
    rate = loud.privacy.learning_rate / (0.5 * 12) if mode == "sample" else 1.0  # 12 patients
    deviation = rate * 1e5 * loud.privacy.clip_norm * np.sqrt(3)
    assert np.std(weights - initial) == pytest.approx(deviation, rel=0.05)


@pytest.mark.parametrize("name", ["cnn", "scatter"])
def test_a_hospital_of_one_class_without_validation_images_is_no_obstacle(name: str, tmp_path: Path) -> None:
    chosen = settings(**{"model.name": name})
    found = finished(tmp_path / "run", chosen, [partition(1, classes=1, val=0), partition(2)])
    assert found["hospital-1"]["scores"]["threshold"] == 0.5
    assert found["hospital-1"]["scores"]["accuracy"] is not None


def test_a_hospital_that_cannot_train_is_named_with_the_reason(tmp_path: Path) -> None:
    empty = dataclasses.replace(partition(1), train=image_set(1, 0))
    found = finished(tmp_path / "run", settings(), [empty, partition(2)])
    assert found["hospital-1"]["scores"] is None
    assert "no training images" in found["hospital-1"]["reason"]
    told = baselines.summarize(SimulationFolder(tmp_path / "run"), {"auc": 0.5, "accuracy": 0.5})
    assert told is not None
    assert told["local_mean"]["auc"] == found["hospital-2"]["scores"]["auc"]


ENTRY = b'{"hospital-1": {"train_n": 1, "reason": null, "seconds": 1, "scores": %s}}'
SHORT = b'{"auc": 0.5}'
WRONG = json.dumps(score(image_set(1, 0), np.zeros((0, 1), np.float32), 0.5).as_dict() | {"auc": "high"}).encode()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"hospital-1": 3}', b'{"hospital-1": {}}', b"[" * 100_000, b"\xff"]
    + [ENTRY % scores for scores in (b"7", SHORT, WRONG)],
)
def test_a_damaged_file_is_said(content: bytes, tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", [partition(1), partition(2)], settings())
    (folder.path / baselines.FILE).write_bytes(content)
    with pytest.raises(EvidenceError, match="baselines"):
        baselines.finish(folder, settings())
