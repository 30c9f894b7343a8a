"""The page of a run's model: what it decides at any threshold, its ROC curve and its calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from commands.view import charts
from commands.view.kept_counts import FindingCounts, KeptCounts, kept_counts
from commands.view.pages import PICTURES, of_summary, page
from commands.view.shelf import Run
from fedward.figures.calibration import calibrations
from fedward.figures.histograms import BINS, ScoreHistogram, bin_logits, wide_sigmoid
from fedward.figures.intervals import Interval
from fedward.figures.operating_points import (
    OperatingPoint,
    ReliabilityBin,
    Share,
    area,
    decisions,
    nearest_edge,
    reliability_curve,
    roc_curve,
    same_decisions,
)

_LISTED = 20  # points of the curve in the table beside it
_SURE = 0.0005  # a threshold nearer to 0 or 1 is shown with all its digits


@dataclass(frozen=True)
class Wish:
    """What is asked for of the page.

    Attributes:
        finding: Place among the findings.
        hospital: Place in the roster; None: all together.
        edge: Where on the slider; None: as the threshold says.
        threshold: Score from which on an image is called; None: the model's own.
    """

    finding: int = 0
    hospital: int | None = None
    edge: int | None = None
    threshold: float | None = None

    @classmethod
    def of(cls, query: Any) -> "Wish":
        """From an address; what is no number, or none that means something, is left out."""
        finding, hospital, edge = (_whole(query.get(name, "")) for name in ("finding", "hospital", "edge"))
        try:
            threshold = float(query.get("threshold", "").strip().replace(",", "."))
        except ValueError:
            threshold = float("nan")
        return cls(finding or 0, hospital, edge, threshold if 0 <= threshold <= 1 else None)


def model_page(run: Run, wish: Wish, pictures: tuple[str, ...]) -> str:
    """The model of a run's latest accepted round.

    Args:
        run: The run.
        wish: What is asked for.
        pictures: Files of the run that show it on test images.

    Raises:
        FedwardError: the folder's counts are damaged.
    """
    kept = kept_counts(run)
    finding = wish.finding if wish.finding < len(run.record.findings) else 0
    counts = kept.finding(run, finding)
    return page(
        "model",
        run=run,
        live=False,
        scripts=("threshold.js", "drop.js"),
        scores_images=(run.path / "model.keras").is_file(),
        finding=finding,
        findings=run.record.findings,
        kept=kept,
        own=threshold_text(kept.thresholds[finding]),
        test=test_figures(run, finding),
        pictures=[(name, PICTURES[name]) for name in pictures],
        **_drawn(run, kept, counts, finding, wish),
    )


def _drawn(run: Run, kept: KeptCounts, counts: FindingCounts | None, finding: int, wish: Wish) -> dict[str, Any]:
    """What is told of validation images; nothing where there are no counts."""
    if counts is None:
        return {"at": None}
    place = wish.hospital if wish.hospital is not None and wish.hospital < len(counts.hospitals) else None
    if place is not None and counts.hospitals[place] is None:
        place = None
    shown = counts.of(place)
    edge = _edge(wish, kept.thresholds[finding])
    low, high = slider_ends(counts.pooled)
    return {
        "place": place,
        "choices": [
            (number, member.hospital, counts.hospitals[number] is not None)
            for number, member in enumerate(run.record.roster)
        ],
        "at": point_values(_point(shown, edge)),
        "edge": min(max(edge, low), high),
        "ends": (low, high),
        "hospitals": _by_hospital(run, counts, edge),
        "roc": roc_values(shown, counts.pooled if place is not None else None, edge, kept.thresholds[finding]),
        "reliability": reliability_values(shown, counts.pooled),
    }


def test_figures(run: Run, finding: int) -> dict[str, Any] | None:
    """A finding's figures on test images, at the model's own threshold; None before the run has ended."""
    names = (("auc", "AUC"), ("recall", "Sensitivity"), ("specificity", "Specificity"), ("precision", "Precision"),
             ("accuracy", "Accuracy"))  # fmt: skip
    sides = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    with of_summary(run):
        scores = (run.summary or {}).get("scores")
        found: dict[str, Any] | None = scores["findings"].get(run.record.findings[finding]) if scores else None
        if found is None:
            return None
        return {
            "n": found["n"],
            "patients": found["patients"],
            "confusion": {side: found["confusion"][side] for side in sides},
            "rows": [
                (words, figure_text(found[name], found["intervals"][name]), found["undefined"].get(name, ""))
                for name, words in names
            ],
        }


def point_values(point: OperatingPoint) -> dict[str, Any]:
    """Decisions at a threshold, for a template."""
    shares = (("Sensitivity", point.sensitivity, "with the finding"),
              ("Specificity", point.specificity, "without the finding"),
              ("Precision", point.precision, "that are called"),
              ("Accuracy", point.accuracy, "in all"))  # fmt: skip
    return {
        "threshold": threshold_text(point.threshold),
        "point": point,
        "shares": [(name, share_text(share), share.hits, share.cases, of) for name, share, of in shares],
    }


def roc_values(shown: ScoreHistogram, beside: ScoreHistogram | None, edge: int, own: float) -> dict[str, Any]:
    """The ROC curve: lines, the chosen and the model's own point, and a table of points."""
    curve, found = roc_curve(shown.positives[0], shown.negatives[0]), area(shown.positives[0], shown.negatives[0])
    step = max(1, len(curve) // _LISTED)
    listed = [*curve[:-1:step], curve[-1]] if curve else []
    return {
        "line": charts.line((x, y) for x, y, _ in curve),
        "beside": charts.line((x, y) for x, y, _ in roc_curve(beside.positives[0], beside.negatives[0]))
        if beside is not None
        else "",
        "auc": figure_text(*found),
        "chosen": _dot(_point(shown, edge)),
        "own": _dot(_point(shown, nearest_edge(own))),
        "table": [point_values(_point(shown, same_decisions(each))) for _, _, each in listed],
    }


def reliability_values(shown: ScoreHistogram, pooled: ScoreHistogram) -> list[dict[str, Any]]:
    """Calibration as the model gives scores, and after the line that `predict` puts over them where there is one."""
    positives, negatives, logits = shown.positives[0], shown.negatives[0], bin_logits()
    found = [("The model's scores", wide_sigmoid(logits))]
    (fitted,) = calibrations(pooled)
    if fitted is not None:
        found.append(("As predict tells them", wide_sigmoid(fitted.slope * logits + fitted.intercept)))
    return [_reliability(name, reliability_curve(positives, negatives, chances)) for name, chances in found]


def slider_ends(counts: ScoreHistogram) -> tuple[int, int]:
    """The edges between which a threshold changes something: below all scores, and above all."""
    used = np.flatnonzero(counts.positives[0] + counts.negatives[0])
    return (int(used[0]), min(int(used[-1]) + 1, BINS)) if len(used) else (0, BINS)


def threshold_text(score: float) -> str:
    """A threshold, with the digits that it takes to tell it from 0 and 1."""
    return f"{score:.4f}" if _SURE < score < 1 - _SURE else f"{score:.7f}"


def share_text(share: Share) -> str:
    """A share with its interval."""
    return figure_text(share.value, share.interval)


def figure_text(value: float | None, interval: Interval | list[float] | None) -> str:
    """A figure with its interval, or that it is undefined."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else " (no interval)")


def _reliability(name: str, bins: list[ReliabilityBin]) -> dict[str, Any]:
    dots = [
        charts.dot(
            each.mean,
            each.positive.value or 0.0,
            each.positive.interval,
            f"probability {each.mean:.3f}: {share_text(each.positive)} of {each.positive.cases} images",
        )
        for each in bins
    ]
    images = sum(each.positive.cases for each in bins)
    gaps = [abs(each.mean - (each.positive.value or 0.0)) * each.positive.cases for each in bins]
    return {
        "name": name,
        "bins": [(f"{each.mean:.3f}", share_text(each.positive), each.positive.cases) for each in bins],
        "dots": dots,
        "error": f"{sum(gaps) / images:.4f}" if images else "undefined",
    }


def _by_hospital(run: Run, counts: FindingCounts, edge: int) -> list[dict[str, Any]]:
    """Each hospital at a threshold."""
    found = []
    for member, own in zip(run.record.roster, counts.hospitals, strict=True):
        point = None if own is None else _point(own, edge)
        auc = None if own is None else figure_text(*area(own.positives[0], own.negatives[0]))
        found.append({"name": member.hospital, "at": point and point_values(point), "auc": auc})
    return found


def _point(counts: ScoreHistogram, edge: int) -> OperatingPoint:
    return decisions(counts.positives[0], counts.negatives[0], edge)


def _dot(point: OperatingPoint) -> charts.Dot | None:
    """Where a threshold lies on the ROC curve; None where one class has no images."""
    caught, spared = point.sensitivity.value, point.specificity.value
    return None if caught is None or spared is None else charts.dot(1 - spared, caught)


def _edge(wish: Wish, own: float) -> int:
    """The edge that is asked for."""
    if wish.edge is not None and wish.edge <= BINS:
        return same_decisions(wish.edge)
    return nearest_edge(own if wish.threshold is None else wish.threshold)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
