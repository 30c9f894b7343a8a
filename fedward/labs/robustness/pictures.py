"""Pictures of the lab: AUC by how far attacks may go, and what attacked images look like."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fedward.figures.image_grid import difference, image_grid
from fedward.figures.plots import BLUE, GREEN, GREY, ORANGE, PINK, STYLES, save_figure
from fedward.labs.robustness.summary import COLUMNS

_COLORS = (GREY, BLUE, ORANGE, GREEN, PINK)


def plot_curves(path: Path, summary: dict[str, Any]) -> None:
    """Draw what AUC the strongest attack leaves at each bound: transferred images, and white-box ones."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, column in zip(figure.subplots(1, 2, sharey=True), COLUMNS, strict=True):
        for place, each in enumerate(summary["defenses"]):
            points = [(0.0, each["clean"]["auc"])]
            points += [(float(eps), found["auc"]) for eps, found in each["strongest"][column].items()]
            known = sorted((eps, area) for eps, area in points if area is not None)
            color, style = _COLORS[place % len(_COLORS)], STYLES[place // len(_COLORS) % len(STYLES)]
            eps, areas = zip(*known, strict=True) if known else ((), ())
            axes.plot(eps, areas, style, marker="o", markersize=4, color=color, label=each["defense"])
        axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_title(f"{column}: strongest attack")
        axes.set_xlabel("The most that a pixel moves, of 255")
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("AUC (0.5 is chance)")
    figure.legend(*figure.axes[1].get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    save_figure(path, figure)


def plot_attacked(path: Path, picture: dict[str, Any], title: str) -> None:
    """Draw a few images, as they are and attacked, and how far these are apart."""
    columns = [
        ("original", picture["originals"]),
        ("attacked", picture["attacked"]),
        difference(picture["attacked"], picture["originals"]),
    ]
    save_figure(path, image_grid(columns, title))
