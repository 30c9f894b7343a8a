"""The encrypted sum against its plaintext twin, bit for bit, and the aggregates that are refused."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from unchecked_commitments import signed_commitment

from encryption import RoundKey, decrypt, encrypt
from fedward.ciphertexts.aggregation import aggregate, aggregate_plain, apply_update
from fedward.ciphertexts.packing import dequantize, quantize
from fedward.ciphertexts.plan import plan_layout
from fedward.errors import EncryptionError, EvidenceError, QuorumError, VerificationError
from fedward.files import merkle_root, sha256, write_atomic
from fedward.sharing.modular import MODULUS
from fedward.types import Address, PrivacyEvent, PrivateUpdate, VerifiedUpdate

EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
PLAN = plan_layout(40_000, 5, 1.0, 2, 20)
SEED = b"the round of these tests"
WEIGHTS = (100, 7, 33, 250, 1)
NOBODY = Address("0x" + "00" * 20)
DELTAS = np.random.default_rng(0).normal(0, 0.2, (5, PLAN.parameters)).astype(np.float32)


@pytest.fixture(scope="module")
def keys() -> list[RoundKey]:
    return [RoundKey.generate() for _ in WEIGHTS]


def sum_of(keys: Sequence[RoundKey]) -> RoundKey:
    total = sum(key.residues().astype(object) for key in keys) % MODULUS
    return RoundKey(np.asarray(total).astype(np.uint64))


def store_update(folder: Path, index: int, chunks: tuple[bytes, ...]) -> VerifiedUpdate:
    files = []
    for chunk in chunks:
        files.append(folder / sha256(chunk).hex())
        write_atomic(files[-1], chunk)
    return VerifiedUpdate(
        Address(f"0x{index:040x}"), index, tuple(files), (), signed_commitment(NOBODY, WEIGHTS[index])
    )


@pytest.fixture(scope="module")
def updates(keys: list[RoundKey], tmp_path_factory: pytest.TempPathFactory) -> list[VerifiedUpdate]:
    folder = tmp_path_factory.mktemp("ciphertexts")
    return [
        store_update(
            folder,
            index,
            encrypt(
                PrivateUpdate(delta, EVENT), weight, sum(WEIGHTS), PLAN, keys[index], SEED, np.random.default_rng(index)
            ).chunks,
        )
        for index, (delta, weight) in enumerate(zip(DELTAS, WEIGHTS, strict=True))
    ]


def test_final_weights_equal_the_plaintext_twin_bit_for_bit(
    keys: list[RoundKey], updates: list[VerifiedUpdate], tmp_path: Path
) -> None:
    """Rounds with all five hospitals, then with three, then with one."""
    encrypted = plain = np.random.default_rng(9).normal(0, 1, PLAN.parameters).astype(np.float32)
    for members in ((0, 1, 2, 3, 4), (4, 0, 2), (1,)):
        result = aggregate([updates[index] for index in members], tmp_path)
        chunks = (file.read_bytes() for file in result.chunk_files)
        sums = decrypt(chunks, PLAN, sum_of([keys[index] for index in members]), SEED, len(members))
        twin = aggregate_plain(
            [quantize(DELTAS[i], WEIGHTS[i], sum(WEIGHTS), PLAN, np.random.default_rng(i)).values for i in members]
        )
        np.testing.assert_array_equal(sums, twin)
        included = sum(WEIGHTS[index] for index in members)
        encrypted = apply_update(encrypted, dequantize(sums, PLAN, included, sum(WEIGHTS)))
        plain = apply_update(plain, dequantize(twin, PLAN, included, sum(WEIGHTS)))
        assert encrypted.tobytes() == plain.tobytes()
        mean = sum(DELTAS[i].astype(np.float64) * WEIGHTS[i] for i in members) / included
        slack = (len(members) + 1) * PLAN.resolution * sum(WEIGHTS) / included
        clipped = np.abs(DELTAS).max() <= PLAN.value_range
        assert clipped
        np.testing.assert_allclose(dequantize(sums, PLAN, included, sum(WEIGHTS)), mean, atol=slack, rtol=0)


def test_order_does_not_matter(updates: list[VerifiedUpdate], tmp_path: Path) -> None:
    results = {aggregate(order, tmp_path) for order in itertools.permutations((updates[0], *updates[2:4]))}
    assert len(results) == 1
    result = results.pop()
    assert result.included == (0, 2, 3)
    names = [bytes.fromhex(file.name) for file in result.chunk_files]
    assert names == [sha256(file.read_bytes()) for file in result.chunk_files]
    assert result.aggregate_hash == merkle_root(names)
    assert len(names) == PLAN.chunks


def test_memory_holds_two_chunks_at_a_time(updates: list[VerifiedUpdate], tmp_path: Path) -> None:
    """The addition sees running sum and one update's chunk, hospital after hospital within one position."""
    calls = []

    def add(left: bytes, right: bytes) -> bytes:
        calls.append((sha256(left).hex(), sha256(right).hex()))
        return left

    with mock.patch("fedward.ciphertexts.serialized.add_ciphertexts", add):
        aggregate(updates, tmp_path)
    expected = [
        (row[0].name, file.name) for row in zip(*(u.chunk_files for u in updates), strict=True) for file in row[1:]
    ]
    assert calls == expected


def test_updates_that_cannot_be_added_are_refused(updates: list[VerifiedUpdate], tmp_path: Path) -> None:
    short = VerifiedUpdate(updates[1].hospital, 1, updates[1].chunk_files[:-1], (), signed_commitment(NOBODY, 7))
    empty = VerifiedUpdate(updates[1].hospital, 1, (), (), signed_commitment(NOBODY, 7))
    for wrong in ([updates[0], short], [empty], [updates[0], empty]):
        with pytest.raises(EncryptionError, match="chunks cannot be added"):
            aggregate(wrong, tmp_path)
    with pytest.raises(QuorumError):
        aggregate([], tmp_path)
    with pytest.raises(VerificationError, match="twice"):
        aggregate([updates[0], updates[0]], tmp_path)
    assert not list(tmp_path.iterdir())


def test_changed_or_missing_chunk_file_is_found(keys: list[RoundKey], tmp_path: Path) -> None:
    chunks = encrypt(PrivateUpdate(DELTAS[0], EVENT), 1, 1, PLAN, keys[0], SEED, np.random.default_rng(0)).chunks
    update = store_update(tmp_path, 0, chunks)
    content = bytearray(chunks[2])
    content[-1] ^= 1
    update.chunk_files[2].write_bytes(content)
    with pytest.raises(VerificationError, match="has the content of hash"):
        aggregate([update], tmp_path)
    update.chunk_files[2].unlink()
    with pytest.raises(EvidenceError, match="could not be read"):
        aggregate([update], tmp_path)


def test_malformed_chunk_is_refused_by_the_addition(tmp_path: Path) -> None:
    pair = [store_update(tmp_path, index, (bytes([index]) * 100,)) for index in range(2)]
    with pytest.raises(EncryptionError, match="100 bytes"):
        aggregate(pair, tmp_path)


def test_apply_update_refuses_another_shape() -> None:
    with pytest.raises(EncryptionError, match="does not fit"):
        apply_update(np.zeros(3, np.float32), np.zeros(4))


def test_apply_update_rounds_once() -> None:
    """A mean update that only double precision tells from a tie moves the weight up."""
    moved = apply_update(np.ones(1, np.float32), np.array([2.0**-24 + 2.0**-50]))
    assert moved.dtype == np.float32
    assert moved[0] == np.float32(1 + 2.0**-23)
