"""Parse and validate JSON from outside into frozen dataclasses, whose annotations say what each value may be.

    @dataclass(frozen=True)
    class Card:
        image_size: Annotated[int, Between(16, 512)]
        thresholds: tuple[Annotated[float, Between(0, 1)], ...]
        settings_digest: Annotated[bytes, Length(32)]

    card = checked_json(Card, content, "The card of model.keras", DataError, "Train the model anew.")

An annotation is bool, int, float, str, bytes (as lower-case hexadecimal), a `NewType` of one of these, `Literal`,
`X | Y`, `tuple[X, ...]`, `tuple[X, Y]`, `Mapping[K, X]` (K a text or a whole number), a dataclass, or `Any`; in
`Annotated`, rules stand behind it. A rule has a method `problem`, which says what is wrong with a value of that type,
or None. Why there is a module of our own for this is told in docs/adr/0023.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from fedward.errors import EvidenceError, FedwardError
from fedward.files import parse_json, read_file

MAX_BYTES = 64 * 1024 * 1024  # of a file
LARGEST = 2**63 - 1  # of whole numbers: what SQLite and most languages hold
_SHOWN = 40  # characters of a key or value that an error shows

Format = TypeVar("Format")


class Part:
    """Base class of a dataclass for a part of a JSON object: keys that it has no attribute for are ignored."""


class Rule(Protocol):
    """Something that a value must fulfill beside having its type."""

    def problem(self, value: Any) -> str | None:
        """What is wrong with the value, as in "must be ..."; None where nothing is."""


@dataclass(frozen=True)
class Length:
    """A rule: exactly so many bytes or entries."""

    count: int

    def problem(self, value: Any) -> str | None:
        """See `Rule`."""
        return None if len(value) == self.count else f"must have {self.count} bytes or entries"


@dataclass(frozen=True)
class Matching:
    """A rule: all of a text matches a regular expression. `called` is the name of that form, for errors."""

    pattern: str
    called: str

    def problem(self, value: str) -> str | None:
        """See `Rule`."""
        return None if re.fullmatch(self.pattern, value, re.ASCII) else f"must be {self.called}"


@dataclass(frozen=True)
class Readable:
    """A rule: a text that a terminal and a page show as it is: no control characters, and none that turn its direction.

    Attributes:
        most: The largest number of characters.
    """

    most: int

    def problem(self, value: str) -> str | None:
        """See `Rule`."""
        fits = 0 < len(value) <= self.most and value.isprintable()
        return None if fits else f"must have 1 to {self.most} characters that can be printed"


class UnfitJsonError(ValueError):
    """A value is not what its format asks for.

    Args:
        place: Where it stands, from the outside in, such as `.roster[2].weight`; empty for the whole.
        problem: What is wrong with it, as in "must be a text".
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(place, problem)
        self.place = place
        self.problem = problem

    def inside(self, place: str) -> "UnfitJsonError":
        """The same error as seen from the object or list that holds the value at `place`."""
        return UnfitJsonError(f"{place}{self.place}", self.problem)

    def __str__(self) -> str:
        return f"{self.place.removeprefix('.') or 'the whole'} {self.problem}"


def checked_json(kind: type[Format], content: bytes, what: str, error: type[FedwardError], remedy: str) -> Format:
    """Read JSON as a dataclass.

    Args:
        kind: The dataclass; or another annotation, such as `dict[str, Card]`.
        content: The bytes, in UTF-8.
        what: What to call them at the beginning of an error's sentence; names the file.
        error: The error to raise.
        remedy: What the reader of that error can do.

    Raises:
        FedwardError: of the kind that `error` names. The content is no JSON that `parse_json` reads; or a key is
            missing or unknown, or a value is not what its annotation asks for.

    Guarantees:
        1. Whatever the bytes, the result is an instance of which every attribute has its type and fulfills its rules,
           or that error, whose sentence names the place and what is wrong there.
        2. `checked_json(kind, json.dumps(to_json(value)).encode(), ...)` is `value` again.
    """
    try:
        return checked(kind, parse_json(content))
    except UnfitJsonError as unfit:
        raise error(f"{what} is malformed: {unfit}.", remedy) from unfit
    except ValueError as fault:
        raise error(f"{what} is no JSON that Fedward reads ({_short(str(fault), 120)}).", remedy) from fault


def read_json(
    kind: type[Format], path: Path, what: str, remedy: str, error: type[FedwardError] = EvidenceError
) -> Format:
    """Read a file of JSON as `checked_json` does; an error names the file by `what` and its path.

    Raises:
        EvidenceError, VerificationError: as `fedward.files.read_file`.
        FedwardError: as `checked_json`.
    """
    content = read_file(path, MAX_BYTES, what, remedy)
    return checked_json(kind, content, f"{what} in {path}", error, remedy)


def checked_lines(
    kind: type[Format], lines: Iterable[bytes], what: str, error: type[FedwardError], remedy: str
) -> list[Format]:
    """Read lines of JSON as dataclasses, as `checked_json` does; an error names the line."""
    return [checked_json(kind, line, f"Line {number} of {what}", error, remedy) for number, line in enumerate(lines, 1)]


def checked(kind: type[Format], value: Any) -> Format:
    """Make a dataclass of parsed JSON (dicts, lists, texts and numbers); see `checked_json`.

    Raises:
        UnfitJsonError: a key is missing or unknown, or a value is not what its annotation asks for.
    """
    return _read(kind, value)  # type: ignore[no-any-return]


def to_json(value: Any) -> Any:
    """A dataclass as JSON's types, to be read again by `checked_json`: bytes as hexadecimal, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(inner) for inner in value]
    return value.hex() if isinstance(value, bytes) else value


def _read(hint: Any, value: Any) -> Any:
    """A value as its annotation asks for."""
    read, bare, rules = _plan(hint)
    found = read(bare, value)
    for rule in rules:
        problem = rule.problem(found)
        if problem:
            raise UnfitJsonError("", problem)
    return found


@cache
def _plan(hint: Any) -> tuple["_Reader", Any, tuple[Rule, ...]]:
    """How a value with this annotation is read, the annotation without rules and `NewType`s, and the rules."""
    rules: tuple[Rule, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *behind = get_args(hint)
        rules = tuple(behind)
    while isinstance(hint, NewType):
        hint = hint.__supertype__
    return _SIMPLE.get(hint) or _STRUCTURED.get(get_origin(hint), _object), hint, rules


def _anything(_hint: Any, value: Any) -> Any:
    return value


def _flag(_hint: Any, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnfitJsonError("", "must be true or false")
    return value


def _whole(_hint: Any, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -LARGEST <= value <= LARGEST:
        raise UnfitJsonError("", "must be a whole number of at most 63 bits")
    return value


def _number(_hint: Any, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e308 or not math.isfinite(value):
        raise UnfitJsonError("", "must be a finite number")
    return float(value)


def _text(_hint: Any, value: Any) -> str:
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise UnfitJsonError("", "must be a text")  # half a surrogate pair can be neither printed nor written
    return value


def _content(_hint: Any, value: Any) -> bytes:
    if not isinstance(value, str) or len(value) % 2 or not re.fullmatch("[0-9a-f]*", value, re.ASCII):
        raise UnfitJsonError("", "must be bytes in lower-case hexadecimal")
    return bytes.fromhex(value)


def _nothing(_hint: Any, value: Any) -> None:
    if value is not None:
        raise UnfitJsonError("", "must be null")


def _choice(hint: Any, value: Any) -> Any:
    choices = get_args(hint)
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise UnfitJsonError("", f"must be {' or '.join(map(repr, choices))}")
    return value


def _one_of(hint: Any, value: Any) -> Any:
    if value is None and NoneType in get_args(hint):
        return None
    *others, last = (each for each in get_args(hint) if each is not NoneType)
    for each in others:
        with suppress(UnfitJsonError):
            return _read(each, value)
    return _read(last, value)


def _list(hint: Any, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise UnfitJsonError("", "must be a list")
    inners = get_args(hint)
    if inners[-1] is not ... and len(value) != len(inners):
        raise UnfitJsonError("", f"must have {len(inners)} entries")
    found = []
    for index, (inner, each) in enumerate(zip(cycle(inners[:1]) if inners[-1] is ... else inners, value, strict=False)):
        try:
            found.append(_read(inner, each))
        except UnfitJsonError as unfit:
            raise unfit.inside(f"[{index}]") from unfit
    return tuple(found)


def _mapping(hint: Any, value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise UnfitJsonError("", "must be an object")
    key_hint, inner = get_args(hint)
    found = {}
    for name, each in value.items():
        number = key_hint is int and re.fullmatch("0|[1-9][0-9]{,18}", name, re.ASCII)
        try:
            found[_read(key_hint, int(name) if number else name)] = _read(inner, each)
        except UnfitJsonError as unfit:
            raise unfit.inside(f"[{_short(name)}]") from unfit
    return found


def _object(kind: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise UnfitJsonError("", "must be an object")
    hints, needed = _fields(kind)
    missing = [name for name in needed if name not in value]
    if missing:
        raise UnfitJsonError(f".{missing[0]}", "is missing")
    unknown = [name for name in value if name not in hints]
    if unknown and not issubclass(kind, Part):
        raise UnfitJsonError(f"[{_short(unknown[0])}]", "is no field of this format")
    found = {}
    for name, hint in hints.items():
        if name in value:
            try:
                found[name] = _read(hint, value[name])
            except UnfitJsonError as unfit:
                raise unfit.inside(f".{name}") from unfit
    return kind(**found)


@cache
def _fields(kind: type) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A dataclass's annotations by attribute, and the attributes that have no default."""
    hints, fields = get_type_hints(kind, include_extras=True), dataclasses.fields(kind)
    no_default = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    return {field.name: hints[field.name] for field in fields}, tuple(no_default)


def _short(text: str, most: int = _SHOWN) -> str:
    """A text from outside as an error shows it."""
    return ascii(text)[1:-1][:most]


_Reader = Callable[[Any, Any], Any]
_SIMPLE: dict[Any, _Reader] = {
    Any: _anything, bool: _flag, int: _whole, float: _number, str: _text, bytes: _content, NoneType: _nothing,
}  # fmt: skip
_STRUCTURED: dict[Any, _Reader] = {
    Literal: _choice, Union: _one_of, UnionType: _one_of, tuple: _list, dict: _mapping, Mapping: _mapping,
}  # fmt: skip
