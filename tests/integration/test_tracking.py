"""`--tracking`: what is written tells the figures that the run has, once, however often it is written."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run_here
from shared_runs import SharedRuns

from commands.tracking.event_files import write_event_files
from commands.tracking.figures import tracked
from commands.tracking.mlflow_runs import unwritten
from commands.tracking.tracking import Following
from fedward.learning.quiet_tensorflow import tf


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run of two private rounds, to read."""
    return shared_runs.concluded() / "run"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def read_back(folder: Path) -> list[tuple[str, int, float | str]]:
    """Tag, step and value of each point in all event files of a folder, with their times' order checked."""
    points = []
    for path in sorted(folder.iterdir()):
        events = [tf.compat.v1.Event.FromString(each.numpy()) for each in tf.data.TFRecordDataset([str(path)])]
        assert events[0].file_version == "brain.Event:2"
        assert [event.wall_time for event in events] == sorted(event.wall_time for event in events)
        for event in events[1:]:
            (value,) = event.summary.value
            kept = tf.make_ndarray(value.tensor)
            read = kept[0].decode() if value.metadata.plugin_data.plugin_name == "text" else float(kept)
            points.append((value.tag, event.step, read))
    return points


def test_event_files_tell_the_figures_of_the_run_once(copy: Path) -> None:
    for _ in range(2):
        done = run_here("export", copy, "--tracking", "tensorboard")
        assert done.returncode == 0, done.stderr
    read = read_back(copy / "tensorboard")
    told = {(name, step): value for name, step, value in read}
    assert len(told) == len(read), "a point is doubled"
    lines = [json.loads(line) for line in (copy / "server" / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [1, 2]
    for line in lines:
        for name in ("train_loss", "val_loss", "val_auc", "submitted", "accepts"):
            # of a private run nobody tells the training loss
            expected = None if line[name] is None else pytest.approx(line[name], rel=1e-6)
            assert told.get((f"round/{name}", line["round"])) == expected
        assert line["timing_s"]
        for stage, seconds in line["timing_s"].items():
            assert told[f"seconds/{stage}", line["round"]] == pytest.approx(seconds, rel=1e-6)
    summary = json.loads((copy / "summary.json").read_bytes())
    pooled = summary["scores"]["pooled"]
    for name in ("auc", "accuracy", "recall", "specificity", "f1", "brier", "ece"):
        assert told[f"test/{name}", 2] == pytest.approx(pooled[name], rel=1e-6)
    assert told["test/auc_low", 2] == pytest.approx(pooled["intervals"]["auc"][0], rel=1e-6)
    assert told["privacy/epsilon", 2] == pytest.approx(summary["privacy"]["epsilon"], rel=1e-6)
    assert "| privacy.mode | sample |" in str(told["settings", 0])


def test_few_patients_of_one_hospital_are_not_told_of(run: Path, copy: Path) -> None:
    scores = json.loads((run / "summary.json").read_bytes())["scores"]["hospitals"]
    small = {name for name, found in scores.items() if found["patients"] < 10}
    assert small
    names = {point.name.split("/")[1] for point in tracked(run).end if point.name.startswith("test-by-hospital/")}
    assert not names & small

    def enough(fields: dict[str, object]) -> None:
        fields["scores"]["hospitals"]["hospital-1"] |= {"n": 20, "patients": 10}

    fields = json.loads((copy / "summary.json").read_bytes())
    enough(fields)
    (copy / "summary.json").write_text(json.dumps(fields))
    assert "test-by-hospital/hospital-1/accuracy" in {point.name for point in tracked(copy).end}


def test_a_run_that_goes_on_adds_to_what_was_written(run: Path, tmp_path: Path) -> None:
    whole = tracked(run)
    write_event_files(replace(whole, rounds={1: whole.rounds[1]}, end=()), tmp_path / "a")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "a").iterdir()}
    write_event_files(whole, tmp_path / "a")
    write_event_files(whole, tmp_path / "b")
    assert read_back(tmp_path / "a") == read_back(tmp_path / "b")
    assert all((tmp_path / "a" / name).stat().st_ino == file for name, file in before.items())


def test_mlflow_gets_what_it_has_not_under_names_that_it_takes(run: Path) -> None:
    whole = tracked(run)
    odd = replace(whole, end=(*whole.end, replace(whole.end[0], name="test-by-finding/a|b\u202e/auc")))
    points = list(unwritten(odd, []))
    assert {(point.name, point.step) for point in points} >= {("round/val_auc", 1), ("round/val_auc", 2)}
    assert points[-1].name == "test-by-finding/a_b_/auc"
    first = {(point.name, point.step) for point in whole.rounds[1]}
    rest = list(unwritten(odd, first))
    assert len(rest) == len(points) - len(first)
    assert not {(point.name, point.step) for point in rest} & first
    assert list(unwritten(odd, [(point.name, point.step) for point in points])) == []


def test_what_cannot_be_is_one_sentence_before_any_work(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where it is not installed
    out = tmp_path / "out"
    for command in (
        ("simulate", "--tracking", "mlflow", "--out", out),
        ("simulate", "--resume", "--tracking", "mlflow", "--out", copy),
        ("export", copy, "--tracking", "mlflow"),
        ("export", copy, "--tracking", "mlflow", "--out", out),
        ("export", copy, "--tracking", "tensorboard", "--report", "--out", out),
        ("export", copy, "--report"),
    ):
        done = run_here(*command)
        assert done.returncode == 2, command
        assert len(done.stderr.splitlines()) == 1
    assert "MLflow is not installed. Install it" in run_here("export", copy, "--tracking", "mlflow").stderr
    assert not out.exists()
    (copy / "tensorboard").write_text("in the way")
    following = Following("tensorboard", copy)
    following.after_round()
    following.after_round()
    assert " ".join(capsys.readouterr().err.split()).count("The run goes on without --tracking tensorboard.") == 1
