"""JSON from outside: what fits its format comes out typed, and whatever else there is ends in one sentence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NewType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward.checked_json import Length, Matching, Part, checked_json, checked_lines, to_json
from fedward.errors import DataError, EvidenceError
from fedward.tables import Between

Name = NewType("Name", str)


@dataclass(frozen=True)
class Member:
    name: Annotated[Name, Matching("[a-z]{1,8}", "a name")]
    weight: Annotated[int, Between(0, 9)]


@dataclass(frozen=True)
class Corner(Part):
    """Of a larger object."""

    flag: bool


@dataclass(frozen=True)
class Whole:
    format: Literal["whole"]
    version: Literal[1, 2]
    flag: bool
    share: Annotated[float, Between(0, 1)]
    digest: Annotated[bytes, Length(4)]
    members: tuple[Member, ...]
    by_round: Mapping[int, tuple[float, ...]]
    corner: Corner
    table: Mapping[str, bool | int | float | str]
    anything: Any
    note: str | None = None
    seen: tuple[int, ...] = field(default_factory=tuple)


VALUE = Whole(
    "whole", 1, True, 0.5, b"\0\xff12", (Member(Name("ab"), 3), Member(Name("c"), 0)), {0: (), 12: (1.0, 2.5)},
    Corner(False), {"a": True, "b": 1, "c": 1.5, "d": "x"}, None, "ß",
)  # fmt: skip
FIELDS: dict[str, Any] = to_json(VALUE)


def read(content: bytes) -> Whole:
    return checked_json(Whole, content, "The file", DataError, "Mend it.")


def with_one_changed(*place: Any, to: Any) -> bytes:
    fields = json.loads(json.dumps(FIELDS))
    inner = fields
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = to
    return json.dumps(fields).encode()


def test_what_was_written_is_read_with_its_types() -> None:
    found = read(json.dumps(FIELDS).encode())
    assert found == VALUE
    assert [type(value) for value in found.table.values()] == [bool, int, float, str]
    assert isinstance(found.by_round[12], tuple)
    assert read(with_one_changed("share", to=1)).share == 1.0
    assert isinstance(read(with_one_changed("share", to=1)).share, float)


def test_a_default_stands_for_a_field_that_is_not_there_and_a_part_passes_over_others() -> None:
    fields = {name: value for name, value in FIELDS.items() if name not in ("note", "seen")}
    fields["corner"] = {"flag": True, "more": [1, {}]}
    found = read(json.dumps(fields).encode())
    assert (found.note, found.seen, found.corner) == (None, (), Corner(True))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (with_one_changed("format", to="other"), "format must be 'whole'"),
        (with_one_changed("version", to=True), "version must be 1 or 2"),
        (with_one_changed("version", to=1.0), "version must be 1 or 2"),
        (with_one_changed("flag", to=1), "flag must be true or false"),
        (with_one_changed("share", to="0.5"), "share must be a finite number"),
        (with_one_changed("share", to=True), "share must be a finite number"),
        (with_one_changed("share", to=10**400), "share must be a finite number"),
        (with_one_changed("share", to=1.5), "share must be at least 0 and at most 1"),
        (with_one_changed("digest", to="00"), "digest must have 4 bytes or entries"),
        (with_one_changed("digest", to="0"), "digest must be bytes in lower-case hexadecimal"),
        (with_one_changed("digest", to="00 FF31"), "digest must be bytes in lower-case hexadecimal"),
        (with_one_changed("digest", to="\uff100ff3132"), "digest must be bytes in lower-case hexadecimal"),
        (with_one_changed("members", to={}), "members must be a list"),
        (with_one_changed("members", to="ab"), "members must be a list"),
        (with_one_changed("members", 1, to=[]), r"members\[1\] must be an object"),
        (with_one_changed("members", 1, "weight", to=10), r"members\[1\].weight must be at least 0 and at most 9"),
        (with_one_changed("members", 1, "weight", to=10**30), r"members\[1\].weight must be a whole number of at most"),
        (with_one_changed("members", 0, "name", to="a/b"), r"members\[0\].name must be a name"),
        (with_one_changed("members", 0, "name", to="ab\n"), r"members\[0\].name must be a name"),
        (with_one_changed("members", 0, "more", to=1), r"members\[0\]\[more\] is no field of this format"),
        (with_one_changed("by_round", to={"01": []}), r"by_round\[01\] must be a whole number"),
        (with_one_changed("by_round", to={"-1": []}), r"by_round\[-1\] must be a whole number"),
        (with_one_changed("by_round", "7", to=[None]), r"by_round\[7\]\[0\] must be a finite number"),
        (with_one_changed("table", "x", to=[]), r"table\[x\] must be a text"),
        (with_one_changed("note", to=3), "note must be a text"),
        (with_one_changed("note", to="\ud800"), "note must be a text"),
        (with_one_changed("\x1b[2J" * 20, to=3), r"\[.{1,40}\] is no field of this format"),
        (json.dumps(FIELDS).replace('"share"', '"sh"').encode(), "share is missing"),
        (b"[]", "the whole must be an object"),
        (json.dumps(FIELDS).encode()[:-1], r"is no JSON that Fedward reads \(Expecting"),
        (json.dumps(FIELDS).replace("0.5", "NaN").encode(), "NaN is no number"),
        (json.dumps(FIELDS).replace("0.5", "-Infinity").encode(), "-Infinity is no number"),
        (json.dumps(FIELDS).replace('"note"', '"flag"').encode(), "a key is named twice"),
        (with_one_changed("anything", to=None).replace(b"null", b"[" * 70 + b"]" * 70), "nested too deeply"),
        (b"9" * 5000, "is no JSON that Fedward reads"),
        (b"\xff", "is no JSON that Fedward reads"),
        (b"", "is no JSON that Fedward reads"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_where_and_what_to_do(content: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as refused:
        read(content)
    assert refused.value.what.startswith("The file is ")
    assert refused.value.what.isprintable()
    assert refused.value.remedy == "Mend it."


def test_a_line_is_named_by_its_number() -> None:
    lines = [b'{"flag": true}', b'{"flag": false, "more": 1}']
    assert checked_lines(Corner, lines, "log", EvidenceError, "") == [Corner(True), Corner(False)]
    with pytest.raises(EvidenceError, match="Line 3 of log is malformed: flag is missing"):
        checked_lines(Corner, [*lines, b"{}"], "log", EvidenceError, "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text() | st.sampled_from(["ab", "00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    *((name,) for name in FIELDS), ("members", 0), ("members", 1, "name"), ("by_round", "12"), ("by_round", "12", 0),
    ("corner", "flag"), ("table", "b"), ("members", 0, "unknown"),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(PLACES), value=JSON)
def test_whatever_stands_anywhere_it_is_read_or_refused(place: tuple[Any, ...], value: Any) -> None:
    try:
        found = read(with_one_changed(*place, to=value))
    except DataError:
        return
    assert read(json.dumps(to_json(found)).encode()) == found


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_bytes_only_the_error_that_was_asked_for_comes_out(content: bytes) -> None:
    with pytest.raises(DataError):
        read(content)
