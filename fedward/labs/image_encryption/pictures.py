"""Pictures of the lab: images at every stage, and what attackers read as they know more pairs."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fedward.figures.image_grid import difference, image_grid
from fedward.figures.plots import BLUE, GREEN, GREY, ORANGE, PINK, STYLES, save_figure
from fedward.labs.image_encryption.trial import Picture


def plot_images(path: Path, picture: Picture, title: str) -> None:
    """Draw a few images: original, encrypted, restored, and how far the last two are from the first."""
    columns = [
        ("original", picture.originals),
        ("encrypted", picture.encrypted),
        difference(picture.encrypted, picture.originals),
        ("restored", picture.restored),
        difference(picture.restored, picture.originals),
    ]
    save_figure(path, image_grid(columns, title))


def plot_attackers(path: Path, summary: dict[str, Any]) -> None:
    """Draw accuracy of an attacker by the pairs that he knows, beside the authorized reader and the classifier."""
    methods = [each for each in summary["methods"] if any(name != "0" for name in each["attackers"])]
    if not methods:
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    colors = (BLUE, ORANGE, GREEN, PINK, GREY)
    for place, each in enumerate(methods):
        known = {int(name): value for name, value in each["attackers"].items() if value is not None}
        color, style = colors[place % len(colors)], STYLES[place // len(colors) % len(STYLES)]
        axes.plot(list(known), list(known.values()), style, marker="o", markersize=4, color=color, label=each["method"])
        if each["recovered"] is not None:
            axes.plot([max(known) * 1.12], [each["recovered"]], "*", color=color, markersize=9)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlabel("Known pairs (stars: the authorized reader)")
    axes.set_ylabel("Accuracy on encrypted images")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    save_figure(path, figure)
