"""Pictures of the lab: how an attack's success goes over rounds, and which detector finds which attack."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedward.figures.plots import BLUE, ORANGE, save_figure
from fedward.labs.backdoor.plan import Plan, attack_units
from fedward.labs.backdoor.summary import Results
from fedward.labs.backdoor.trial import ALL

_COLUMNS = 4  # of small pictures


def plot_success(path: Path, plan: Plan, results: Results) -> None:
    """Draw success of each backdoor by round under attack, mean and range over seeds, without and with detectors."""
    attacks = [attack for attack in plan.attacks if _runs(plan, results, attack, defended=False)]
    if not attacks:
        return
    rows = -(-len(attacks) // _COLUMNS)
    figure = Figure(figsize=(3 * min(_COLUMNS, len(attacks)), 2.4 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, min(_COLUMNS, len(attacks)), sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(attacks) :]:
        axes.set_visible(False)
    for axes, attack in zip(grid.flat, attacks, strict=False):
        for defended, color, marker, label in (
            (False, ORANGE, "s", "no detectors"),
            (True, BLUE, "o", "default detectors"),
        ):
            runs = np.array(_runs(plan, results, attack, defended), np.float64)
            if not len(runs):
                continue
            rounds = np.arange(1, runs.shape[1] + 1)
            axes.fill_between(rounds, runs.min(axis=0), runs.max(axis=0), color=color, alpha=0.2, linewidth=0)
            axes.plot(rounds, runs.mean(axis=0), color=color, marker=marker, markersize=4, label=label)
        axes.set_title(attack, fontsize=10)
        axes.set_ylim(-0.04, 1.04)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.supxlabel("Round under attack", fontsize=10)
    figure.supylabel("Success (share of recognized test images)", fontsize=10)
    grid.flat[0].legend(fontsize=8)
    save_figure(path, figure)


def plot_detection(path: Path, summary: dict[str, Any]) -> None:
    """Draw the share of rounds in which a quorum objected: attacks, and clean rounds, by detector."""
    rows = [(each["attack"], each["detection"]) for each in summary["attacks"] if each["detection"]]
    rows += [(f"clean, {each['condition']}", each["false_alarms"]) for each in summary["clean"] if each["false_alarms"]]
    if not rows:
        return
    names = list(rows[0][1])
    rates = np.array([[found[name]["rate"] for name in names] for _, found in rows])
    figure = Figure(figsize=(1.5 + 1.3 * len(names), 1.2 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(rates, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, (_, found) in enumerate(rows):
        for column, name in enumerate(names):
            ink = "white" if rates[row, column] > 0.55 else "black"
            text = f"{found[name]['rejected']} of {found[name]['rounds']}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(names)), ["all together" if name == ALL else name for name in names], fontsize=9)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=9)
    axes.set_title("Rounds in which detectors reject the candidate", fontsize=10)
    save_figure(path, figure)


def _runs(plan: Plan, results: Results, attack: str, defended: bool) -> list[Sequence[float]]:
    """Success by round of each seed's run; empty where the attack has no trigger."""
    units = [unit for unit in attack_units(plan) if (unit.attack, unit.defended) == (attack, defended)]
    runs = [[entry["success"] for entry in results[unit]] for unit in units if unit in results]
    return [run for run in runs if None not in run]
