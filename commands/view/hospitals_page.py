"""The page of a run's hospitals: beside each other, and beside what each would have without the others."""

from collections.abc import Mapping
from typing import Any

from commands.view import charts
from commands.view.chain import Chain
from commands.view.model_page import figure_text
from commands.view.pages import at, of_summary, page
from commands.view.shelf import Run
from commands.view.telling import Names

_FIGURES = ("auc", "recall", "specificity", "accuracy")


def hospitals_page(run: Run, chain: Chain) -> str:
    """All hospitals: on their own test images, in rounds, and trained alone.

    Args:
        run: The run.
        chain: Its ledger.
    """
    in_rounds = _in_rounds(run, chain)
    with of_summary(run):
        summary = run.summary or {}
        own = at(summary, "scores", "hospitals")
        baselines = at(summary, "baselines")
        return page(
            "hospitals",
            run=run,
            live=False,
            ended=run.summary is not None,
            own=None if own is None else _beside(run, own),
            rounds=in_rounds,
            alone=None if baselines is None else _alone(run, baselines, at(summary, "scores", "pooled")),
            pooled=at(summary, "scores", "pooled"),
        )


def _beside(run: Run, own: Mapping[str, Any]) -> dict[str, Any]:
    """The shared model at each hospital."""
    found = {str(member.hospital): at(own, str(member.hospital)) for member in run.record.roster}
    weights = {str(member.hospital): member.weight for member in run.record.roster}
    drawn, begin = charts.rows([_share(name, scores) for name, scores in found.items()])
    return {
        "begin": begin,
        "rows": [
            {"drawn": row, "weight": f"{weights[name]:,}", **_counts(scores), "figures": _figures(scores)}
            for row, (name, scores) in zip(drawn, found.items(), strict=True)
        ],
    }


def _alone(run: Run, baselines: Mapping[str, Any], pooled: Any) -> dict[str, Any]:
    """Every model on the same test images: the shared one, each hospital's alone, and one of all images together."""
    models = {"the shared model": {"scores": pooled}, "all images in one place": at(baselines, "central")}
    for member in run.record.roster:
        models[f"{member.hospital} alone"] = at(baselines, "local", str(member.hospital))
    names = list(models)
    drawn, begin = charts.rows(
        [_share(name, at(models[name], "scores"), "note" if name == names[0] else "") for name in names]
    )
    joined = at(pooled, "auc")
    rows = []
    for row in drawn:
        scores, area = at(models[row.name], "scores"), at(models[row.name], "scores", "auc")
        known = row.name != names[0] and joined is not None and area is not None
        rows.append(
            {
                "drawn": row,
                "images": at(models[row.name], "train_n"),
                "figures": _figures(scores),
                "gain": f"{joined - area:+.4f}" if known else "",
                "reason": at(models[row.name], "reason") or "",
            }
        )
    return {"begin": begin, "rows": rows}


def _in_rounds(run: Run, chain: Chain) -> list[dict[str, Any]]:
    """What the ledger says of each hospital's part in rounds."""
    names = Names(run)
    found: dict[str, dict[str, Any]] = {
        str(member.hospital): {"name": member.hospital, "committed": 0, "added": 0, "for": 0, "against": 0, "out": 0}
        for member in run.record.roster
    }
    nobody: dict[str, Any] = {"committed": 0, "added": 0, "for": 0, "against": 0, "out": 0}  # on the roster
    for _, hospital, accept, count in chain.parts():
        part = "committed" if accept is None else "for" if accept else "against"
        found.get(names.of(hospital), nobody)[part] += count
    for event in chain.closed():
        for name in names.mask(event.included_mask).split(", "):
            found.get(name, nobody)["added"] += 1
        for place, _ in event.exclusions:
            found.get(names.place(place), nobody)["out"] += 1
    return list(found.values())


def _share(name: str, scores: Any, mood: str = "") -> tuple[str, float | None, Any, str, str]:
    """A model's AUC, to be drawn."""
    value, interval = at(scores, "auc"), at(scores, "intervals", "auc")
    return name, value, interval, figure_text(value, interval), mood


def _figures(scores: Any) -> list[str]:
    """Figures with intervals, in the order of `_FIGURES`; empty without any."""
    if scores is None:
        return []
    return [figure_text(at(scores, name), at(scores, "intervals", name)) for name in _FIGURES]


def _counts(scores: Any) -> dict[str, Any]:
    return {name: at(scores, name) for name in ("n", "patients", "positives")}
