"""Images side by side: a row an image, a column each of what became of it."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from fedward.types import Vector

mpl.use("Agg")

DIFFERENCE_TIMES = 10  # how much a difference is enlarged
_INCHES = 2.4


def image_grid(
    columns: Sequence[tuple[str, Vector | None]], title: str, captions: Sequence[Sequence[str]] = ()
) -> Figure:
    """Draw images side by side.

    Args:
        columns: Titles, and as many images each: float32, shape (n, size, size, 1), values in [0, 1]. None leaves a
            column empty; the first one is not.
        title: Of all.
        captions: Of each row the texts inside its first images; none at all, or one sequence a row.
    """
    rows = len(columns[0][1]) if columns[0][1] is not None else 0
    figure = Figure(figsize=(_INCHES * len(columns), _INCHES * rows + 0.9), layout="constrained")
    for row, line in enumerate(figure.subplots(rows, len(columns), squeeze=False)):
        for axes, (name, images) in zip(line, columns, strict=True):
            axes.set_axis_off()
            if row == 0:
                axes.set_title(name, fontsize=10)
            if images is not None:
                axes.imshow(images[row, :, :, 0], cmap="gray", vmin=0, vmax=1)
        for axes, text in zip(line, captions[row] if captions else (), strict=False):
            axes.text(0.02, 0.02, text, transform=axes.transAxes, color="yellow", fontsize=9)
    figure.suptitle(title, fontsize=8, wrap=True)
    return figure


def difference(images: Vector, others: Vector) -> tuple[str, Vector]:
    """A column with the difference of images, enlarged around a grey of one half."""
    shown = np.clip(0.5 + DIFFERENCE_TIMES * (images - others), 0, 1)
    return f"difference x{DIFFERENCE_TIMES}", np.asarray(shown, np.float32)
