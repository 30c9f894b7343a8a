"""The registry of attacks on a classifier's input; one is read with its options from a text such as `fgsm:eps=0.05`."""

from collections.abc import Mapping
from types import MappingProxyType

from fedward.adversarial.apgd import AdaptiveSteps, Auto
from fedward.adversarial.attack import Attack
from fedward.adversarial.gradient_steps import Fgsm, IteratedFgsm, MomentumFgsm, Pgd
from fedward.adversarial.hop_skip_jump import HopSkipJump
from fedward.adversarial.pixels import Pixels
from fedward.adversarial.square import Square
from fedward.chosen import chosen

ATTACKS: Mapping[str, type[Attack]] = MappingProxyType(
    {
        made.name: made
        for made in (Fgsm, IteratedFgsm, Pgd, MomentumFgsm, AdaptiveSteps, Square, Auto, Pixels, HopSkipJump)
    }
)


def attack_from(text: str) -> Attack:
    """Make an attack from its name and, behind a colon, options: `fgsm` or `pgd:eps=0.05,iterations=20`.

    Raises:
        UsageError: there is no such attack or option, or a value is wrong.
    """
    name, options = chosen(text, "attack", ATTACKS)
    return ATTACKS[name](options)
