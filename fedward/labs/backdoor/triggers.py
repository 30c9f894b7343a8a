"""The trigger that an attacker planted, and those that the search of `trigger-inversion` finds: kept, and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fedward.backdoor.patch_bank import chosen_images
from fedward.backdoor.preparing import Scorer
from fedward.backdoor.stamps import Stamp
from fedward.backdoor.trigger_inversion import reversed_trigger
from fedward.figures.plots import save_figure
from fedward.types import Partition, Vector

IMAGES, STEPS = 16, 60  # of each class, and of the search: as the detector's defaults


@dataclass(frozen=True)
class Triggers:
    """What is behind a backdoor, by the one who planted it and by one who searches; no patient's image.

    Attributes:
        planted: How strongly the real trigger covers each pixel: float32, shape (height, width).
        poisoned: The same of what the search finds in the attacked model.
        clean: The same of what it finds in the model before the attack.
        sizes: Pixels that the last two cover: float64, shape (2,).
    """

    planted: Vector
    poisoned: Vector
    clean: Vector
    sizes: np.ndarray


def search_triggers(
    planted: Stamp, poisoned: Scorer, clean: Scorer, partition: Partition, secret: bytes
) -> Triggers | None:
    """Search both models for the smallest pattern under which the finding is missed.

    Args:
        planted: The real trigger.
        poisoned: The model after the attack.
        clean: The model before.
        partition: An honest hospital's images.
        secret: What this hospital draws its images by.

    Returns:
        None where the hospital has too few images to search with.
    """
    images = chosen_images(partition.val, partition.train, IMAGES, secret)
    if images is None:
        return None
    attacked, before = (reversed_trigger(model, images, 0, True, STEPS) for model in (poisoned, clean))
    sizes = np.array([attacked.size, before.size])
    return Triggers(planted.cover, attacked.stamp.cover, before.stamp.cover, sizes)


def plot_triggers(path: Path, drawn: Sequence[tuple[str, Triggers]]) -> None:
    """Draw for each attack the planted trigger beside what the search finds, in the attacked model and in a clean one.

    Args:
        path: The picture's file.
        drawn: Names of attacks, with their triggers; nothing is drawn where there are none.
    """
    if not drawn:
        return
    figure = Figure(figsize=(2.1 * len(drawn) + 0.4, 6.4), layout="constrained")
    grid = figure.subplots(3, len(drawn), squeeze=False)
    for column, (attack, triggers) in enumerate(drawn):
        texts = ("planted", f"attacked model: {triggers.sizes[0]:.0f} px", f"model before: {triggers.sizes[1]:.0f} px")
        for axes, cover, text in zip(
            grid[:, column], (triggers.planted, triggers.poisoned, triggers.clean), texts, strict=True
        ):
            axes.imshow(cover, cmap="gray", vmin=0, vmax=1)
            axes.set_title(f"{attack}\n{text}" if axes is grid[0, column] else text, fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
    save_figure(path, figure)
