"""The registry of attacks, and reading one with its options from a text such as `badnets:boost=5,side=3`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_type_hints

from fedward.backdoor.attacks.adaptive import Adaptive, AdaptiveOptions
from fedward.backdoor.attacks.attack import Attack, Part
from fedward.backdoor.attacks.badnets import BadNets, BadNetsOptions
from fedward.backdoor.attacks.damage import DamageOptions, LabelFlip, RandomUpdate, SignFlip
from fedward.backdoor.attacks.distributed_trigger import DistributedTrigger, DistributedTriggerOptions
from fedward.backdoor.attacks.norm_bounded import NormBounded, NormBoundedOptions, Slow, SlowOptions
from fedward.errors import UsageError
from fedward.tables import checked, kebab, parse, unknown


@dataclass(frozen=True)
class Registered:
    """An attack and the dataclass of its options, whose defaults are its defaults."""

    attack: type[Attack]
    options: type


ATTACKS: Mapping[str, Registered] = MappingProxyType(
    {
        "badnets": Registered(BadNets, BadNetsOptions),
        "distributed-trigger": Registered(DistributedTrigger, DistributedTriggerOptions),
        "label-flip": Registered(LabelFlip, DamageOptions),
        "sign-flip": Registered(SignFlip, DamageOptions),
        "random-update": Registered(RandomUpdate, DamageOptions),
        "norm-bounded": Registered(NormBounded, NormBoundedOptions),
        "slow": Registered(Slow, SlowOptions),
        "adaptive": Registered(Adaptive, AdaptiveOptions),
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
    name, _, given = text.partition(":")
    if name not in ATTACKS:
        raise UsageError(f"There is no attack {name!r}.", f"Choose one of {', '.join(ATTACKS)}.")
    kind = ATTACKS[name].options
    types, hints = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    known = {kebab(field.name): field.name for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for assignment in filter(None, given.split(",")):
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"{assignment} in {text} has no value.", "Write NAME:OPTION=VALUE,OPTION=VALUE.")
        if key not in known:
            raise unknown(f"{name}.{key}", [f"{name}.{each}" for each in known])
        field, dotted = known[key], f"{name}.{key}"
        values[field] = checked(dotted, parse(dotted, value, types[field]), hints[field])
    return ATTACKS[name].attack(kind(**values), part)
