"""The typed events are the contract's: each of its events has a type, with its fields under their names and types."""

import dataclasses
from typing import get_args, get_type_hints

import pytest
from consortium import Consortium
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from blockchain.ledger import events
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.encoding import EncodedEvent
from blockchain.ledger.events import EVENTS, LedgerEvent, RoundEvent, field_name, read_event
from blockchain.ledger.records import LedgerRules
from fedward.errors import VerificationError
from fedward.types import Address

SHAPES = {shape.name: shape for shape in load_artifact().events().values()}
PLACE = {"block", "transaction_hash"}  # where an event stands, which the contract does not tell
OURS = {
    "address": Address,
    "bool": bool,
    "bytes32": bytes,
    "(uint8,uint8,uint8,uint8,uint32,uint32,bool)": LedgerRules,
    "(uint8,uint8,uint128,uint128,uint32,uint128,uint128)": EncodedEvent,
    "(uint8,bytes32)[]": events.Exclusions,
}


def ours(kind: str) -> object:
    """The type here of a type in the contract."""
    return int if kind.startswith("uint") else OURS[kind]


def test_every_event_of_the_contract_has_a_type_and_no_other_is_there() -> None:
    assert set(EVENTS) == set(SHAPES)
    declared = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, LedgerEvent)}
    assert declared - {LedgerEvent, RoundEvent} == set(EVENTS.values())


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_type_has_the_fields_of_its_event_and_their_types(name: str) -> None:
    expected = {field_name(field): ours(kind) for field, kind, _ in SHAPES[name].fields}
    assert {field: kind for field, kind in get_type_hints(EVENTS[name]).items() if field not in PLACE} == expected
    assert issubclass(EVENTS[name], RoundEvent) == ("round_index" in expected)


def test_the_rules_and_the_privacy_event_have_as_many_parts_as_in_the_contract() -> None:
    parts = {kind: kind.count(",") + 1 for shape in SHAPES.values() for _, kind, _ in shape.fields}
    kinds = {ours: kind for kind, ours in OURS.items()}
    assert parts[kinds[LedgerRules]] == len(dataclasses.fields(LedgerRules))
    assert parts[kinds[EncodedEvent]] == len(get_args(EncodedEvent))


@pytest.mark.parametrize(
    ("name", "expected"), [("round", "round_index"), ("x25519Key", "x25519_key"), ("updateRoot", "update_root")]
)
def test_names_are_written_as_everywhere_here(name: str, expected: str) -> None:
    assert field_name(name) == expected


def test_a_rounds_events_come_with_the_values_that_were_recorded(consortium: Consortium) -> None:
    consortium.open_round()
    signed = consortium.signed(0)
    consortium.ledger.submit_for(signed)
    (found,) = consortium.ledger.events(events.UpdateCommitted, 1)
    commitment = signed.commitment
    assert (found.hospital, found.round_index, found.update_root, found.update_bytes, found.weight) == (
        commitment.hospital,
        commitment.round_index,
        commitment.update_root,
        commitment.update_bytes,
        commitment.weight,
    )
    assert found.ledger_head == consortium.ledger.head().ledger_head
    assert list(consortium.ledger.events(events.UpdateCommitted, 2)) == []
    assert [event.name for event in consortium.ledger.history()][-2:] == ["RoundOpened", "UpdateCommitted"]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(SHAPES)), st.lists(st.binary(min_size=32, max_size=32), max_size=3), st.binary(max_size=400)
)
def test_no_bytes_raise_anything_but_our_error(name: str, words: list[bytes], data: bytes) -> None:
    try:
        found = read_event((SHAPES[name].selector, *words), data)
    except VerificationError:
        return
    assert isinstance(found, EVENTS[name])


def test_what_is_no_event_of_the_ledger_is_passed_over() -> None:
    assert read_event((), b"") is None
    assert read_event((b"x" * 32,), encode(["uint256"], [1])) is None
