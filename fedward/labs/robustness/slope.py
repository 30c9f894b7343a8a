"""Whether the slope that attackers follow is the defended classifier's: what a small step along it brings.

Where a defense has no gradient, the lab's attackers follow something in its place, and whoever wrote that can have been
wrong: then white-box figures are high because the attack is bad. The figures of attacks need not tell, for all of them
follow the same slope; the defended classifier's own answers do.
"""

import numpy as np

from fedward.adversarial.victim import Victim
from fedward.types import Vector


def kept_of_slope(victim: Victim, pixels: Vector, step: float) -> float | None:
    """How much of the change that slopes foretell comes true, where each pixel goes a step towards the other decision.

    A smooth classifier's slope foretells most of what a small step does: 1 for a linear one, somewhat less where it
    bends. Where most of a step is undone, as by rounding that the slope does not know of, little comes true. More
    than 1 is no bad sign: attacks need the slope's direction only.

    Args:
        victim: A classifier of one finding, whole: behind its defense, where it has one.
        pixels: float32, shape (n, height, width, 1), values in [0, 1].
        step: How far each pixel goes, in the units of pixels; results are kept in [0, 1].

    Returns:
        The sum of changes over that of foretold changes; None where slopes foretell none.
    """
    margins = victim.margins(pixels)
    distances = np.abs(margins)  # from the decision, in logits
    # Of the loss for the other label, whose slope is at least half of the distance's, however sure the classifier is.
    slopes = victim.gradient(pixels, (margins < 0).astype(np.float32)) * (1 + np.exp(-distances))[..., None, None]
    moved = np.clip(pixels - np.float32(step) * np.sign(slopes), 0, 1)
    foretold = float(((pixels - moved) * slopes).sum())
    came = float((distances - victim.margins(moved) * np.where(margins < 0, -1, 1)).sum())
    return came / foretold if foretold > 0 else None
