"""Signed structs have one wire form: it gives every struct back, and whatever else comes ends in one sentence."""

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_structs import change

from blockchain.ledger.json_fields import Account
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint
from fedward.checked_json import to_json
from fedward.errors import EvidenceError, VerificationError
from fedward.messages.signed import MAX_BYTES, read_signed, write_signed
from fedward.sharing.signed import Release, Round, SignedAnswers, SignedRelease
from fedward.types import (
    Address,
    Commitment,
    PrivacyEvent,
    ShortName,
    Signature,
    SignedCommitment,
    SignedVote,
    Signer,
    Vote,
    Whole,
    Word,
)


@dataclass(frozen=True)
class Shares:
    """A struct of a kind that there is not: with a list, a choice that may be missing, and a member with a default."""

    round_index: Whole
    roots: tuple[Word, ...]
    note: ShortName | None = None


@dataclass(frozen=True)
class SignedShares:
    shares: Shares
    signature: Signature


ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: Address(to_checksum_address(raw)))
BY_ANNOTATION: dict[Any, st.SearchStrategy[Any]] = {
    Whole: st.integers(0, 2**63 - 1),
    Word: st.binary(min_size=32, max_size=32),
    Signature: st.binary(min_size=65, max_size=65),
    Signer: ADDRESSES,
    Account: ADDRESSES,
    ShortName: st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=16),
    float: st.floats(allow_nan=False, allow_infinity=False, min_value=-1e308, max_value=1e308),
    bool: st.booleans(),
    get_type_hints(Release, include_extras=True)["purpose"]: st.integers(0, 1),
    Round: st.integers(0, 2**32 - 1),
    tuple[Word, ...]: st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    ShortName | None: st.none() | st.just("word"),
}


def instances(kind: type) -> st.SearchStrategy[Any]:
    """Any value of a struct, by its annotations: so a member that is added is drawn as well."""
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(
        kind,
        **{
            name: instances(hint) if dataclasses.is_dataclass(hint) else BY_ANNOTATION[hint]  # type: ignore[arg-type]
            for name, hint in hints.items()
        },
    )


KINDS = (SignedCommitment, SignedVote, SignedCheckpoint, SignedAnswers, SignedRelease, SignedShares)


def read(kind: type, content: bytes) -> Any:
    return read_signed(kind, content, "The message", VerificationError, "Mend it.")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_struct_comes_out_as_it_went_in_and_in_one_form(kind: type, data: st.DataObject) -> None:
    signed = data.draw(instances(kind))
    content = write_signed(signed)
    again = read(kind, content)
    assert again == signed
    assert write_signed(again) == content
    assert content.isascii()
    assert re.search(rb"\s", content) is None
    # The names are the attributes', in every struct.
    (inner,) = (name for name in json.loads(content) if name != "signature")
    assert sorted(json.loads(content)[inner]) == list(json.loads(content)[inner])
    assert set(json.loads(content)[inner]) == {field.name for field in dataclasses.fields(getattr(signed, inner))}


ACCOUNT = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
EVENT = PrivacyEvent("update", "hospital", 1.0, 1.1, 1, 0.7, 1e-5)
COMMITMENT = SignedCommitment(
    Commitment(1, ACCOUNT, 2, ACCOUNT, b"h" * 32, b"b" * 32, b"f" * 32, b"r" * 32, 9, b"d" * 32, 5, EVENT), b"s" * 65
)
VOTE = SignedVote(Vote(1, ACCOUNT, 2, ACCOUNT, b"a" * 32, True, b"c" * 32, b"n" * 32, b"e" * 32), b"s" * 65)
CHECKPOINT = SignedCheckpoint(Checkpoint(1, ACCOUNT, ACCOUNT, 2, 9, b"b" * 32, b"l" * 32), b"s" * 65)
WHOLE = write_signed(COMMITMENT)


def without(name: str) -> bytes:
    fields = json.loads(WHOLE)
    del fields["commitment"][name]
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def replaced(old: bytes, new: bytes) -> bytes:
    assert WHOLE.count(old) == 1
    return WHOLE.replace(old, new)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (WHOLE[:-1], "is no JSON"),
        (b"[]", "the whole must be an object"),
        (b"[" * 1_000, "nested too deeply"),
        (b'{"signature":' * 200, "nested too deeply"),
        (replaced(b'"weight":5', b'"weight":5,"weight":5'), "a key is named twice"),
        (replaced(b'"clip_norm":0.7', b'"clip_norm":NaN'), "NaN is no number"),
        (replaced(b'"clip_norm":0.7', b'"clip_norm":-Infinity'), "Infinity is no number"),
        (replaced(b'"clip_norm":0.7', b'"clip_norm":1e999'), "clip_norm must be a finite number"),
        (replaced(b'"clip_norm":0.7', b'"clip_norm":0.70'), "numbers of another form"),
        (replaced(b'"sampling_rate":1.0', b'"sampling_rate":1'), "numbers of another form"),
        (change(WHOLE, signature=b"s" * 64), "signature must have 65 bytes"),
        (change(WHOLE, signature=b"s" * 66), "signature must have 65 bytes"),
        (change(WHOLE, ledger_head=b"h" * 31), "ledger_head must have 32 bytes"),
        (change(WHOLE, update_root="zz" * 32), "update_root must be bytes in lower-case hexadecimal"),
        (change(WHOLE, update_root="AB" * 32), "update_root must be bytes in lower-case hexadecimal"),
        (change(WHOLE, hospital="x.eth"), "hospital must be an address"),
        (change(WHOLE, contract=f"{ACCOUNT}\n"), "contract must be an address"),
        (change(WHOLE, weight=-1), "weight must be at least 0"),
        (change(WHOLE, weight=True), "weight must be a whole number"),
        (change(WHOLE, weight=5.0), "weight must be a whole number"),
        (change(WHOLE, update_bytes=2**63), "update_bytes must be a whole number of at most 63 bits"),
        (change(WHOLE, event=None), "event must be an object"),
        (without("base_id"), "base_id is missing"),
        (replaced(b'"weight":5', b'"weighs":0,"weight":5'), "is no field of this format"),
        (WHOLE + b"\n", "has blanks"),
        (WHOLE.replace(b":", b": "), "has blanks"),
        (json.dumps(dict(reversed(json.loads(WHOLE).items())), separators=(",", ":")).encode(), "keys are not sorted"),
        (WHOLE + b" " * MAX_BYTES, "is longer than 4,096 bytes"),
        (write_signed(VOTE), "commitment is missing"),
    ],
)
def test_whatever_else_is_refused_in_one_sentence(content: bytes, sentence: str) -> None:
    assert read(SignedCommitment, WHOLE) == COMMITMENT
    with pytest.raises(VerificationError, match=re.escape(sentence)) as refused:
        read(SignedCommitment, content)
    assert refused.value.what.startswith("The message is ")
    assert refused.value.what.isprintable()
    assert refused.value.what.count(". ") == 0
    assert len(refused.value.what) < 250


def places(fields: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every place in JSON's objects."""
    if not isinstance(fields, dict):
        return [before]
    return [before, *(place for name, inner in fields.items() for place in places(inner, (*before, name)))]


EVERYWHERE = [(signed, place) for signed in (COMMITMENT, VOTE, CHECKPOINT) for place in places(to_json(signed))[1:]]
WRONG: tuple[Any, ...] = (
    None,
    "text",
    "",
    "00" * 31,
    0.5,
    -1,
    2**64,
    [],
    {},
    [1],
    "0x" + "1" * 39,
    "\ud800",
    "a" * 500,
)


def at(fields: Any, place: tuple[str, ...], put: Callable[[Any, str], None]) -> bytes:
    inner = fields = json.loads(json.dumps(fields))
    for name in place[:-1]:
        inner = inner[name]
    put(inner, place[-1])
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(("signed", "place"), EVERYWHERE)
def test_every_member_is_needed_and_has_its_type(signed: Any, place: tuple[str, ...]) -> None:
    fields = to_json(signed)
    with pytest.raises(VerificationError, match=f"{place[-1]} is missing"):
        read(type(signed), at(fields, place, lambda inner, name: inner.pop(name)))
    with pytest.raises(VerificationError, match="is no field of this format"):
        read(type(signed), at(fields, place, lambda inner, name: inner.update({name + "s": inner[name]})))
    refused = 0
    for wrong in WRONG:
        content = at(fields, place, lambda inner, name, wrong=wrong: inner.update({name: wrong}))  # type: ignore[misc]
        try:
            found = read(type(signed), content)
        except VerificationError:
            refused += 1
        else:
            assert write_signed(found) == content
    assert refused >= len(WRONG) - 2, "at most a number passes for a number and a name for a name"


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300), cut=st.integers(0, len(WHOLE)), inserted=st.binary(max_size=3))
def test_no_other_bytes_raise_anything_else_or_stand_for_the_same_struct(
    content: bytes, cut: int, inserted: bytes
) -> None:
    for kind in KINDS:
        with pytest.raises(EvidenceError):
            read_signed(kind, content, "The message", EvidenceError, "")
    changed = WHOLE[:cut] + inserted + WHOLE[cut + 1 :]
    try:
        found = read(SignedCommitment, changed)
    except VerificationError:
        return
    assert (found == COMMITMENT) == (changed == WHOLE)


def test_structs_are_read_up_to_the_longest_allowed() -> None:
    def of(roots: int) -> SignedShares:
        return SignedShares(Shares(1, tuple(bytes([number]) * 32 for number in range(roots))), b"s" * 65)

    longest = next(number for number in range(100) if len(write_signed(of(number + 1))) > MAX_BYTES)
    assert longest > 50
    assert read_signed(SignedShares, write_signed(of(longest)), "It", VerificationError, "") == of(longest)
    with pytest.raises(VerificationError, match="is longer than 4,096 bytes"):
        read_signed(SignedShares, write_signed(of(longest + 1)), "It", VerificationError, "")
