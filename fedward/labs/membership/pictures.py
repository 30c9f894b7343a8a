"""Pictures of the lab: true against false positives of both attackers, and bounds on epsilon beside stated ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedward.figures.plots import BLUE, GREEN, GREY, ORANGE, PINK, STYLES, save_figure
from fedward.labs.membership.summary import CURVE

_COLORS = (BLUE, ORANGE, GREEN, PINK, "black")


def plot_curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the ROC curves of all rows with patients, both axes in powers of ten.

    Args:
        path: Of the file.
        rows: Of the summary.
    """
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    shown = [row for row in rows if row["by_scores"]]
    for axes, name, title in zip(
        figure.subplots(1, 2),
        ("by_scores", "by_weights"),
        ("sees the final model's scores", "sees every round's model"),
        strict=True,
    ):
        for number, row in enumerate(row for row in shown if row[name]):
            style = STYLES[number // len(_COLORS) % len(STYLES)]
            label = f"{row['name']} (AUC {row[name]['auc']:.3f})"
            axes.plot(CURVE, row[name]["curve"], color=_COLORS[number % len(_COLORS)], linestyle=style, label=label)
        axes.plot(CURVE, CURVE, color=GREY, linewidth=0.8, label="guessing")
        axes.set(xscale="log", yscale="log", xlim=(1e-4, 1), ylim=(1e-4, 1.1), title=f"Attacker {title}")
        axes.set(xlabel="share of others who are called members", ylabel="share of members who are found")
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    save_figure(path, figure)


def plot_epsilons(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw, for each row, the bound on epsilon from below, and the stated one.

    Args:
        path: Of the file.
        rows: Of the summary.
    """
    figure = Figure(figsize=(8, 0.42 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    axes.barh(places, [row["bound"]["epsilon"] for row in rows], color=BLUE, label="found: at least")
    stated = [(row["stated"], place) for row, place in zip(rows, places, strict=True) if row["stated"] is not None]
    axes.plot(*zip(*stated, strict=True), "|", color=ORANGE, markersize=16, markeredgewidth=3, label="stated: at most")
    axes.set_yticks(places, [f"{row['name']}: {row['verdict']}" for row in rows], fontsize=8)
    axes.set_xlabel("epsilon")
    axes.legend(fontsize=8)
    save_figure(path, figure)
