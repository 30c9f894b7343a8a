"""What a tracker is told of a run: settings, figures of each round, and figures of its end. No image, no patient.

Hospitals are called as in `summary.json`. As in a run's report, figures of fewer than `LEAST` images or patients of one
hospital are not told.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from commands.report.data_by_hospital import LEAST
from commands.view.shelf import Run, read_run
from fedward.errors import VerificationError
from fedward.files import parse_json, read_lines
from fedward.folders.places import hospitals_part

_OF_ROUND = ("train_loss", "val_loss", "val_auc", "threshold", "submitted", "accepts", "rejects")
_OF_IMAGES = ("auc", "accuracy", "precision", "recall", "specificity", "f1", "brier", "ece", "threshold")
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)  # what a changed summary may cause


@dataclass(frozen=True)
class Point:
    """One figure at one time.

    Attributes:
        name: With slashes, such as `round/val_auc`.
        step: The round, from 1; of the run's end, the last round.
        time_s: Unix time of the round's end.
        value: The figure.
    """

    name: str
    step: int
    time_s: float
    value: float


@dataclass(frozen=True)
class Tracked:
    """A run, as trackers are told of it.

    Attributes:
        key: Names the run among all runs: the hash of block 0 of its ledger.
        name: What people call it.
        state: "runs", "finished" or "stopped".
        begun_s, last_s: Unix time of its beginning, and of its last round's end.
        settings: All settings but where its processes were, as texts by `table.key`.
        rounds: The figures of each finished round.
        end: The figures of its end; empty before.
    """

    key: str
    name: str
    state: str
    begun_s: float
    last_s: float
    settings: dict[str, str]
    rounds: dict[int, tuple[Point, ...]]
    end: tuple[Point, ...]


def tracked(path: Path) -> Tracked:
    """What trackers are told of a run.

    Args:
        path: Its folder; it may be running.

    Raises:
        EvidenceError, VerificationError: a file of it is missing or damaged.
    """
    run = read_run(path)
    try:
        opened = _opened_counts(path)
        rounds = {int(line["round"]): tuple(_of_round(line | opened.get(line["round"], {}))) for line in run.rounds}
        last_s = _seconds(run.rounds[-1]["time"]) if run.rounds else _seconds(run.record.created)
        end = [Point(name, max(rounds, default=0), last_s, value) for name, value in _of_end(run.summary or {})]
        return Tracked(
            run.record.genesis_hash,
            run.name,
            run.state,
            _seconds(run.record.created),
            last_s,
            _settings(run),
            rounds,
            tuple(end),
        )
    except _MALFORMED as error:
        raise VerificationError(
            f"The summary or metrics of the run in {path} are malformed ({type(error).__name__}).",
            "Restore them from a backup.",
        ) from error


def _settings(run: Run) -> dict[str, str]:
    tables = {name: values for name, values in run.record.settings.items() if name != "run"}
    return {f"{table}.{key}": _text(value) for table, values in tables.items() for key, value in values.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _opened_counts(path: Path) -> dict[int, dict[str, Any]]:
    """Validation figures by round that hospitals opened at the run's end, where counts were encrypted."""
    place = hospitals_part(path) / "validation.jsonl"
    lines = [parse_json(line.encode()) for line in read_lines(place)] if place.exists() else []
    return {int(line["round"]): line for line in lines}


def _of_round(line: Mapping[str, Any]) -> Iterator[Point]:
    step, time_s = int(line["round"]), _seconds(line["time"])
    told = [(f"round/{name}", line.get(name)) for name in _OF_ROUND]
    told += [("round/accepted", line["phase"] == "accepted")]
    told += [(f"seconds/{stage}", seconds) for stage, seconds in line["timing_s"].items()]
    return (Point(name, step, time_s, value) for name, value in _numbers(told))


def _of_end(summary: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Figures on test images, and what was spent of privacy; nothing before the run has ended."""
    if not summary:
        return
    scores, baselines = summary["scores"], summary["baselines"] or {}
    yield from _of_images("test", scores["pooled"])
    if len(scores["findings"]) > 1:
        for finding, found in scores["findings"].items():
            yield from _of_images(f"test-by-finding/{finding}", found)
    for hospital, found in scores["hospitals"].items():
        if found["n"] >= LEAST and found["patients"] >= LEAST:
            yield from _of_images(f"test-by-hospital/{hospital}", found)
    for name, value in (baselines.get("local_mean") or {}).items():
        yield from _numbers([(f"baselines/local_mean_{name}", value)])
    central = (baselines.get("central") or {}).get("scores") or {}
    yield from _numbers((f"baselines/central_{name}", central.get(name)) for name in ("auc", "accuracy"))
    yield from _numbers((f"rounds/{name}", count) for name, count in summary["rounds"].items())
    yield from _numbers([("privacy/epsilon", summary["privacy"]["epsilon"])])
    yield from _numbers([("seconds/whole_run", summary["timing_s"]["total"])])


def _of_images(place: str, scores: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Figures of a set of images, with both ends of their 95 % intervals."""
    yield from _numbers((f"{place}/{name}", scores[name]) for name in _OF_IMAGES)
    for name, interval in scores["intervals"].items():
        if interval is not None:
            yield from _numbers([(f"{place}/{name}_low", interval[0]), (f"{place}/{name}_high", interval[1])])


def _numbers(told: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, float]]:
    """Without those that are not defined."""
    return ((name, float(value)) for name, value in told if value is not None)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
