"""What a run leaves behind: every key always there, null where undefined, and a picture that is one."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fedward.errors import DataError, ResourceError, UsageError
from fedward.figures.plots import plot_learning_curves
from fedward.figures.reporting import RunFacts, final_table, summarize, write_summary
from fedward.figures.score_rows import figure, threshold_text
from fedward.figures.scores import score, score_findings
from fedward.folders.round_log import RoundLog
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.messages.replies import Failure
from fedward.settings import default_tables
from fedward.timing import STAGES, Stopwatch
from fedward.types import UNKNOWN_ADDRESS, Address, HospitalId, ImageSet, Member, Rejection

pytestmark = pytest.mark.slow

KEYS = {
    "run_id": None,
    "hospitals": None,
    "model": {"name", "parameters", "weights_sha256", "positive", "class_names"},
    "data": None,
    "rounds": {"opened", "accepted", "rejected", "aborted"},
    "test": {"n", "accuracy", "auc", "precision", "recall", "f1"},
    "scores": {"pooled", "hospitals", "findings"},
    "baselines": None,
    "privacy": {"mode", "unit", "epsilon", "delta"},
    "encryption": {"bytes_per_parameter", "parameters", "ring_degree", "security_bits", "exact"},
    "ledger": {"chain_id", "contract", "height", "head", "submissions", "rejections", "votes"},
    "attack": None,
    "attribution": {"left_out", "named"},
    "objections": None,
    "timing_s": {*STAGES, "total"},
}


def entry(index: int, phase: str, **changes: Any) -> dict[str, Any]:
    """A round's line of metrics."""
    figures = {"train_loss": 0.5 / index, "val_loss": 0.6 / index, "val_auc": 1 - 0.3 / index}
    return {"round": index, "phase": phase, "rejections": [], "timing_s": {"train": 1.0}} | figures | changes


def scores(findings: int, n: int = 100) -> dict[str, Any]:
    """All figures, as `conclude` gathers them; the last finding is of nobody."""
    names = tuple(f"f{index}" for index in range(findings))
    labels = (np.random.default_rng(1).random((n, findings)) < 0.4).astype(np.float32)
    logits = (labels + np.random.default_rng(2).normal(0, 1, labels.shape)).astype(np.float32)
    labels[:, findings - 1] = 0
    images = ImageSet(np.zeros((n, 2, 2), np.uint8), labels, np.array([f"p{index // 2}" for index in range(n)]))
    thresholds = tuple(0.4 + index / 10 for index in range(findings))
    pooled = score(images, logits, thresholds).as_dict()
    own = {f"hospital-{index}": pooled for index in range(5)}
    return {"pooled": pooled, "hospitals": own, "findings": score_findings(images, logits, thresholds, names)}


BASELINES: dict[str, Any] = {
    "local": {f"hospital-{index}": {} for index in range(5)},
    "local_mean": {"auc": 0.91, "accuracy": 0.8},
    "local_range": {"auc": [0.89, 0.93], "accuracy": [0.7, 0.9]},
    "central": {"scores": {"auc": 0.97, "accuracy": 0.95}},
    "central_is": "impossible in practice",
    "gain_auc": 0.04,
    "gain_accuracy": None,
    "hospitals_that_gain_auc": 5,
}

FACTS = RunFacts(
    run_id="test",
    hospitals=5,
    model={"name": "cnn", "parameters": 97_521, "weights_sha256": "ab" * 32, "positive": ["b"],
           "class_names": ["a", "b"]},
    phases=["accepted", "rejected", "aborted", "accepted"],
    rejections=3,
    scores=scores(3),
    baselines=BASELINES,
    privacy={"mode": "update", "unit": "hospital", "epsilon": 7.389, "delta": 1e-5},
    encryption={"bytes_per_parameter": 8.1, "parameters": 9, "ring_degree": 4096, "security_bits": 128, "exact": True},
    ledger={"chain_id": 1, "contract": "0xc", "height": 9, "head": "cd", "submissions": 20, "votes": 15},
    seconds={"train": 1.23456, "total": 9.0},
    data={"left_out": {"folders of masks": 2}},
    attack={"attack": "badnets:boost=5", "first_round": 2, "hospitals": ["hospital-5"]},
    attribution={"left_out": [{"round": 3, "hospital": "hospital-1", "reason": "LeftOut"}],
                 "named": [{"hospital": "hospital-5", "round": 4, "rejected": [2, 3], "until": 24}]},
    objections=[{"round": 2, "phase": "rejected", "hospitals": {"update-norm": ["hospital-1", "hospital-2"],
                 "patch-bank": ["hospital-1"]}}],
)  # fmt: skip
ROUNDS = [
    entry(1, "accepted"),
    entry(2, "rejected"),
    entry(3, "aborted", train_loss=None, val_loss=None, val_auc=None),
    entry(4, "accepted"),
]
UNDEFINED = dataclasses.replace(
    FACTS,
    phases=[],
    rejections=0,
    scores=scores(1, n=0),
    baselines=None,
    privacy={"mode": "none", "unit": None, "epsilon": None, "delta": None},
    seconds={},
    attack=None,
    attribution={"left_out": [], "named": []},
    objections=[],
)


@pytest.mark.parametrize("facts", [FACTS, UNDEFINED], ids=["all measured", "all undefined"])
def test_every_key_is_always_there(facts: RunFacts, tmp_path: Path) -> None:
    write_summary(tmp_path / "summary.json", summarize(facts))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) == set(KEYS)
    for key, inner in KEYS.items():
        assert inner is None or set(summary[key]) == inner, key


def test_what_was_measured_is_what_is_written() -> None:
    pooled = {"n": 100, "accuracy": 0.9, "auc": 0.95, "precision": 0.8, "recall": None, "f1": 0.85}
    measured = FACTS.scores | {"pooled": FACTS.scores["pooled"] | pooled}
    summary = summarize(dataclasses.replace(FACTS, scores=measured))
    assert summary["rounds"] == {"opened": 4, "accepted": 2, "rejected": 1, "aborted": 1}
    assert summary["ledger"]["rejections"] == 3
    assert summary["test"] == {"n": 100, "accuracy": 0.9, "auc": 0.95, "precision": 0.8, "recall": None, "f1": 0.85}
    assert summary["timing_s"]["train"] == 1.235
    assert summary["timing_s"]["vote"] is None


def test_what_is_undefined_is_null() -> None:
    summary = summarize(UNDEFINED)
    assert summary["test"] == {"n": 0, "accuracy": None, "auc": None, "precision": None, "recall": None, "f1": None}
    assert summary["rounds"] == {"opened": 0, "accepted": 0, "rejected": 0, "aborted": 0}


@pytest.mark.parametrize(
    "rounds",
    [
        ROUNDS,
        [],
        ROUNDS[2:3],
        [entry(1, "rejected"), entry(2, "rejected")],
        [entry(1, "accepted", val_auc=None)],
    ],
    ids=["mixed", "none", "only aborted", "only rejected", "no AUC"],
)
def test_the_learning_curves_are_a_picture(rounds: list[dict[str, Any]], tmp_path: Path) -> None:
    plot_learning_curves(tmp_path / "curves.png", rounds, ("b",))
    with Image.open(tmp_path / "curves.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.size == (1080, 432)
        assert len(picture.convert("L").getcolors() or []) > 10  # there is something on it


def test_the_curves_show_the_figures_and_mark_rejections(tmp_path: Path) -> None:
    def drawn(rounds: list[dict[str, Any]]) -> bytes:
        plot_learning_curves(tmp_path / "curves.png", rounds, ("b",))
        with Image.open(tmp_path / "curves.png") as picture:
            return picture.convert("RGB").tobytes()

    rounds = [entry(1, "accepted"), entry(2, "accepted")]
    assert drawn(rounds) == drawn(rounds)
    pictures = {drawn(rounds), drawn([rounds[0], entry(2, "rejected")])}
    pictures |= {
        drawn([rounds[0], entry(2, "accepted", **{key: 0.9})]) for key in ("train_loss", "val_loss", "val_auc")
    }
    assert len(pictures) == 5
    gap = entry(2, "aborted", train_loss=None, val_loss=None, val_auc=None)
    assert drawn([rounds[0], gap, entry(3, "accepted")]) == drawn([rounds[0], entry(3, "accepted")])


def shown(facts: RunFacts) -> str:
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(final_table(summarize(facts), Path("runs/test")))
    return console.export_text()


def test_the_table_shows_the_figures() -> None:
    table = shown(FACTS)
    pooled = FACTS.scores["pooled"]
    for text in ("97,521 parameters", "epsilon 7.39", "1e-05", "hospital", "3 rejections", "runs/test",
                 "4 opened, 2 accepted, 1 rejected, 1 aborted", "100 of 50 patients",
                 "badnets:boost=5 by hospital-5, from round 2 on",
                 "hospital-5, after round 4: it was in all rejected rounds (2, 3)", "until round 24",
                 "rejected; objections by update-norm at 2, patch-bank at 1",
                 f"{pooled['auc']:.4f} (95 % {pooled['intervals']['auc'][0]:.4f} to", f"{pooled['accuracy']:.4f}",
                 f"{pooled['precision']:.4f} / {pooled['recall']:.4f} / {pooled['f1']:.4f}",
                 f"{pooled['specificity']:.4f} / {pooled['ece']:.4f} / {pooled['brier']:.4f}",
                 "f2 - (all images are of one class)",
                 "each finding has its own, of the largest recall + specificity on validation images",
                 *(f"{name} {found['threshold']:.4f}: {figure(found, 'recall')} / {figure(found, 'specificity')}"
                   for name, found in FACTS.scores["findings"].items())):  # fmt: skip
        assert text in table, text


@pytest.mark.parametrize(
    ("value", "findings", "expected"),
    [
        (0.372, 1, "0.3720, the most accurate on validation images"),
        (0.5, 1, "0.5000, for validation images decided nothing"),
        (0.5, 14, "0.5000, for validation images decided nothing"),
        (0.3, 14, "0.3000 for every finding"),
        (None, 14, "each finding has its own, of the largest recall + specificity on validation images"),
    ],
)
def test_it_is_said_which_threshold_is_meant(value: float | None, findings: int, expected: str) -> None:
    found = {"threshold": value, "undefined": {"threshold": "each finding has its own"}}
    assert threshold_text(found, findings) == expected


def test_the_table_answers_whether_it_was_worth_joining() -> None:
    table = shown(FACTS)
    for text in ("AUC 0.9100 (0.8900 to 0.9300), accuracy 0.8000 (0.7000 to 0.9000)", "AUC 0.9700, accuracy 0.9500",
                 "impossible in practice", "+0.0400 AUC", "5 of 5 hospitals gain"):  # fmt: skip
        assert text in table, text
    assert "Worth" not in shown(UNDEFINED)
    nothing = BASELINES | {"local_range": dict.fromkeys(("auc", "accuracy")), "central": None, "gain_auc": None}
    assert shown(dataclasses.replace(FACTS, baselines=nothing)).count("undefined") >= 4


def test_the_table_says_what_is_undefined_and_unprotected() -> None:
    table = shown(UNDEFINED)
    assert "undefined (there are no images)" in table
    assert "undefined; 5 without one" in table
    assert "epsilon" not in table
    assert "may remember patients" in table


def test_a_stopwatch_adds_up_also_when_the_work_fails() -> None:
    clock = Stopwatch()
    with pytest.raises(ZeroDivisionError), clock.measure("train"):
        _ = 1 / 0
    first = clock.seconds["train"]
    assert first > 0
    clock.add({"train": 2.0, "vote": 1.0})
    assert clock.seconds == {"train": first + 2.0, "vote": 1.0}


# ---- the log of a round -----------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> RoundLog:
    run = SimulationFolder.create(tmp_path / "run")
    roster = (Member(HospitalId("hospital-1"), Address("0x1"), 5),)
    run.server.save_record(RunRecord("t", "", {}, default_tables(), "", "", (), (), 1, Address("0xc"), roster, (), ""))
    return RoundLog(run.server, 1)


def last_round(log: RoundLog) -> dict[str, Any]:
    log.finish("aborted", 7, b"h" * 32)
    return log._folder.rounds()[-1]


def test_a_round_without_a_single_reply_has_every_figure_as_null(log: RoundLog) -> None:
    metrics = last_round(log)
    for name in ("train_loss", "val_loss", "val_auc", "threshold", "thresholds"):
        assert metrics[name] is None
    assert (metrics["submitted"], metrics["accepts"], metrics["rejects"], metrics["val_n"]) == (0, 0, 0, 0)


def test_rejections_and_failures_are_kept_with_their_reasons(log: RoundLog) -> None:
    log.rejected(Rejection(Address("0x1"), "WrongSigner", "It is signed by a stranger."))
    log.rejected(Rejection(UNKNOWN_ADDRESS, "MalformedReply", "It has no commitment."))
    log.failed(3, Failure("No images.", "Add some.", 3))
    metrics = last_round(log)
    assert [rejection["reason"] for rejection in metrics["rejections"]] == ["WrongSigner", "MalformedReply"]
    assert metrics["failures"] == ["No images. Add some."]
    told = [json.loads(line) for line in log._folder.progress.read_text().splitlines()]
    assert [event["event"] for event in told] == ["opened", "rejected", "rejected", "hospital-failed", "closed"]
    assert [event["hospital"] for event in told[1:3]] == ["hospital-1", "unknown"]


@pytest.mark.parametrize(
    ("codes", "rejected", "expected"),
    [
        ([], False, None),
        ([10, 10], False, ResourceError),
        ([3], False, DataError),
        ([10, 3], False, None),
        ([10, 10], True, None),
        ([2, 2, 2], False, UsageError),
    ],
)
def test_hospitals_that_all_fail_alike_give_the_reason(
    log: RoundLog, codes: list[int], rejected: bool, expected: type[Exception] | None
) -> None:
    for code in codes:
        log.failed(1, Failure("It broke.", "Mend it.", code))
    if rejected:
        log.rejected(Rejection(UNKNOWN_ADDRESS, "MalformedReply", ""))
    cause = log.common_cause()
    assert (cause if expected is None else type(cause)) == expected
