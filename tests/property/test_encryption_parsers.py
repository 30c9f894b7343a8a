"""Bytes from outside: whatever they are, only our error leaves what reads them, and memory stays bounded."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encryption import RoundKey, decrypt, encrypt, opens
from fedward.ciphertexts.plan import plan_layout
from fedward.ciphertexts.serialized import (
    CHUNK_BYTES,
    MODULUS,
    RING_DEGREE,
    add_ciphertexts,
    check_ciphertext,
    check_stored,
    residues_of,
    sum_ciphertexts,
)
from fedward.errors import EncryptionError, VerificationError
from fedward.files import sha256
from fedward.types import PrivacyEvent, PrivateUpdate

SEED = b"the round of these tests"
PLAN = plan_layout(100, 1, 1.0, 2, 20)
KEY = RoundKey.generate()
UPDATE = PrivateUpdate(np.full(100, 0.5, np.float32), PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0))
VALID = encrypt(UPDATE, 1, 1, PLAN, KEY, SEED, np.random.default_rng(0)).chunks[0]

# Whatever reads a ciphertext from outside.
READERS: tuple[Callable[[bytes], object], ...] = (
    check_ciphertext,
    residues_of,
    lambda content: add_ciphertexts(content, VALID),
    lambda content: add_ciphertexts(VALID, content),
    lambda content: sum_ciphertexts([VALID, content, VALID]),
    lambda content: check_stored(content, sha256(content).hex()),
    lambda content: decrypt([content], PLAN, KEY, SEED, 1),
)

fuzz = settings(max_examples=150, deadline=None)


def refused(content: bytes, told: str = "") -> None:
    """Every reader refuses it; the error shows neither content nor key."""
    for read in READERS:
        with pytest.raises(EncryptionError, match=told) as raised:
            read(content)
        assert str(KEY.residues()[0]) not in str(raised.value)
    assert not opens([content], PLAN, KEY, SEED, 1)


def well_formed(content: bytes) -> bool:
    """The definition, by Python's whole numbers."""
    words = (int.from_bytes(content[place : place + 8], "little") for place in range(0, len(content), 8))
    return len(content) == 32_768 and all(word < MODULUS for word in words)


@fuzz
@given(content=st.binary(max_size=300))
def test_random_bytes(content: bytes) -> None:
    refused(content, "bytes where")


@fuzz
@given(seed=st.integers(0, 2**32))
def test_random_bytes_of_the_right_length(seed: int) -> None:
    """One of 16 words is below the prime."""
    refused(np.random.default_rng(seed).bytes(CHUNK_BYTES), "not below its prime")


@fuzz
@given(kept=st.floats(0, 1, exclude_max=True), tail=st.binary(max_size=50))
def test_truncated_and_extended(kept: float, tail: bytes) -> None:
    for content in (VALID[: int(kept * CHUNK_BYTES)], VALID + b"\x00" + tail, VALID[int(kept * CHUNK_BYTES) + 1 :]):
        refused(content, "bytes where")


@fuzz
@given(position=st.integers(0, 2**31), junk=st.binary(min_size=1, max_size=64))
def test_junk_anywhere(position: int, junk: bytes) -> None:
    """Within range it is well formed, as the definition says; opened it is never."""
    start = position % (CHUNK_BYTES - len(junk))
    content = VALID[:start] + junk + VALID[start + len(junk) :]
    if content == VALID:
        return
    if not well_formed(content):
        refused(content, "not below its prime")
        return
    check_ciphertext(content)
    assert residues_of(add_ciphertexts(content, VALID)).max() < MODULUS
    with pytest.raises(EncryptionError, match="off whole numbers"):
        decrypt([content], PLAN, KEY, SEED, 1)
    assert not opens([content], PLAN, KEY, SEED, 1)


@fuzz
@given(
    place=st.integers(0, RING_DEGREE - 1),
    word=st.sampled_from([0, 1, MODULUS - 1, MODULUS, MODULUS + 1, 2**60, 2**61, 2**63 - 1, 2**63, 2**64 - 1]),
)
def test_words_at_the_border_of_the_prime(place: int, word: int) -> None:
    content = VALID[: 8 * place] + word.to_bytes(8, "little") + VALID[8 * place + 8 :]
    if word >= MODULUS:
        refused(content, "not below its prime")
        return
    check_ciphertext(content)
    twice = int(residues_of(add_ciphertexts(content, content))[place])
    assert twice == 2 * word % MODULUS


@fuzz
@given(seed=st.integers(0, 2**32), edge=st.booleans())
def test_sums_are_those_of_whole_numbers(seed: int, edge: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(MODULUS - 2 if edge else 0, MODULUS, (3, RING_DEGREE), np.uint64)
    total = residues_of(sum_ciphertexts([row.tobytes() for row in rows]))
    assert total.tolist() == [sum(map(int, column)) % MODULUS for column in rows.T]


def test_large_bytes_cost_no_memory() -> None:
    huge = VALID * 100
    for read in READERS:
        tracemalloc.start()
        with pytest.raises(EncryptionError, match="bytes where"):
            read(huge)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_000_000


def test_a_stored_ciphertext_is_the_one_that_it_is_named_by() -> None:
    name = sha256(VALID).hex()
    assert check_stored(VALID, name) == VALID
    with pytest.raises(VerificationError, match="has the content of hash"):
        check_stored(bytes(CHUNK_BYTES), name)


@fuzz
@given(words=st.lists(st.integers(0, 2**64 - 1), max_size=4200), length=st.integers(0, 4200))
def test_numbers_that_are_no_key_make_none(words: list[int], length: int) -> None:
    """From shares that were restored wrongly, or for other parameters."""
    residues = np.resize(np.array([*words, 0], np.uint64), length)
    if length == RING_DEGREE and (residues < MODULUS).all():
        RoundKey(residues)
        return
    with pytest.raises(EncryptionError, match="no key of a round"):
        RoundKey(residues)
