"""What differs between runs: settings, figures, and the differences with their intervals."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from commands.compare.scored import ScoredRun
from commands.view.shelf import Run
from fedward.figures.differences import Difference, auc_difference, share_difference, unpaired_difference
from fedward.figures.intervals import Interval

_OWN_TABLES = ("run",)  # each run's own paths and addresses: they say nothing of its result
_RANGED = ("auc", "accuracy", "precision", "recall", "specificity", "f1")
_PLAIN = ("brier", "ece", "threshold", "n", "patients")
_PATHS = {
    "hospitals": ("hospitals",),
    "parameters": ("model", "parameters"),
    "rounds accepted": ("rounds", "accepted"),
    "rounds rejected": ("rounds", "rejected"),
    "rounds aborted": ("rounds", "aborted"),
    "updates set aside": ("ledger", "rejections"),
    "epsilon": ("privacy", "epsilon"),
    "bytes a parameter": ("encryption", "bytes_per_parameter"),
    "seconds": ("timing_s", "total"),
}


@dataclass(frozen=True)
class Compared:
    """One run beside the first.

    Attributes:
        name: The run's.
        images: Of how many images both have scores; None where they are compared unpaired, or not at all.
        note: Why they are not paired; empty where they are.
        differences: By the figure's name; None where neither tells.
    """

    name: str
    images: int | None
    note: str
    differences: dict[str, Difference | None]

    @classmethod
    def paired(cls, name: str, first: ScoredRun, second: ScoredRun, findings: tuple[str, ...]) -> "Compared":
        """On the same images, in the same order: all findings together, and each by itself where there are several."""
        truth, groups = first.truth, first.groups
        found: dict[str, Difference | None] = {
            "AUC": auc_difference(first.logits, second.logits, truth, groups),
            "accuracy": share_difference(first.right, second.right, groups),
        }
        for k, finding in enumerate(findings if len(findings) > 1 else ()):
            column = slice(k, k + 1)
            of_finding = (first.logits[:, column], second.logits[:, column], truth[:, column], groups)
            found[f"AUC of {finding}"] = auc_difference(*of_finding)
        return cls(name, len(groups), "", found)

    @classmethod
    def unpaired(cls, name: str, note: str, first: Run, second: Run) -> "Compared":
        """From what both runs' summaries state."""
        before, after = (at(run.summary, "scores", "pooled") or {} for run in (first, second))
        figures = {"AUC": "auc", "accuracy": "accuracy"}
        return cls(name, None, note, {title: _apart(before, after, figure) for title, figure in figures.items()})

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        found = {name: dataclasses.asdict(each) if each else None for name, each in self.differences.items()}
        return {"run": self.name, "paired": self.images is not None, "images": self.images, "note": self.note,
                "differences": found}  # fmt: skip


def settings_that_differ(runs: list[Run]) -> dict[str, list[Any]]:
    """Each setting that is not the same in all runs, with its value in each; None where a run has no such setting."""
    flat = [dict(_flat(run.record.settings)) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    found = {key: [settings.get(key) for settings in flat] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def figures_of(runs: list[Run]) -> dict[str, list[dict[str, Any]]]:
    """Each figure with its value in each run, and the interval where it has one."""
    found = {}
    for name in (*_RANGED, *_PLAIN):
        found[name] = [
            {
                "value": at(run.summary, "scores", "pooled", name),
                "interval": at(run.summary, "scores", "pooled", "intervals", name),
            }
            for run in runs
        ]
    for name, path in _PATHS.items():
        found[name] = [{"value": at(run.summary, *path), "interval": None} for run in runs]
    return found


def at(values: Any, *path: str) -> Any:
    """What stands at a place of nested mappings; None where nothing does."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _apart(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> Difference | None:
    values = [each.get(name) for each in (before, after)]
    ranges: list[Interval | None] = [at(each, "intervals", name) for each in (before, after)]
    if values[0] is None or values[1] is None:
        return None
    if ranges[0] is None or ranges[1] is None:
        return Difference(values[1] - values[0], None, None)
    return unpaired_difference(values[0], ranges[0], values[1], ranges[1])


def _flat(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for table, values in tables.items():
        if table not in _OWN_TABLES:
            for key, value in values.items():
                yield f"{table}.{key}", value
