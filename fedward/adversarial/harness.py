"""Runs attacks on images, keeps them to their bound, and measures what they reached: no attack judges itself."""

import numpy as np
from numpy.typing import NDArray

from fedward.adversarial.attack import Aim, Attack
from fedward.adversarial.gradient_steps import within
from fedward.adversarial.victim import Victim
from fedward.errors import FedwardError
from fedward.progress import Progress, silent
from fedward.types import Vector

_BATCH = 256  # images attacked at a time


def craft(
    attack: Attack, victim: Victim, pixels: Vector, aim: Aim, rng: np.random.Generator, report: Progress = silent
) -> Vector:
    """Attack images.

    Args:
        attack: Which.
        victim: The classifier to mislead.
        pixels: float32, shape (n, height, width, 1), values in [0, 1].
        aim: What to reach.
        rng: Where the attack draws.
        report: Told after each batch.

    Returns:
        float32, shape of `pixels`, values in [0, 1], each at most the attack's bound from that of `pixels`.

    Raises:
        FedwardError: the attack gave values that are no numbers: the classifier's weights are not finite.
    """
    found = np.empty_like(pixels)
    report(0, len(pixels))
    for start in range(0, len(pixels), _BATCH):
        some = slice(start, start + _BATCH)
        changed = attack.perturb(victim, pixels[some], aim.some(some), rng)
        if not np.isfinite(changed).all():
            raise FedwardError(f"{attack.name} gave images that are no numbers.", "Look whether the model is damaged.")
        found[some] = within(changed, pixels[some], 1.0 if attack.bound is None else attack.bound)
        report(min(len(pixels), start + _BATCH), len(pixels))
    return found


def hidden(victim: Victim, pixels: Vector, perturbed: Vector, labels: Vector) -> NDArray[np.bool_]:
    """Which images' labels are hidden: decided rightly before, and wrongly after. Shape (n,)."""
    away = Aim(labels)
    return np.asarray(~away.reached(victim.decisions(pixels)) & away.reached(victim.decisions(perturbed)))


def in_eight_bits(pixels: Vector) -> Vector:
    """Images as a file of 8 bits keeps them."""
    return np.asarray(np.round(pixels * np.float32(255)) / np.float32(255), np.float32)
