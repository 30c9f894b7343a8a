"""Messages about shared keys: they come out as they went in, and what else comes is refused by one kind of error."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from hypothesis import example, given, settings
from hypothesis import strategies as st
from signed_structs import change
from test_wire_messages import (  # type: ignore[import-not-found]  # beside this file, for pytest
    ADDRESSES,
    COMMITMENTS,
    HASHES,
    RELEASES,
    ROUNDS,
    SIGNATURES,
    WHOLE,
    WRONG,
    message,
    travel,
)
from unchecked_commitments import signed_commitment

from fedward.errors import VerificationError
from fedward.messages import key_sharing as keys
from fedward.messages.fields import MOST_MEMBERS
from fedward.messages.replies import Malformed
from fedward.messages.signed import MAX_BYTES
from fedward.sharing.signed import Answers, Release, SentAnswers, SentRelease, SignedAnswers, SignedRelease
from fedward.sharing.terms import Purpose
from fedward.types import Address, SignedCommitment

SHARE_BYTES, MOST_BYTES, CONTENT_BYTES = 24, 100, 20
PLACES = st.integers(0, MOST_MEMBERS - 1)
COMMITTED = st.builds(SignedCommitment, COMMITMENTS, SIGNATURES)


@st.composite
def dealings(draw: st.DrawFn) -> keys.DealtShares:
    dealers, holders = draw(st.lists(PLACES, max_size=5, unique=True)), draw(st.integers(0, 4))
    hashes = st.lists(HASHES, min_size=holders, max_size=holders).map(tuple)
    sealed = st.binary(min_size=SHARE_BYTES, max_size=SHARE_BYTES)
    shares = tuple(keys.DealtShare(dealer, draw(hashes), draw(sealed), draw(COMMITTED)) for dealer in dealers)
    return keys.DealtShares(draw(WHOLE), draw(HASHES), shares)


REQUESTS = st.builds(
    keys.ReleaseRequest,
    WHOLE,
    st.sampled_from(Purpose),
    st.sets(PLACES).map(lambda drawn: tuple(sorted(drawn))),
    HASHES,
)
ANSWERS = st.builds(
    SentAnswers,
    st.builds(SignedAnswers, st.builds(Answers, WHOLE, ADDRESSES, ROUNDS, ADDRESSES, HASHES, HASHES), SIGNATURES),
    st.binary(max_size=MOST_BYTES),
)


def read_dealt(received: Message) -> keys.DealtShares:
    return keys.read_dealt(received, SHARE_BYTES)


def read_answers(received: Message) -> object:
    return keys.read_answers(received, MOST_BYTES)


def read_release(received: Message) -> object:
    return keys.read_release(received, CONTENT_BYTES)


@settings(max_examples=80, deadline=None)
@given(dealings())
def test_dealt_shares_come_out_as_they_went_in(dealt: keys.DealtShares) -> None:
    assert read_dealt(message(travel(keys.dealt_to_records(dealt)))) == dealt


@settings(max_examples=80, deadline=None)
@given(REQUESTS)
def test_requests_come_out_as_they_went_in(request: keys.ReleaseRequest) -> None:
    read = keys.read_request(message(travel(keys.request_to_records(request))))
    assert read == request
    assert type(read.purpose) is Purpose


@settings(max_examples=80, deadline=None)
@given(ANSWERS, RELEASES)
def test_answers_and_releases_come_out_as_they_went_in(answers: SentAnswers, release: SentRelease) -> None:
    assert read_answers(message(travel(keys.answers_to_records(answers)))) == answers
    read = keys.read_release(message(travel(keys.release_to_records(release))), len(release.content))
    assert read == release


# ---- what does not belong there ---------------------------------------------------------------------------------

ACCOUNT = Address("0x" + "ab" * 20)
DEALT = keys.DealtShares(
    3,
    b"l" * 32,
    tuple(keys.DealtShare(n, (b"h" * 32,) * 3, b"s" * SHARE_BYTES, signed_commitment(ACCOUNT)) for n in (0, 2)),
)
REQUEST = keys.ReleaseRequest(3, Purpose.COUNTS, (0, 2), b"r" * 32)
SENT_ANSWERS = SentAnswers(SignedAnswers(Answers(1, ACCOUNT, 3, ACCOUNT, b"l" * 32, b"a" * 32), b"s" * 65), b"numbers")
SENT_RELEASE = SentRelease(
    SignedRelease(Release(1, ACCOUNT, 3, ACCOUNT, 0, *([b"r" * 32] * 4)), b"s" * 65),  # type: ignore[call-arg]
    bytes(CONTENT_BYTES),
)
Read = Callable[[Message], object]
KINDS: dict[str, tuple[RecordDict, Read]] = {
    "dealings": (keys.dealt_to_records(DEALT), read_dealt),
    "sum": (keys.request_to_records(REQUEST), keys.read_request),
    "answers": (keys.answers_to_records(SENT_ANSWERS), read_answers),
    "release": (keys.release_to_records(SENT_RELEASE), read_release),
}
OF_SERVER = ("dealings", "sum")


def refuses(kind: str, records: RecordDict) -> bool:
    """Whether a message is refused: of a hospital's, as a value; of the server's, by the one kind of error."""
    read = KINDS[kind][1]
    if kind not in OF_SERVER:
        return isinstance(read(message(records)), Malformed)
    try:
        read(message(records))
    except VerificationError:
        return True
    return False


def changed(kind: str, **values: Any) -> RecordDict:
    """A message with some entries replaced; None takes one away."""
    whole: dict[str, Any] = dict(KINDS[kind][0][kind].items()) | values
    return RecordDict({kind: ConfigRecord({name: value for name, value in whole.items() if value is not None})})


def entries(kind: str) -> list[str]:
    return list(KINDS[kind][0][kind])


FIELDS = [(kind, field) for kind in KINDS for field in entries(kind)]


def test_what_belongs_there_is_read() -> None:
    """Else the refusals mean nothing."""
    for kind in KINDS:
        assert not refuses(kind, changed(kind)), kind
        assert refuses(kind, RecordDict()), kind


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_missing_entry_or_one_of_another_type_is_refused(kind: str, field: str) -> None:
    assert refuses(kind, changed(kind, **{field: None}))
    right: Any = KINDS[kind][0][kind][field]  # type: ignore[index]
    for wrong in WRONG:
        try:
            records = changed(kind, **{field: wrong})
        except TypeError:  # Flower itself lets no such value into a record
            continue
        if type(wrong) is type(right):
            refuses(kind, records)  # refused or read, but nothing else is raised
        else:
            assert refuses(kind, records), wrong


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("dealings", {"dealers": [0, 0]}),
        ("dealings", {"dealers": [0]}),
        ("dealings", {"dealers": [0, 2, 3]}),
        ("dealings", {"shares": [b"s" * SHARE_BYTES] * 3}),
        ("dealings", {"shares": [b"s" * SHARE_BYTES, b"s" * (SHARE_BYTES + 1)]}),
        ("dealings", {"shares": [b"", b""]}),
        ("dealings", {"hashes": [b"h" * 96, b"h" * 95]}),
        ("dealings", {"hashes": [b"h" * 32 * 129, b"h" * 96]}),
        (
            "dealings",
            {"dealers": list(range(129)), "hashes": [b"h" * 96] * 129, "shares": [b"s" * SHARE_BYTES] * 129},
        ),
        ("sum", {"purpose": 2}),
        ("sum", {"purpose": -1}),
        ("sum", {"included": [2, 0]}),
        ("sum", {"included": [0, 0]}),
        ("sum", {"included": [-1, 0]}),
        ("sum", {"included": [0, 128]}),
        ("sum", {"sum-hash": b"r" * 31}),
        ("answers", {"content": b"n" * (MOST_BYTES + 1)}),
        ("answers", {"signed": b" " * (MAX_BYTES + 1)}),
        ("release", {"content": bytes(CONTENT_BYTES - 1)}),
        ("release", {"content": bytes(CONTENT_BYTES + 1)}),
        ("release", {"content": b""}),
        ("release", {"signed": b"[" * MAX_BYTES}),
    ],
)
def test_what_is_out_of_bounds_is_refused(kind: str, values: dict[str, Any]) -> None:
    assert refuses(kind, changed(kind, **values))


@pytest.mark.parametrize("kind", ["answers", "release"])
@pytest.mark.parametrize("value", [None, -1, 2**63, 1.5, "x", True, [], {}, "00" * 31, "ZZ" * 32])
def test_no_member_of_a_signed_struct_may_be_anything_else(kind: str, value: object) -> None:
    right: Any = KINDS[kind][0][kind]["signed"]  # type: ignore[index]
    members = next(value for value in json.loads(right).values() if isinstance(value, dict))
    for name in (*members, "signature"):
        assert refuses(kind, changed(kind, signed=change(right, **{name: value}))), name
    assert refuses(kind, changed(kind, signed=b" " + right))
    assert refuses(kind, changed(kind, signed=right[:-1]))


def test_a_release_is_of_a_sum_that_there_is() -> None:
    right: Any = KINDS["release"][0]["release"]["signed"]  # type: ignore[index]
    assert not refuses("release", changed("release", signed=change(right, purpose=1)))
    assert refuses("release", changed("release", signed=change(right, purpose=2)))


VALUES = st.one_of(
    st.integers(-(2**62), 2**62),
    st.floats(),
    st.text(max_size=9),
    st.binary(max_size=40),
    st.booleans(),
    st.lists(st.integers(-9, 200), max_size=4),
    st.lists(st.binary(max_size=40), max_size=4),
    st.lists(st.text(max_size=3), max_size=4),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_no_nonsense_raises_anything_else(kind: str, data: st.DataObject) -> None:
    drawn = data.draw(st.dictionaries(st.sampled_from([*entries(kind), "other"]), VALUES))
    refuses(kind, changed(kind, **drawn))
    refuses(kind, RecordDict({kind: ConfigRecord(drawn)}))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
@example(b"{}")
@example(b'{"answers":{},"signature":""}')
def test_no_bytes_in_a_signed_structs_place_raise_anything_else(content: bytes) -> None:
    for kind in ("answers", "release"):
        assert refuses(kind, changed(kind, signed=content))
