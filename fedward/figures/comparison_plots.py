"""Pictures of several runs side by side: validation AUC by round, ROC curves, and differences with their intervals.

Runs are told apart by color, by line and by the order of the legend; see `fedward.figures.plots`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from fedward.figures.differences import Difference
from fedward.figures.plots import BLUE, CURVE_POINTS, GREEN, GREY, ORANGE, PINK, STYLES, save_figure
from fedward.types import Vector

_COLORS = (BLUE, ORANGE, GREEN, PINK, "black")
_LONGEST = 40  # characters of a name in a legend


def plot_validation(path: Path, runs: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> None:
    """Draw the validation AUC of each run by round.

    Args:
        path: Where to.
        runs: Their names and finished rounds.
    """
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for place, (name, rounds) in enumerate(runs):
        points = [(line["round"], line["val_auc"]) for line in rounds if line.get("val_auc") is not None]
        x, y = zip(*points, strict=True) if points else ((), ())
        axes.plot(x, y, marker="o", markersize=3, label=_label(place, name), **_look(place))
    axes.set_xlabel("Round")
    axes.set_ylabel("Validation AUC (0.5 is chance, 1 is faultless)")
    axes.set_title("Each run on its own hospitals' validation images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(path, figure)


def plot_roc_curves(path: Path, runs: Sequence[tuple[str, NDArray[np.bool_], Vector]]) -> None:
    """Draw each run's ROC curve on its test images; with several findings the mean of their curves.

    Args:
        path: Where to.
        runs: Names, and labels and logits of shape (n, findings).
    """
    figure = Figure(figsize=(5.8, 5.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="chance")
    grid = np.linspace(0, 1, CURVE_POINTS)
    for place, (name, truth, logits) in enumerate(runs):
        curves = [
            roc_curve(truth[:, k], logits[:, k])[:2]
            for k in range(truth.shape[1])
            if 0 < truth[:, k].sum() < len(truth)
        ]
        if len(curves) > 1:
            curves = [(grid, np.mean([np.interp(grid, *curve) for curve in curves], axis=0))]
        for curve in curves:
            axes.plot(*curve, label=_label(place, name), **_look(place))
    axes.set_xlabel("False positive rate (1 - specificity)")
    axes.set_ylabel("True positive rate (recall, sensitivity)")
    axes.set_title("ROC on the test split" + (", mean of the findings" if runs[0][1].shape[1] > 1 else ""))
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    save_figure(path, figure)


def plot_differences(path: Path, rows: Sequence[tuple[str, Difference]], first: str) -> None:
    """Draw each difference with its interval, and where none would be.

    Args:
        path: Where to.
        rows: What differs, and by how much; at least one.
        first: Name of the run that the others are compared with.
    """
    figure = Figure(figsize=(7.5, 1.5 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1)
    for place, (_, found) in enumerate(rows):
        low, high = found.interval or (found.value, found.value)
        axes.plot([low, high], [place, place], color=BLUE, linewidth=2)
        axes.plot(found.value, place, marker="o", color=BLUE)
    axes.set_yticks(range(len(rows)), [name[: 2 * _LONGEST] for name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("Difference, with its 95 % interval; right of the line is better")
    axes.set_title(f"Against {first[:_LONGEST]}", fontsize=11)
    axes.grid(axis="x", alpha=0.3)
    save_figure(path, figure)


def _look(place: int) -> dict[str, Any]:
    return {"color": _COLORS[place % len(_COLORS)], "linestyle": STYLES[place % len(STYLES)], "linewidth": 1.4}


def _label(place: int, name: str) -> str:
    """Numbered, for a legend leaves out what begins with an underscore."""
    return f"{place + 1} {name[:_LONGEST]}"
