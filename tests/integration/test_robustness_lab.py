"""The lab of robustness on a few drawn images: null and perfect attack, and a defense that only hides gradients."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_units import in_this_process

from commands.lab import robustness
from commands.lab.robustness import Asked, run_lab
from commands.lab.robustness_tables import sheets
from fedward.errors import UsageError, VerificationError
from fedward.labs.hospitals_data import load_hospitals, load_settings
from fedward.labs.lab_folder import kept_arrays
from fedward.labs.robustness import running
from fedward.labs.robustness.jpeg import Jpeg
from fedward.labs.robustness.plan import NONE, QUICK, Unit, with_eps
from fedward.labs.robustness.running import LabFolder
from fedward.labs.robustness.training import TrainedClassifier
from fedward.labs.robustness.trial import NULL, PERFECT
from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import tf
from fedward.learning.weight_shapes import ModelSpec
from fedward.reconstruction.pairs import Pairs

PLAN = dataclasses.replace(
    QUICK,
    attacks=("fgsm", "pgd:iterations=5,step=0.4"),
    eps=(0.0, 8.0),
    pixels="pixels:count=5,generations=1,population=5",
    defenses=(NONE, "jpeg"),
    rounds=5,
    measured=40,
    few=2,
    pairs=16,
)
SMALL = (
    "data.synthetic-images=300",
    "data.image-size=32",
    "training.learning-rate=0.003",
    "training.adversarial-eps=0.03",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab of one seed, run by the command."""
    path = tmp_path_factory.mktemp("lab") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "QUICK", PLAN)
        patch.setattr(robustness, "run_units", in_this_process)
        run_lab(path, Asked("synthetic", False, "", SMALL), "table")
    return path


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_bytes())
    return found


def test_the_null_attack_changes_nothing_and_the_perfect_one_turns_everything(summary: dict[str, Any]) -> None:
    null = with_eps("fgsm", 0.0)
    for each in summary["defenses"]:
        for column in ("transfer", "white-box"):
            assert each["attacks"][column][null] == each[NULL]
        assert each["clean"]["auc"] > 0.9, "it has learned"
        assert each[PERFECT]["auc"] < 0.1


def test_attacks_do_harm_and_the_undefended_classifiers_columns_are_one(summary: dict[str, Any]) -> None:
    areas = {each["defense"]: each["strongest"]["white-box"]["8"]["auc"] for each in summary["defenses"]}
    assert areas[NONE] < 0.3
    assert all(0 <= area <= 1 for area in areas.values())
    (undefended, *_), transferred = summary["defenses"], "transfer"
    assert undefended["attacks"][transferred] == undefended["attacks"]["white-box"]


def test_tables_pictures_and_verdict_are_there(folder: Path, summary: dict[str, Any]) -> None:
    assert {"summary.json", "curves.png", "attacked.png", "table-1.csv"} <= {path.name for path in folder.iterdir()}
    kept = json.loads((folder / "units" / f"1-attack-{NONE}.json").read_bytes())
    strongest = min(PLAN.attacks, key=lambda attack: kept["white-box"][with_eps(attack, 8.0)]["auc"])
    assert kept["shown"] == with_eps(strongest, 8.0)
    tables = sheets(summary)
    assert [len(table.rows) for table in tables] == [2, 2, 2, 2 * 5, 2 * 5]
    assert all(len(row) == len(table.headings) for table in tables for row in table.rows)
    assert "worse than a coin from 8/255 on" in summary["verdict"]
    assert summary["masking"] == []


@pytest.mark.parametrize(("defense", "attacked"), [("vae", [False, True]), ("denoiser", [True, True])])
def test_what_defending_networks_learn_from(
    folder: Path, defense: str, attacked: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denoiser that learned from images as they are, too, learned to change none, and was no defense."""
    lab, shown = LabFolder(folder), list[Pairs]()
    settings, partitions = load_settings(lab.data(1)), load_hospitals(lab.data(1))
    kept = kept_arrays(lab.classifier(1, NONE))
    classifier = Classifier(ModelSpec(settings.model.name, settings.data.image_size, 1))
    classifier.set_weights(kept["weights"])
    monkeypatch.setattr(running, "train_reader", lambda _name, pairs, _seed, epochs: shown.append(pairs))  # noqa: ARG005
    trained = TrainedClassifier(kept["weights"], float(kept["threshold"]))
    running.input_defense(Unit(1, "attack", defense), PLAN, partitions, classifier, trained)
    ((encrypted, originals, _labels),) = ((each.encrypted, each.originals, each.labels) for each in shown)
    assert len(originals) == PLAN.pairs
    changed = (encrypted != originals).any(axis=(1, 2, 3))
    assert changed.tolist() == attacked * (PLAN.pairs // 2)
    assert np.abs(encrypted - originals).max() <= 4.01 / 255


class HidesGradients(Jpeg):
    """As JPEG, and gives attackers no gradient."""

    def differentiable(self, pixels: Any) -> Any:
        return tf.stop_gradient(super().differentiable(pixels)) + 0 * pixels


class ImagesOwnGradient(Jpeg):
    """As JPEG, with a gradient that knows of no rounding: attacks fail together, and no attack's figures tell why."""

    def differentiable(self, pixels: Any) -> Any:
        return pixels + tf.stop_gradient(super().differentiable(pixels) - pixels)


@pytest.mark.parametrize(
    ("wrong", "signs"),
    [
        (HidesGradients, ["jpeg: at 8/255 white-box attacks leave an AUC", "jpeg: attackers find no slope to follow"]),
        (ImagesOwnGradient, ["jpeg: a step of 1/255 along the slope brings 0."]),
    ],
)
def test_a_defense_that_only_hides_gradients_fails_the_lab(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: type[Jpeg], signs: list[str]
) -> None:
    monkeypatch.setattr(robustness, "QUICK", PLAN)
    monkeypatch.setattr(robustness, "run_units", in_this_process)
    monkeypatch.setattr(running, "Jpeg", wrong)
    kept = folder / "units" / "1-attack-jpeg.json"
    before = kept.read_bytes()
    kept.unlink()
    try:
        with pytest.raises(VerificationError) as told:
            run_lab(folder, Asked("synthetic", False, "", SMALL), "json")
        assert all(sign in str(told.value) for sign in signs)
    finally:
        kept.write_bytes(before)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"defenses": "armor"}, "no defense 'armor'"),
        ({"attacks": ("lightning",)}, "no attack"),
        ({"assignments": ("model.name=scatter",)}, "model scatter"),
        ({"assignments": ("training.adversarial=pgd",)}, "trains with and without attacked images itself"),
        ({"seeds": "one"}, "no list of whole numbers"),
    ],
)
def test_wrong_wishes_get_one_sentence(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    asked = dataclasses.replace(Asked("synthetic", False, "", ()), **changes)
    with pytest.raises(UsageError, match=sentence):
        run_lab(tmp_path / "out", asked, "json")
    assert not (tmp_path / "out").exists()
