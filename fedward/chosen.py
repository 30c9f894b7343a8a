"""Read a plug-in with its options from one text of a command line, such as `badnets:boost=5,side=3`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from fedward.errors import UsageError
from fedward.tables import checked, kebab, parse, unknown


def options_of(made: type) -> type:
    """The dataclass of a plug-in's options, whose defaults are its defaults."""
    found: type = get_type_hints(made)["options"]
    return found


def chosen(text: str, kind: str, known: Mapping[str, type]) -> tuple[str, Any]:
    """Read a name and, behind a colon, options.

    Args:
        text: `NAME` or `NAME:OPTION=VALUE,OPTION=VALUE`; spaces may stand behind commas.
        kind: What is chosen, for errors: "attack".
        known: The classes that can be chosen, by name; each has an annotation `options`.

    Returns:
        The name, and its options: a dataclass as its class annotates them.

    Raises:
        UsageError: there is no such name or option, or a value is wrong.
    """
    name, _, given = text.partition(":")
    if name not in known:
        raise UsageError(f"There is no {kind} {name!r}.", f"Choose one of {', '.join(known)}.")
    options = options_of(known[name])
    types, hints = get_type_hints(options), get_type_hints(options, include_extras=True)
    fields = {kebab(field.name): field.name for field in dataclasses.fields(options)}
    values: dict[str, Any] = {}
    for assignment in filter(None, map(str.strip, given.split(","))):
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"{assignment} in {text} has no value.", "Write NAME:OPTION=VALUE,OPTION=VALUE.")
        if key not in fields:
            raise unknown(f"{name}.{key}", [f"{name}.{each}" for each in fields])
        field, dotted = fields[key], f"{name}.{key}"
        values[field] = checked(dotted, parse(dotted, value, types[field]), hints[field])
    return name, options(**values)
