"""The data of a run's hospitals, as far as a page that is handed on may tell of it.

How many images each hospital trained on stands on the ledger. Of patients, and of what is rare, small counts say too
much of single people: they are told as fewer than `LEAST`, and figures of so few images not at all.
"""

from collections.abc import Mapping
from typing import Any

from commands.view.shelf import Run
from fedward.dataset.records import SPLITS
from fedward.figures.score_rows import figure
from fedward.files import parse_json, read_file

LEAST = 10
_MOST_BYTES = 64 * 2**20  # of a manifest


def data_by_hospital(run: Run, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Counts and figures of each hospital, and shares of classes over all of them.

    Args:
        run: The run.
        summary: What its `summary.json` holds.
    """
    path = run.path / "manifest.json"
    manifest: dict[str, Any] = {}
    if path.exists():
        manifest = parse_json(read_file(path, _MOST_BYTES, "The manifest", "Restore it from a backup."))
    counted, scores = manifest.get("hospitals", {}), summary["scores"]["hospitals"]
    rows = [
        _row(str(member.hospital), member.weight, counted.get(member.hospital, {}), scores.get(member.hospital))
        for member in run.record.roster
    ]
    data = summary["data"]
    return {
        "layout": data["layout"],
        "patients": data["patients"],
        "told_by": sorted(data["told_by"]),
        "left_out": [(reason, few(count)) for reason, count in data["left_out"].items()],
        "rows": rows,
        "classes": _classes(counted),
    }


def few(count: int) -> str:
    """A count, unless it is so small that it tells of single people."""
    return f"{count:,}" if count >= LEAST or count == 0 else f"fewer than {LEAST}"


def _row(hospital: str, weight: int, counts: Mapping[str, Any], scores: dict[str, Any] | None) -> dict[str, str]:
    enough = scores is not None and scores["n"] >= LEAST and scores["patients"] >= LEAST
    told = {name: figure(scores, name, with_interval=True) if enough else "-" for name in ("auc", "accuracy")}  # type: ignore[arg-type]
    by_split = {split: counts.get(split, {}) for split in SPLITS}
    return {
        "hospital": hospital,
        "weight": f"{weight:,}",
        **{f"{split}_images": few(each["images"]) if each else "-" for split, each in by_split.items()},
        **{f"{split}_patients": few(each["patients"]) if each else "-" for split, each in by_split.items()},
        **told,
    }


def _classes(counted: Mapping[str, Any]) -> list[dict[str, str]]:
    """Images of each class over all hospitals, by split."""
    totals: dict[str, dict[str, int]] = {}
    for splits in counted.values():
        for split in SPLITS:
            for name, count in splits.get(split, {}).get("by_class", {}).items():
                of_class = totals.setdefault(name, dict.fromkeys(SPLITS, 0))
                of_class[split] += count
    return [{"name": name} | {split: few(count) for split, count in each.items()} for name, each in totals.items()]
