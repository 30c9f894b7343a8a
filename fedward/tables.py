"""Check tables of settings against types and rules; convert them between nested TOML, dotted keys and dataclasses.

A setting is an attribute of a frozen dataclass, annotated with its type and rules: `Annotated[int, Between(1, 9)]`.
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from fedward.errors import UsageError
from fedward.files import opened_regular

Scalar = bool | int | float | str
Tables = dict[str, dict[str, Scalar]]  # by the table's name, which has a dot where it is of a plug-in's options
Table = TypeVar("Table")

MAX_TOML_BYTES = 2**20
MAX_NESTING = 8  # of tables; settings have two

TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included unless `above` is set (then the lower one is not)."""

    low: float
    high: float
    above: bool = False

    def problem(self, value: Scalar) -> str | None:
        """Say what is wrong with a value, or None."""
        number = value if isinstance(value, int) else float(value)  # a whole number may be too large for a float
        if (number > self.low if self.above else number >= self.low) and number <= self.high:
            return None
        lower = f"above {self.low:g}" if self.above else f"at least {self.low:g}"
        return f"must be {lower} and at most {self.high:g}"


@dataclass(frozen=True)
class ZeroOr(Between):
    """Bounds of a number that may also be 0, which stands for a default that other figures give."""

    def problem(self, value: Scalar) -> str | None:
        """Say what is wrong with a value, or None."""
        found = super().problem(value) if value else None
        return f"must be 0, or {found.removeprefix('must be ')}" if found else None


@dataclass(frozen=True)
class OneOf:
    """The only values that a text may take."""

    values: tuple[str, ...]

    def problem(self, value: Scalar) -> str | None:
        """Say what is wrong with a value, or None."""
        return None if value in self.values else f"must be one of {', '.join(self.values)}"


@dataclass(frozen=True)
class SomeOf:
    """The only names that a text may list, separated by commas; none at all is allowed, twice the same is not."""

    values: tuple[str, ...]

    def problem(self, value: Scalar) -> str | None:
        """Say what is wrong with a value, or None."""
        names = listed(str(value))
        if len(set(names)) < len(names):
            return "must not name anything twice"
        return None if set(names) <= set(self.values) else f"must list some of {', '.join(self.values)}, with commas"


def listed(text: str) -> tuple[str, ...]:
    """The names in a text that lists them with commas."""
    return tuple(name.strip() for name in text.split(",")) if text.strip() else ()


def one_table(
    name: str, kind: type[Table], values: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> Table:
    """Check one table and build its dataclass; other tables, which another version may lack or have, do not matter.

    Args:
        name: The table's name.
        kind: Its dataclass.
        values: Its settings, keys in kebab-case; every key must be there.
        options: For a dataclass with an attribute `options`: the options of each plug-in of its kind.

    Raises:
        UsageError: a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    hints = get_type_hints(kind, include_extras=True)
    with_options = {"options": options} if hints.pop("options", None) else {}
    keys = {kebab(field_name): field_name for field_name in hints}
    for key in values:
        if key not in keys:
            raise unknown(f"{name}.{key}", [f"{name}.{known}" for known in keys])
    missing = [key for key in keys if key not in values]
    if missing:
        raise UsageError(f"The setting {name}.{missing[0]} is missing.", "Take pyproject.toml's tables as they are.")
    own = {keys[key]: checked(f"{name}.{key}", value, hints[keys[key]]) for key, value in values.items()}
    return kind(**own, **with_options)


def checked(dotted: str, value: Any, hint: Any) -> Scalar:
    """A value of the type, and within the rules, that its setting is annotated with; a whole number passes for a float.

    Args:
        dotted: The setting's TOML key, with its table: for the error.
        value: What was given.
        hint: The type, or `Annotated[type, rule, ...]`.

    Raises:
        UsageError: it is of another type, or a rule has a problem with it.
    """
    wanted, rules = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    if wanted is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError as error:
            raise wrong(dotted, value, "must be smaller") from error
    if type(value) is not wanted:
        raise wrong(dotted, value, f"must be {TYPE_WORDS[wanted]}")
    for rule in rules:
        problem = rule.problem(value)
        if problem:
            raise wrong(dotted, value, problem)
    return value  # type: ignore[no-any-return]


def wrong(dotted: str, value: object, problem: str) -> UsageError:
    """The error for a setting with a wrong value."""
    return UsageError(f"The setting {dotted} is {value!r} but {problem}.", f"Change it with --set {dotted}=VALUE.")


def parse(dotted: str, text: str, wanted: type) -> Scalar:
    """Read a text as bool, int, float or str.

    Raises:
        UsageError: it cannot be read so.
    """
    if wanted is str:
        return text
    if wanted is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if wanted in (int, float):
            return wanted(text)
    except ValueError:
        pass
    raise wrong(dotted, text, f"must be {TYPE_WORDS[wanted]}")


def parse_assignment(text: str) -> tuple[str, str]:
    """Split `table.key=value`.

    Raises:
        UsageError: there is no equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text} has no value.", "Write --set table.key=value.")
    return key.strip(), value.strip()


def unknown(name: str, known: list[str]) -> UsageError:
    """The error for a setting that does not exist; it names the closest one that does."""
    closest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return UsageError(f"There is no setting {name!r}.", f"Did you mean {closest[0]!r}?" if closest else "")


def check_table(path: Path, name: str, values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse values outside any table, and a table that does not exist; one with values is refused by the first."""
    if values and not name:
        raise UsageError(
            f"{path}: '{next(iter(values))}' stands outside any table.", "Put it below a header such as [training]."
        )
    if not values and not any(table == name or table.startswith(f"{name}.") for table in known):
        raise unknown(name, list(known))


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        with opened_regular(path, through_link=True) as file:
            content = file.read(MAX_TOML_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"The settings file {path} could not be read: {reason}.", "Check the path given to --config."
        ) from error
    if len(content) > MAX_TOML_BYTES:
        raise UsageError(f"{path} is longer than {MAX_TOML_BYTES:,} bytes.", "A settings file has a few dozen lines.")
    try:
        return parse_toml(content)
    except ValueError as error:
        raise UsageError(f"{path} is not valid TOML: {error}.", "Correct it; config/ has examples.") from error


def parse_toml(content: bytes) -> dict[str, Any]:
    """Parse TOML from outside.

    Raises:
        ValueError: it is no TOML, no UTF-8, has a number of thousands of digits, or nests deeper than settings ever do.
    """
    try:
        parsed = tomllib.loads(content.decode("utf-8-sig"))  # editors on Windows write a byte order mark
        _check_depth(parsed)
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error
    return parsed


def _check_depth(outer: Mapping[str, Any]) -> None:
    """Raise RecursionError where tables nest deeper than those of settings ever do; whatever the recursion limit is."""
    level: list[Any] = [outer]
    for _ in range(MAX_NESTING):
        level = [value for table in level for value in table.values() if isinstance(value, dict)]
    if level:
        raise RecursionError


def run_tables(dotted: Mapping[str, Scalar]) -> Tables:
    """The tables of Flower's run config, whose keys are flattened to `table.key`; unchecked."""
    tables: Tables = {}
    for name, value in dotted.items():
        table, _, key = name.rpartition(".")
        tables.setdefault(table or name, {})[key] = value
    return tables


def flat(outer: Mapping[str, Any], name: str = "") -> Tables:
    """Flatten nested tables: the table `b` inside the table `a` becomes the table `a.b`; empty ones are kept.

    Raises:
        UsageError: a setting is given twice.
    """
    tables: Tables = {}
    for key, value in outer.items():
        if not isinstance(value, dict):
            tables.setdefault(name, {})[key] = value
            continue
        inner = f"{name}.{key}" if name else key
        tables.setdefault(inner, {})
        for table, values in flat(value, inner).items():
            twice = tables.setdefault(table, {}).keys() & values.keys()
            if twice:  # as ["a.b"] and as [a.b], which TOML takes for two
                raise UsageError(f"The setting {table}.{min(twice)} is given twice.", "Give it once.")
            tables[table] |= values
    return tables


def nested(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Tables as TOML nests them: `KIND.NAME` inside `KIND`."""
    outer: dict[str, Any] = {}
    for name, table in tables.items():
        kind, dot, plugin = name.partition(".")
        outer.setdefault(kind, {}).update({plugin: dict(table)} if dot else table)
    return outer


def values_of(table: Any) -> dict[str, Scalar]:
    """A dataclass's own settings, by their TOML keys."""
    names = [field.name for field in dataclasses.fields(table) if field.name != "options"]
    return {kebab(name): getattr(table, name) for name in names}


def kebab(name: str) -> str:
    """A Python name as the TOML has it."""
    return name.replace("_", "-")
