"""The lab of image encryption on a few drawn images: every figure is there, and the null attack and no attack agree."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_units import in_this_process

from commands.lab import image_encryption
from commands.lab.image_encryption import Asked, run_lab
from commands.lab.image_encryption_tables import sheets
from fedward.errors import DataError, UsageError
from fedward.labs.hospitals_data import load_hospitals
from fedward.labs.image_encryption.models import ELSEWHERE, FEDERATION, load_models, save_models
from fedward.labs.image_encryption.plan import QUICK, Plan, Unit
from fedward.labs.image_encryption.running import LabFolder, chosen_sets, load_picture, run_unit
from fedward.reconstruction.registry import READERS

NULL = "fgsm:eps=0"
PLAN = dataclasses.replace(
    QUICK, methods=(NULL, "fgsm:eps=0.3"), rounds=1, pairs=32, measured=24, known=(8,), epochs=1, reader_epochs=1
)
SMALL = ("data.synthetic-images=120", "data.image-size=32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> LabFolder:
    """A lab of one seed, run by the command."""
    path = tmp_path_factory.mktemp("lab") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_encryption, "QUICK", PLAN)
        patch.setattr(image_encryption, "run_units", in_this_process)
        run_lab(path, Asked("synthetic", False, "", SMALL), "table")
    return LabFolder(path)


@pytest.fixture(scope="module")
def summary(folder: LabFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder.path / "summary.json").read_bytes())
    return found


def test_the_null_attack_hides_nothing_and_is_read_as_the_clean_images(summary: dict[str, Any]) -> None:
    null, strong = summary["methods"]
    assert null["method"] == NULL
    assert null["hidden"] == 0
    assert null["psnr"] is None, "equal images have no PSNR"
    assert null["ssim"] == pytest.approx(1)
    assert null["l2"] == 0
    assert set(null["misled"].values()) == {0.0}
    assert null["transfer_accuracy"][FEDERATION] == null["clean_accuracy"]
    assert strong["psnr"] < 15
    assert strong["ssim"] < 0.9


def test_every_reader_and_attacker_is_in_the_tables(summary: dict[str, Any]) -> None:
    assert [each["reader"] for each in summary["readers"]] == list(READERS)
    tables = sheets(summary)
    assert [len(table.rows) for table in tables] == [2, 2, len(READERS), 2, 2]
    assert all(len(row) == len(table.headings) for table in tables for row in table.rows)
    attackers = tables[3]
    assert attackers.headings == ("method", "0", "8")
    assert all(0 <= float(cell) <= 1 for row in attackers.rows for cell in row[1:])
    assert "not cryptography" in summary["verdict"]


def test_pictures_and_figures_are_written_and_nothing_is_run_twice(folder: LabFolder) -> None:
    names = {path.name for path in folder.path.iterdir()}
    assert {"summary.json", "attackers.png", "1-fgsm-eps-0.png", "1-fgsm-eps-0.3.png", "table-1.csv"} <= names
    picture = load_picture(folder.picture(Unit(1, NULL)))
    assert np.array_equal(picture.originals, picture.encrypted)
    assert folder.results.of(Unit(1, "models")) == {FEDERATION: "cnn", ELSEWHERE: "cnn", "scatter": "scatter"}


def test_learned_and_measured_images_are_of_different_patients(folder: LabFolder) -> None:
    sets = chosen_sets(load_hospitals(folder.data(1)), PLAN, 1)
    assert not set(sets.own.patients) & set(sets.test.patients)
    assert (len(sets.own), len(sets.test)) <= (PLAN.pairs, PLAN.measured)


def test_models_come_back_as_they_were(folder: LabFolder, tmp_path: Path) -> None:
    models = load_models(folder.models(1))
    save_models(tmp_path / "again.npz", models)
    again = load_models(tmp_path / "again.npz")
    assert {name: model.thresholds for name, model in again.items()} == {n: m.thresholds for n, m in models.items()}
    assert all(np.array_equal(again[name].weights, models[name].weights) for name in models)


def test_hop_skip_jump_takes_a_part_of_the_images(folder: LabFolder) -> None:
    plan: Plan = dataclasses.replace(PLAN, slow_share=0.25, known=())
    text = "hop-skip-jump:iterations=1,first-evaluations=4"
    found = run_unit(LabFolder(folder.path), plan, Unit(1, text))
    assert found["images"] == 5, "a quarter of 21"
    assert found["encrypted"]["hidden"]["images"] <= 5


def test_wrong_wishes_are_said(tmp_path: Path) -> None:
    for asked in (
        Asked("synthetic", False, "one", ()),
        Asked("synthetic", False, "", (), ("nothing",)),
        Asked("synthetic", False, "", ("data.nothing=1",)),
    ):
        with pytest.raises(UsageError):
            run_lab(tmp_path / "lab", asked, "json")
    assert not (tmp_path / "lab").exists()
    with pytest.raises(DataError):
        run_lab(tmp_path / "lab", Asked(str(tmp_path / "nowhere"), False, "", ()), "json")
    assert not (tmp_path / "lab").exists()
