"""Pictures of the lab: originals beside what attackers found, by obfuscation, and how near they came."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedward.figures.image_grid import image_grid
from fedward.figures.plots import BLUE, GREY, ORANGE, PINK, save_figure
from fedward.labs.leakage.summary import LEAK, PARTIAL
from fedward.labs.leakage.trial import Picture

_ACROSS = 7  # reconstructions in a row of pictures


def plot_found(path: Path, pictures: Mapping[str, Sequence[Picture]], title: str) -> None:
    """Draw originals beside reconstructions.

    Args:
        path: Of the file.
        pictures: By what was done to the update, a picture a seed: of its first victim, the same everywhere.
        title: Of all.
    """
    names = list(pictures)[:_ACROSS]
    originals = np.concatenate([picture.originals[:1] for picture in pictures[names[0]]])
    columns = [("original", originals)]
    columns += [(name, np.concatenate([picture.found[:1] for picture in pictures[name]])) for name in names]
    save_figure(path, image_grid(columns, title))


def chunks(pictures: Mapping[str, Sequence[Picture]]) -> list[Mapping[str, Sequence[Picture]]]:
    """The same in as many parts as pictures are needed."""
    names = list(pictures)
    return [
        {name: pictures[name] for name in names[start : start + _ACROSS]} for start in range(0, len(names), _ACROSS)
    ]


def plot_rows(path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Draw PSNR of the best attempts by row, colored by verdict, beside prior and ceiling.

    Args:
        path: Of the file.
        rows: Of the summary.
        names: Of the rows.
    """
    figure = Figure(figsize=(8, 0.32 * len(rows) + 1.4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    colors = [PINK if row["verdict"] == LEAK else ORANGE if row["verdict"] == PARTIAL else BLUE for row in rows]
    axes.barh(places, [row["best"]["psnr_db"] for row in rows], color=colors)
    for name, style in (("prior", ":"), ("ceiling", "--")):
        axes.step([row[name]["psnr_db"] for row in rows], places, where="mid", color=GREY, linestyle=style, label=name)
    axes.set_yticks(places, [f"{name}: {row['verdict']}" for name, row in zip(names, rows, strict=True)], fontsize=8)
    axes.set_xlim(0, 35)
    axes.set_xlabel("PSNR of the best attempt, mean over victims (dB)")
    axes.legend(fontsize=8)
    save_figure(path, figure)
