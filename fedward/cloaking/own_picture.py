"""The picture of a hospital's image encryption: originals, encrypted, what was changed, and reconstructed.

It shows patients' images, encrypted ones as well as originals to whoever looks. So it is bytes here: whoever keeps it
seals it (docs/adr/0038).
"""

import numpy as np
from numpy.typing import NDArray

from fedward.cloaking.own_figures import LIMITS, Shown
from fedward.figures.image_grid import difference, image_grid
from fedward.figures.plots import as_png

_MOST_ROWS = 4


def draw(shown: Shown, method: str) -> bytes:
    """A PNG with a row an image, those whose labels are hidden first.

    Args:
        shown: At least one image.
        method: Of encryption.
    """
    chosen = np.argsort(~shown.hidden, kind="stable")[:_MOST_ROWS]
    originals, encrypted = shown.originals[chosen], shown.encrypted[chosen]
    figure = image_grid(
        [
            ("original", originals),
            (f"encrypted ({method})", encrypted),
            difference(encrypted, originals),
            ("reconstructed", None if shown.restored is None else shown.restored[chosen]),
        ],
        "The model's score stands in each picture; from 0.5 on it calls the finding. " + LIMITS,
        [(_told(shown.scores[index]), _told(shown.encrypted_scores[index])) for index in chosen],
    )
    return as_png(figure)


def _told(scores: NDArray[np.float32]) -> str:
    """The scores of an image, the first few of many."""
    return "  ".join(f"{score:.2f}" for score in scores[:4])
