"""Fedward's values in the contract's words and back: nothing is lost, and what does not fit is refused."""

import math

import pytest
from consortium import EVENT
from hypothesis import example, given
from hypothesis import strategies as st

from blockchain.encoding import (
    decode_decimal,
    decode_event,
    decode_mask,
    decode_reason,
    encode_decimal,
    encode_event,
    encode_mask,
    encode_reason,
)
from fedward.errors import LedgerError, VerificationError
from fedward.types import PrivacyEvent

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


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 3.5e8, 1e-31, 1.2345678901234567e-15])
def test_a_number_that_does_not_fit_is_refused(value: float) -> None:
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


@pytest.mark.parametrize("change", [{"mode": "magic"}, {"unit": "nation"}, {"steps": -1}, {"steps": 2**32}])
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
