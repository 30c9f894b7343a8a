"""Fedward's values in the contract's words and back: nothing is lost, and what does not fit is refused."""

import dataclasses
import math
from typing import Any

import pytest
from consortium import EVENT
from hypothesis import example, given
from hypothesis import strategies as st

from blockchain.ledger.encoding import (
    decode_decimal,
    decode_event,
    decode_mask,
    decode_reason,
    encode_commitment,
    encode_decimal,
    encode_event,
    encode_mask,
    encode_reason,
    encode_vote,
)
from fedward.errors import LedgerError, VerificationError
from fedward.types import Address, Commitment, PrivacyEvent, Vote

# 17 digits fit in 30 decimals for every number from 1e-13 up: all that settings and sampling rates can be.
DECIMALS = st.floats(1e-13, 3e8) | st.just(0.0)


@given(DECIMALS)
@example(1e-5)
@example(32 / 3394)
@example(1 / 3)
@example(1e6)
@example(5e-324 * 0)
def test_a_number_comes_back_as_the_very_same_float(value: float) -> None:
    assert decode_decimal(encode_decimal(value, "x")) == value


def test_a_number_is_recorded_as_it_is_written() -> None:
    assert encode_decimal(1e-5, "delta") == 10**25
    assert encode_decimal(1.1, "noise multiplier") == 11 * 10**29


@pytest.mark.parametrize(
    "value", [-1.0, math.nan, math.inf, 3.5e8, 1e-31, 1.2345678901234567e-15, 10**400, True, "0.5", b"1", None, [1.0]]
)
def test_a_number_that_does_not_fit_is_refused(value: Any) -> None:
    with pytest.raises(LedgerError, match="noise multiplier"):
        encode_decimal(value, "noise multiplier")


@given(
    st.builds(
        PrivacyEvent,
        mode=st.sampled_from(["none", "update", "sample"]),
        unit=st.sampled_from(["none", "hospital", "patient", "image"]),
        sampling_rate=st.floats(1e-9, 1),
        noise_multiplier=DECIMALS,
        steps=st.integers(0, 2**32 - 1),
        clip_norm=DECIMALS,
        delta=st.floats(1e-12, 0.1),
    )
)
def test_a_privacy_event_comes_back(event: PrivacyEvent) -> None:
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize(
    "change", [{"mode": "magic"}, {"unit": "nation"}, {"steps": -1}, {"steps": 2**32}, {"steps": 1.5}]
)
def test_an_event_that_cannot_be_recorded_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(LedgerError, match="cannot be recorded"):
        encode_event(PrivacyEvent(**{**vars(EVENT), **change}))  # type: ignore[arg-type]


@pytest.mark.parametrize("codes", [(3, 0), (0, 4)])
def test_an_unknown_code_on_the_ledger_is_refused(codes: tuple[int, int]) -> None:
    with pytest.raises(VerificationError):
        decode_event((*codes, 0, 0, 0, 0, 0))


@given(st.sets(st.integers(0, 127)))
def test_masks_come_back(indices: set[int]) -> None:
    assert decode_mask(encode_mask(indices)) == tuple(sorted(indices))
    assert encode_mask([*indices, *indices]) == encode_mask(indices)


@given(st.text())
def test_any_reason_becomes_a_word_that_is_not_empty(reason: str) -> None:
    word = encode_reason(reason)
    assert len(word) == 32
    assert word.strip(b"\0")
    assert word[31] == 0


def test_a_short_reason_comes_back() -> None:
    assert decode_reason(encode_reason("ChunkMismatch")) == "ChunkMismatch"


ADDRESS = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
WORD = bytes(range(32))
COMMITMENT = Commitment(5, ADDRESS, 1, ADDRESS, WORD, WORD, WORD, WORD, 2**64 - 1, WORD, 2**32 - 1, EVENT)
VOTE = Vote(5, ADDRESS, 2**32 - 1, ADDRESS, WORD, True, WORD, WORD, WORD)
NO_ADDRESS = (
    "nonsense", "x.eth", "", "0x", ADDRESS[:-1], ADDRESS + "0", ADDRESS[2:], ADDRESS.lower(), "0x" + "\u0661" * 40,
    bytes(20), 5, None, [ADDRESS],
)  # fmt: skip
NO_WORD = (b"", bytes(31), bytes(33), "ab" * 32, "0x" + "ab" * 32, bytearray(32), 7, None)
NO_UINT32 = (-1, 2**32, 1.0, "1", True, None)
MISFITS = {
    "hospital": NO_ADDRESS,
    "ledger_head": NO_WORD,
    "base_id": NO_WORD,
    "context_fingerprint": NO_WORD,
    "update_root": NO_WORD,
    "shares_root": NO_WORD,
    "aggregate_hash": NO_WORD,
    "candidate_digest": NO_WORD,
    "counts_hash": NO_WORD,
    "evidence_hash": NO_WORD,
    "round_index": NO_UINT32,
    "weight": NO_UINT32,
    "update_bytes": (-1, 2**64, 1.0, "1", True, None),
    "accept": (0, 1, "yes", None),
}


def assert_misfits(encode: Any, honest: Commitment | Vote) -> None:
    """Each misfit alone is refused for what it is, before web3 sees it."""
    names = MISFITS.keys() & vars(honest).keys()
    for name in names:
        for value in MISFITS[name]:
            with pytest.raises(LedgerError, match="cannot be recorded") as caught:
                encode(dataclasses.replace(honest, **{name: value}))
            assert caught.value.reason == "MalformedValue", (name, value)
    assert len(names) >= 6


def test_a_commitment_is_encoded_only_if_every_field_fits() -> None:
    assert encode_commitment(COMMITMENT) == (
        1, ADDRESS, WORD, WORD, WORD, WORD, 2**64 - 1, WORD, 2**32 - 1, encode_event(EVENT),
    )  # fmt: skip
    assert_misfits(encode_commitment, COMMITMENT)


def test_a_vote_is_encoded_only_if_every_field_fits() -> None:
    assert encode_vote(VOTE) == (2**32 - 1, ADDRESS, WORD, True, WORD, WORD, WORD)
    assert_misfits(encode_vote, VOTE)
