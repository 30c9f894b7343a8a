"""Pictures of the lab: images at every stage, and what attackers read as they know more pairs."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedward.figures.plots import BLUE, GREEN, GREY, ORANGE, PINK, STYLES
from fedward.files import write_atomic
from fedward.labs.image_encryption.trial import Picture
from fedward.types import Vector

_TIMES = 10  # how much a difference is enlarged


def plot_images(path: Path, picture: Picture, title: str) -> None:
    """Draw a few images: original, encrypted, the difference enlarged around grey, restored."""
    columns = (
        ("original", picture.originals),
        ("encrypted", picture.encrypted),
        (f"difference x{_TIMES}", enlarged_difference(picture.encrypted, picture.originals)),
        ("restored", picture.restored),
        (f"what remains x{_TIMES}", enlarged_difference(picture.restored, picture.originals)),
    )
    rows = len(picture.originals)
    figure = Figure(figsize=(1.7 * len(columns), 1.7 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for column, (name, images) in enumerate(columns):
        for row in range(rows):
            axes = grid[row][column]
            axes.imshow(images[row, ..., 0], cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
        grid[0][column].set_title(name, fontsize=9)
    figure.suptitle(title, fontsize=10)
    _save(path, figure)


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
    _save(path, figure)


def enlarged_difference(found: Vector, originals: Vector) -> Vector:
    """The difference of images, enlarged, around a grey of one half."""
    return np.asarray(np.clip(0.5 + _TIMES * (found - originals), 0, 1), np.float32)


def _save(path: Path, figure: Figure) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomic(path, buffer.getvalue())
