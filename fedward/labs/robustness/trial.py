"""One defense under every attack: with images made against the undefended classifier, and against the defense itself.

Who knows what:
- "transfer": the attacker has the undefended classifier and the true labels, and does not know of the defense;
- "white-box": he has the defended classifier whole, the defense's weights included, and attacks that.
Beside them stand the null attack (images as they are) and the perfect one (an image of the other class in each one's
place), so that a defense which holds against everything, or falls to nothing, is seen to be measured wrongly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedward.adversarial.attack import Aim
from fedward.adversarial.harness import craft
from fedward.adversarial.registry import attack_from
from fedward.adversarial.victim import Victim
from fedward.labs.robustness.measuring import measured
from fedward.labs.robustness.plan import Plan, with_eps
from fedward.labs.robustness.slope import kept_of_slope
from fedward.learning.model import Scored
from fedward.seeding import public_rng
from fedward.types import ImageSet, Vector

NULL, PERFECT = "null", "perfect"


@dataclass(frozen=True)
class Made:
    """Attacked images by attack.

    Attributes:
        images: float32, shape (n, height, width, 1), by the attack as `attack_from` reads it.
    """

    images: Mapping[str, Vector]


def attack_all(plan: Plan, seed: int, test: ImageSet, scored: Scored, threshold: float) -> Made:
    """Make attacked images against a classifier.

    Args:
        plan: Which attacks.
        seed: Decides what attacks draw.
        test: Images with their labels.
        scored: The classifier, whole: behind its defense, where it has one.
        threshold: The score from which on it calls the finding.
    """
    victim, few, found = Victim(scored, threshold), test.some(np.arange(min(plan.few, len(test)))), {}
    for text in (*(with_eps(*each) for each in plan.bounded()), plan.pixels):
        images = few if text == plan.pixels else test
        draw = public_rng("lab robustness", seed, text)
        found[text] = craft(attack_from(text), victim, images.pixels(), Aim(images.labels), draw)
    return Made(found)


def run_defense(
    plan: Plan, whole: ImageSet, test: ImageSet, scored: Scored, threshold: float, transferred: Made, own: Made
) -> dict[str, Any]:
    """Measure a defended classifier.

    Args:
        plan: How far a step goes that checks slopes.
        whole: All test images, for figures without an attack.
        test: Those that were attacked, with their labels.
        scored: The classifier behind its defense.
        threshold: The score from which on it calls the finding.
        transferred: Images that were made against the undefended classifier.
        own: Images that were made against this one.
    """
    victim = Victim(scored, threshold)

    def of(pixels: Vector) -> dict[str, Any]:
        some = test.some(np.arange(len(pixels)))
        return measured(some, victim.margins(pixels))

    columns = {"transfer": transferred, "white-box": own}
    return {
        "clean": measured(whole, victim.margins(whole.pixels())),
        NULL: of(test.pixels()),
        PERFECT: of(_of_other_class(test)),
        "threshold": threshold,
        "kept_of_slope": kept_of_slope(victim, test.pixels(), plan.step / 255),
        **{name: {text: of(images) for text, images in made.images.items()} for name, made in columns.items()},
    }


def _of_other_class(test: ImageSet) -> Vector:
    """For each image, one of the other class: the perfect attack, which keeps to no bound."""
    pixels, truth = test.pixels(), test.labels[:, 0] > 0
    found = pixels.copy()
    for mine, others in ((truth, np.flatnonzero(~truth)), (~truth, np.flatnonzero(truth))):
        if len(others):
            found[mine] = pixels[np.resize(others, int(mine.sum()))]
    return found
