"""The lab of robustness on a finished run: it attacks the run's own model, on its own test images."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_here
from lab_units import in_this_process
from shared_runs import SharedRuns

from commands.lab import robustness, robustness_run
from commands.lab.report.results import read_result
from commands.lab.robustness_run import Asked, attack_run
from data_preprocessing import load_partition
from fedward.errors import DataError, EvidenceError, UsageError
from fedward.labs.lab_folder import kept_arrays
from fedward.labs.robustness.plan import NONE, QUICK, with_eps
from fedward.labs.robustness.running import LabFolder
from fedward.learning.stored_model import read_model

PLAN = dataclasses.replace(
    QUICK,
    attacks=("fgsm", "pgd:iterations=5,step=0.4"),
    eps=(0.0, 8.0),
    pixels="pixels:count=5,generations=1,population=5",
    measured=40,
    few=2,
)


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run of scatter, whose network has a part that training does not change."""
    return shared_runs.concluded() / "run"


@pytest.fixture(scope="module")
def lab(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's folder of that run."""
    out = tmp_path_factory.mktemp("lab") / "out"
    with pytest.MonkeyPatch.context() as patch:
        quickly(patch)
        attack_run(out, Asked(run, "", full=False), "table")
    return out


@pytest.fixture(scope="module")
def summary(lab: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lab / "summary.json").read_bytes())
    return found


def quickly(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(robustness_run, "QUICK", PLAN)
    patch.setattr(robustness, "run_units", in_this_process)


def test_without_an_attack_figures_are_the_runs_own(run: Path, summary: dict[str, Any]) -> None:
    pooled = json.loads((run / "summary.json").read_bytes())["scores"]["pooled"]
    clean = summary["defenses"][0]["clean"]
    assert clean["images"] == pooled["n"]
    assert clean["auc"] == pytest.approx(pooled["auc"], abs=1e-9)
    assert clean["accuracy"] == pytest.approx(pooled["accuracy"], abs=1e-9), "by the run's own threshold"


def test_the_runs_model_is_attacked_and_jpeg_stands_before_it(summary: dict[str, Any]) -> None:
    assert [each["defense"] for each in summary["defenses"]] == [NONE, "jpeg"]
    for each in summary["defenses"]:
        null, far = (each["attacks"]["white-box"][with_eps("pgd:iterations=5,step=0.4", eps)] for eps in (0.0, 8.0))
        assert far["auc"] < null["auc"]


def test_the_lab_has_the_runs_weights_and_its_hospitals_images(run: Path, lab: Path) -> None:
    stored, (classifier,) = read_model(run / "model.keras"), (lab / "classifiers").iterdir()
    kept = kept_arrays(classifier)
    assert np.array_equal(kept["weights"], stored.weights)
    assert np.array_equal(kept["fixed"], stored.fixed)
    assert len(stored.fixed) > 0
    seed = int(classifier.name.partition("-")[0])
    hospitals = sorted((run / "hospitals").glob("hospital-*/partition.npz"))
    taken = sorted(LabFolder(lab).data(seed).glob("hospital-*.npz"))
    assert len(hospitals) == len(taken) == 3
    for own, there in zip(hospitals, taken, strict=True):
        assert np.array_equal(load_partition(own).test.images, load_partition(there).test.images)


def test_the_report_takes_it_as_measured_of_this_run(run: Path, lab: Path) -> None:
    result, digest = read_result(lab), json.loads((run / "summary.json").read_bytes())["model"]["weights_sha256"]
    assert (result.lab, result.model_digest) == ("robustness", digest)
    assert result.command.startswith(f"main.py lab robustness --run {run}")


def test_another_call_goes_on_where_it_was(run: Path, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly(monkeypatch)
    ran = list[Any]()

    def noted(results: Any, units: Any, run_unit: Any, report: Any) -> None:
        ran.extend(unit for unit in units if results.of(unit) is None)
        in_this_process(results, units, run_unit, report)

    monkeypatch.setattr(robustness, "run_units", noted)
    attack_run(lab, Asked(run, "", full=False), "json")
    assert ran == []
    with pytest.raises(UsageError, match="other data or settings"):
        attack_run(lab, Asked(run, "", full=False, attacks=("fgsm",)), "json")


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"defenses": "train-pgd"}, UsageError, "cannot be trained again for the defense 'train-pgd'"),
        ({"defenses": "armor"}, UsageError, "cannot be trained again for the defense 'armor'"),
        ({"attacks": ("lightning",)}, UsageError, "no attack"),
        ({"data": "nowhere"}, DataError, "nowhere"),
        ({"run": Path("nowhere")}, EvidenceError, "nowhere"),
    ],
)
def test_what_cannot_be_attacked_is_refused_and_nothing_is_left(
    changes: dict[str, Any], kind: type[Exception], sentence: str, run: Path, tmp_path: Path
) -> None:
    asked = dataclasses.replace(Asked(run, "", full=False), **changes)
    with pytest.raises(kind, match=sentence):
        attack_run(tmp_path / "out", asked, "json")
    assert not (tmp_path / "out").exists()


def changed(run: Path, place: Path, name: str, *keys: str, to: Any) -> Path:
    """A run whose file `name` has another value, and whose others are the run's own."""
    for path in (path for path in run.rglob("*") if path.is_file()):
        there = place / path.relative_to(run)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.hardlink_to(path)  # links by name are refused in evidence
    value = document = json.loads((run / name).read_bytes())
    for key in keys[:-1]:
        value = value[key]
    value[keys[-1]] = to
    (place / name).unlink()
    (place / name).write_text(json.dumps(document))
    return place


def test_another_model_than_the_summary_names_is_refused(run: Path, tmp_path: Path) -> None:
    other = changed(run, tmp_path / "run", "summary.json", "model", "weights_sha256", to="00" * 32)
    with pytest.raises(EvidenceError, match="not the model that the run's summary names"):
        attack_run(tmp_path / "out", Asked(other, "", full=False), "json")
    assert not (tmp_path / "out").exists()


def test_sealed_images_are_not_laid_open_and_a_run_is_not_written_to(run: Path, tmp_path: Path) -> None:
    sealed = changed(run, tmp_path / "run", "server/run.json", "settings", "image-encryption", "method", to="fgsm")
    with pytest.raises(UsageError, match="hospitals seal their images"):
        attack_run(tmp_path / "out", Asked(sealed, "", full=False), "json")
    with pytest.raises(UsageError, match="lies in the run"):
        attack_run(run / "out", Asked(run, "", full=False), "json")


def test_a_model_of_several_findings_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = read_model(run / "model.keras")
    card = dataclasses.replace(stored.card, findings=("one", "two"), thresholds=(0.5, 0.5))
    monkeypatch.setattr(robustness_run, "read_model", lambda _: dataclasses.replace(stored, card=card))
    with pytest.raises(UsageError, match="this run's model has several"):
        attack_run(tmp_path / "out", Asked(run, "", full=False), "json")
    assert not (tmp_path / "out").exists()


def test_the_command_refuses_what_a_run_has_decided(run: Path) -> None:
    done = run_here("lab", "robustness", "--run", run, "--seeds", "1")
    assert done.returncode == UsageError.exit_code
    assert "A run has its own seed and settings. Leave --seeds away." in " ".join(done.stderr.split())
