"""Adversarial training: the attacked images that a hospital trains on beside its own (`training.adversarial`).

Images are attacked against the classifier as it is in that step, away from what it decides itself and not from the true
label: an attack that knows the label carries it, and a classifier then learns to read the attack (Kurakin, Goodfellow
and Bengio 2017, "Adversarial Machine Learning at Scale", call it label leaking).
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from fedward.adversarial.attack import Aim, Attack, BoundedOptions
from fedward.adversarial.gradient_steps import Fgsm, IteratedOptions, Pgd
from fedward.adversarial.harness import craft
from fedward.adversarial.victim import Victim
from fedward.learning.model import Classifier
from fedward.learning.training import Attacked
from fedward.settings import TrainingSettings
from fedward.types import Vector

_STEPS, _STEP = 7, 0.25  # of PGD, and how far each goes, in shares of the bound (Madry et al. 2018)
# The kinds of attack that each choice draws from.
KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"none": (), "fgsm": ("fgsm",), "pgd": ("pgd",), "mixed": ("fgsm", "pgd")}
)


def attacked_images(classifier: Classifier, settings: TrainingSettings, draw: np.random.Generator) -> Attacked | None:
    """What training takes as `attacked`: a batch of images, of which each is attacked by chance.

    Args:
        classifier: What is trained; it is attacked as it is whenever images are asked for.
        settings: Which attack, how far it may go, and how often it comes.
        draw: Where attacks and chance draw. Under DP-SGD nobody may know it: see Guarantees.

    Returns:
        Images in place of those that are given, each pixel at most `adversarial_eps` away and in [0, 1]; None where
        training is on images alone.

    Guarantees:
        1. What becomes of an image depends on itself, the classifier and what is drawn for it alone, not on which other
           images are there. So DP-SGD's bound on what one patient changes holds, if draws are secret: adding a patient
           shifts the draws of others, which then have the same distribution and not the same values.
    """
    attacks = [_attack(kind, settings.adversarial_eps) for kind in KINDS[settings.adversarial]]
    if not attacks:
        return None
    victim = _victim_of(classifier)

    def attacked(pixels: Vector) -> Vector:
        found, turn = pixels.copy(), draw.integers(len(attacks), size=len(pixels))
        chosen = draw.random(len(pixels)) < settings.adversarial_share
        for place, attack in enumerate(attacks):
            some = np.flatnonzero(chosen & (turn == place))
            if len(some):
                own = victim.decisions(pixels[some]).astype(np.float32)
                found[some] = craft(attack, victim, pixels[some], Aim(own), draw)
        return found

    return attacked


@functools.lru_cache(maxsize=1)
def _victim_of(classifier: Classifier) -> Victim:
    """Built once for a classifier: tracing takes seconds."""
    return Victim(classifier)


def _attack(kind: str, eps: float) -> Attack:
    return Fgsm(BoundedOptions(eps)) if kind == "fgsm" else Pgd(IteratedOptions(eps, _STEPS, _STEP))
