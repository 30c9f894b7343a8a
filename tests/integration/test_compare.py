"""`main.py compare`: paired where test images are the same, unpaired where not, and wrong input gets a sentence."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_here
from federation import PRIVATE_SCATTER
from shared_runs import SharedRuns
from sklearn.metrics import roc_auc_score

from commands.compare.differing import Compared
from commands.compare.scored import ScoredRun, paired, shared
from commands.simulate.conclusion import conclude
from commands.view.shelf import read_run
from data_preprocessing import load_partition, save_partition
from fedward.figures.scores import score
from fedward.folders.simulation import SimulationFolder
from fedward.learning.model_file import load_card, load_logits
from fedward.timing import Stopwatch
from fedward.types import ImageSet, Partition, Vector

HOSPITAL = "hospital-1"


@pytest.fixture(scope="module")
def first(shared_runs: SharedRuns) -> Path:
    """A finished run of two private rounds, to read."""
    return shared_runs.concluded() / "run"


@pytest.fixture(scope="module")
def second(shared_runs: SharedRuns) -> Path:
    """The same hospitals with the same images after one round with less noise, to read."""
    settings = (*PRIVATE_SCATTER[:-1], ("privacy.noise-multiplier", 1.0))

    def make(place: Path) -> None:
        with shared_runs.federation(place / "other", *settings, rounds=1) as federation:
            conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())

    return shared_runs.folder("compared", make) / "other"


@pytest.fixture
def copy(second: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(second, tmp_path / "copy"))


def compared(*arguments: str | Path) -> Any:
    done = run_here("compare", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def scored(run: Path) -> tuple[ImageSet, Vector]:
    """A run's test images and its model's logits."""
    folder = SimulationFolder(run)
    parts = [load_partition(folder.hospital(each.hospital).partition).test for each in read_run(run).record.roster]
    images = ImageSet.joined(parts)
    return images, load_logits(folder.model, images.pixels())


def test_runs_on_the_same_images_are_compared_on_each(first: Path, second: Path) -> None:
    told = compared(first, second)
    images, before = scored(first)
    _, after = scored(second)
    assert told["settings"] == {"privacy.noise-multiplier": [2.0, 1.0]}
    assert [each["value"] for each in told["figures"]["rounds accepted"]] == [2, 1]
    (difference,) = told["differences"]
    assert difference["paired"]
    assert difference["images"] == len(images)
    areas = [roc_auc_score(images.labels, logits) for logits in (before, after)]
    auc = difference["differences"]["AUC"]
    assert auc["value"] == pytest.approx(areas[1] - areas[0])
    assert auc["interval"][0] < auc["value"] < auc["interval"][1]
    stated = [json.loads((run / "summary.json").read_bytes())["test"]["accuracy"] for run in (first, second)]
    assert difference["differences"]["accuracy"]["value"] == pytest.approx(stated[1] - stated[0])


def test_the_order_of_hospitals_and_images_has_no_influence(first: Path, second: Path, copy: Path) -> None:
    path = SimulationFolder(copy).hospital(HOSPITAL).partition
    partition = load_partition(path)
    turned = partition.test.some(np.arange(len(partition.test))[::-1])
    save_partition(path, Partition(partition.hospital, partition.findings, partition.train, partition.val, turned))
    assert (
        compared(first, copy)["differences"][0]["differences"]
        == compared(first, second)["differences"][0]["differences"]
    )


def without_one_image(run: Path) -> None:
    """Take one test image from a run, and let its summary tell of the others."""
    path = SimulationFolder(run).hospital(HOSPITAL).partition
    old = load_partition(path)
    fewer = old.test.some(np.arange(1, len(old.test)))
    save_partition(path, Partition(old.hospital, old.findings, old.train, old.val, fewer))


def test_runs_on_different_images_are_compared_unpaired(first: Path, copy: Path) -> None:
    without_one_image(copy)
    done = run_here("compare", first, copy)
    assert done.returncode == 7, "its summary tells of one image more"
    assert "on its test images; its summary.json states" in done.stderr
    images, logits = scored(copy)
    summary = json.loads((copy / "summary.json").read_bytes())
    summary["scores"]["pooled"] = score(images, logits, load_card(copy / "model.keras").thresholds).as_dict()
    (copy / "summary.json").write_text(json.dumps(summary))
    told = compared(first, copy)["differences"][0]
    assert not told["paired"]
    assert f"({len(images) + 1} and {len(images)}, {len(images)} in both)" in told["note"]
    interval = told["differences"]["accuracy"]["interval"]
    assert interval[0] < told["differences"]["accuracy"]["value"] < interval[1]


def test_without_images_or_with_other_findings_it_says_so(first: Path, copy: Path) -> None:
    SimulationFolder(copy).hospital(HOSPITAL).partition.unlink()
    done = run_here("compare", first, copy)
    assert done.returncode == 0
    assert "are compared unpaired, for test images are not there: There is no partition" in done.stderr
    record = json.loads((copy / "server" / "run.json").read_bytes())
    record["findings"] = ["[bold]other"]
    (copy / "server" / "run.json").write_text(json.dumps(record))
    told = compared(first, copy)["differences"][0]
    assert told["differences"] == {}
    assert "look for different findings" in told["note"]


def test_pictures_and_json_go_into_a_new_folder(first: Path, second: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = compared(first, second, "--out", out)
    assert {path.name for path in out.iterdir()} == {"comparison.json", "differences.png", "roc.png", "validation.png"}
    assert json.loads((out / "comparison.json").read_bytes()) == told
    done = run_here("compare", first, second, "--out", out)
    assert done.returncode == 2
    assert "is in use" in done.stderr


def test_wrong_input_gets_a_sentence(first: Path, copy: Path, tmp_path: Path) -> None:
    (copy / "summary.json").unlink()
    for runs, code, sentence in (
        ((first,), 2, "nothing to compare with a single run"),
        ((first, first), 2, "is named twice"),
        ((first, tmp_path), 8, "is not a run folder"),
        ((first, copy), 8, "has not ended"),
    ):
        done = run_here("compare", *runs)
        assert (done.returncode, done.stdout) == (code, "")
        assert sentence in done.stderr


def of_two_findings(seed: int, order: list[int]) -> ScoredRun:
    """Six images, the last two of them alike, each of a patient of its own."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(6, 2)).astype(np.float32)
    truth = np.array([[0, 1], [1, 0], [0, 1], [1, 1], [1, 0], [1, 0]], bool)
    keys = (b"a", b"b", b"c", b"d", b"e", b"e")
    return ScoredRun(logits, (logits > 0) == truth, truth, np.arange(6), keys).some(np.array(order, np.intp))


def test_images_are_paired_one_by_one_and_findings_compared_each() -> None:
    first, second = of_two_findings(1, [0, 1, 2, 3, 4, 5]), of_two_findings(2, [5, 3, 1, 0, 2, 4])
    its = paired(first, second)
    assert its is not None
    assert its.keys == first.keys
    assert (its.truth == first.truth).all()
    found = Compared.paired("second", first, its, ("one", "[bold]two")).differences
    assert list(found) == ["AUC", "accuracy", "AUC of one", "AUC of [bold]two"]
    each = [found[name] for name in ("AUC of one", "AUC of [bold]two")]
    assert found["AUC"] is not None
    assert found["AUC"].value == pytest.approx(np.mean([one.value for one in each if one]))
    fewer = second.some(np.array([0, 1, 2, 3, 4], np.intp))
    assert paired(first, fewer) is None
    assert shared(first, fewer) == 5
