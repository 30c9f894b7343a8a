"""The quality benchmark's own sums: medians, reuse of finished runs, and what its table owns up to."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from benchmarks import quality

AUCS = {1: 0.90, 2: 0.97, 3: 0.95}
ROW = quality.Row("scatter-eps1", "privacy-eps1.toml", baselines=True)


def simulate(_row: quality.Row, arguments: list[str], folder: Path) -> float:
    """What `main.py simulate` leaves behind, at once."""
    folder.mkdir(parents=True, exist_ok=True)
    seed = int(folder.name.rpartition("-")[2])
    summary: dict[str, Any] = {
        "test": {"auc": AUCS[seed], "accuracy": 0.9},
        "privacy": {"unit": "patient", "epsilon": 0.99},
        "rounds": {"opened": 3, "accepted": 2, "rejected": 1, "aborted": 0},
    }
    if "--resume" in arguments:
        summary["baselines"] = {"local_mean": {"auc": AUCS[seed] - 0.1, "accuracy": 0.8}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return 100.0 + seed


@pytest.fixture
def runs(tmp_path: Path) -> list[dict[str, Any]]:
    with mock.patch("benchmarks.quality._simulate", simulate):
        return [line for seed in AUCS for line in quality.run(ROW, seed, tmp_path, tmp_path / "out")]


def test_a_row_is_the_median_of_its_seeds_and_hospitals_alone_have_their_own(runs: list[dict[str, Any]]) -> None:
    federation, alone = quality.summarize(runs)
    keys = {"name", "model", "partition", "unit", "epsilon", "auc", "accuracy", "seconds"}
    assert set(federation) == set(alone) == keys
    assert (federation["name"], federation["auc"], federation["seconds"]) == ("scatter-eps1", 0.95, 102.0)
    assert (federation["model"], federation["partition"], federation["unit"]) == ("scatter", "iid", "patient")
    assert (alone["name"], alone["auc"], alone["epsilon"]) == ("scatter-eps1-alone", pytest.approx(0.85), 0.99)


def test_what_has_finished_is_not_run_again_unless_its_settings_changed(
    tmp_path: Path, runs: list[dict[str, Any]]
) -> None:
    with mock.patch("benchmarks.quality._simulate", side_effect=AssertionError("ran again")):
        assert quality.run(ROW, 2, tmp_path, tmp_path / "out") == runs[2:4]
        other = quality.Row(ROW.name, ROW.config, ("training.rounds=14",), ROW.baselines)
        with pytest.raises(AssertionError, match="ran again"):
            quality.run(other, 2, tmp_path, tmp_path / "out")


def test_the_table_names_the_spread_and_rejected_rounds(runs: list[dict[str, Any]]) -> None:
    text = quality.table(quality.summarize(runs), runs)
    assert "| scatter-eps1 | scatter | iid | patient | 0.99 | 0.950 (0.900 to 0.970) | 0.900 | 102 |" in text
    assert "scatter-eps1, seed 3: 3 opened, 2 accepted, 1 rejected, 0 aborted." in text


def test_every_row_has_settings_and_a_name_of_its_own(tmp_path: Path) -> None:
    settings = [row.settings(tmp_path, 1) for row in quality.ROWS]
    assert len(set(settings)) == len({row.name for row in quality.ROWS}) == len(quality.ROWS)
