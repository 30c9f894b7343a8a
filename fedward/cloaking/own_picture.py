"""The picture of a hospital's image encryption: originals, encrypted, what was changed, and reconstructed.

It shows patients' images, encrypted ones as well as originals to whoever looks. So it is bytes here: whoever keeps it
seals it (docs/adr/0038).
"""

import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fedward.cloaking.own_figures import LIMITS, Shown
from fedward.types import Vector

mpl.use("Agg")

DIFFERENCE_TIMES = 10
_MOST_ROWS = 4


def draw(shown: Shown, method: str) -> bytes:
    """A PNG with a row an image, those whose labels are hidden first.

    Args:
        shown: At least one image.
        method: Of encryption.
    """
    chosen = np.argsort(~shown.hidden, kind="stable")[:_MOST_ROWS]
    difference = 0.5 + DIFFERENCE_TIMES * (shown.encrypted - shown.originals)
    columns: list[tuple[str, Vector | None]] = [
        ("original", shown.originals),
        (f"encrypted ({method})", shown.encrypted),
        (f"difference x{DIFFERENCE_TIMES}", np.clip(difference, 0, 1)),
        ("reconstructed", shown.restored),
    ]
    figure = Figure(figsize=(10, 2.6 * len(chosen) + 0.9), layout="constrained")
    for row, (index, line) in enumerate(zip(chosen, figure.subplots(len(chosen), 4, squeeze=False), strict=True)):
        for axes, (title, images) in zip(line, columns, strict=True):
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=11)
            if images is not None:
                axes.imshow(images[index, :, :, 0], cmap="gray", vmin=0, vmax=1)
        for axes, scores in zip(line, (shown.scores, shown.encrypted_scores), strict=False):
            axes.text(0.02, 0.02, _told(scores[index]), transform=axes.transAxes, color="yellow", fontsize=9)
    figure.suptitle(
        "The model's score stands in each picture; from 0.5 on it calls the finding. " + LIMITS, fontsize=8, wrap=True
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _told(scores: NDArray[np.float32]) -> str:
    """The scores of an image, the first few of many."""
    return "  ".join(f"{score:.2f}" for score in scores[:4])
