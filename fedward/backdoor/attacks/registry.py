"""The registry of attacks, and reading one with its options from a text such as `badnets:boost=5,side=3`."""

from collections.abc import Mapping
from types import MappingProxyType

from fedward.backdoor.attacks.adaptive import Adaptive
from fedward.backdoor.attacks.attack import Attack, Part
from fedward.backdoor.attacks.badnets import BadNets
from fedward.backdoor.attacks.damage import LabelFlip, RandomUpdate, SignFlip
from fedward.backdoor.attacks.distributed_trigger import DistributedTrigger
from fedward.backdoor.attacks.norm_bounded import NormBounded, Slow
from fedward.chosen import chosen

ATTACKS: Mapping[str, type[Attack]] = MappingProxyType(
    {
        made.name: made
        for made in (
            BadNets,
            DistributedTrigger,
            LabelFlip,
            SignFlip,
            RandomUpdate,
            NormBounded,
            Slow,
            Adaptive,
        )
    }
)


def attack_from(text: str, part: Part) -> Attack:
    """Make an attack from its name and, behind a colon, options: `badnets` or `badnets:boost=5,side=3`.

    Args:
        text: See above.
        part: Which of the attackers it is for.

    Raises:
        UsageError: there is no such attack or option, or a value is wrong.
    """
    name, options = chosen(text, "attack", ATTACKS)
    return ATTACKS[name](options, part)
