"""The picture of `lab leakage --run`: a victim, the prior, and what was found from what each party holds."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedward.figures.image_grid import image_grid
from fedward.figures.plots import save_figure
from fedward.types import Vector


@dataclass(frozen=True)
class Found:
    """Images of one unit; float32, shape (size, size, 1), values in [0, 1].

    Attributes:
        victim: One whose image is behind what is held.
        prior: The mean of other patients' X-rays.
        found: The first image of the first attempt.
    """

    victim: Vector = field(repr=False)
    prior: Vector = field(repr=False)
    found: Vector = field(repr=False)


def plot_parties(path: Path, pictures: Sequence[tuple[str, Found]]) -> None:
    """Draw a column a party.

    Args:
        path: Of the file.
        pictures: By party and round.
    """
    columns = [(textwrap.fill(name, 18), np.stack([found.victim, found.found])) for name, found in pictures]
    save_figure(path, image_grid(columns, "Above one victim, below what the attacker found"))
