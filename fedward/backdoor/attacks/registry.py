"""The registry of attacks, and reading one with its options from a text such as `badnets:boost=5,side=3`."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_type_hints

from fedward.backdoor.attacks.adaptive import Adaptive
from fedward.backdoor.attacks.attack import Attack, Part
from fedward.backdoor.attacks.badnets import BadNets
from fedward.backdoor.attacks.damage import LabelFlip, RandomUpdate, SignFlip
from fedward.backdoor.attacks.distributed_trigger import DistributedTrigger
from fedward.backdoor.attacks.norm_bounded import NormBounded, Slow
from fedward.errors import UsageError
from fedward.tables import checked, kebab, parse, unknown

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


def options_of(attack: type[Attack]) -> type:
    """The dataclass of an attack's options, whose defaults are its defaults."""
    found: type = get_type_hints(attack)["options"]
    return found


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
    kind = options_of(ATTACKS[name])
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
    return ATTACKS[name](kind(**values), part)
