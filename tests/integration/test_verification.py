"""Stage 6: only what the contract accepted and is wholly present counts; all else is a rejection, on record or not."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from consortium import EVENT, FINGERPRINT, WEIGHTS, Chain, Consortium, running_chain

from blockchain.ledger.encoding import encode_commitment
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.relay import Relay
from blockchain.signing.signatures import sign_commitment
from blockchain.verification import examine, verify
from fedward.ciphertexts.serialized import MODULUS, RING_DEGREE
from fedward.errors import LedgerError
from fedward.files import merkle_root, sha256
from fedward.types import PrivacyEvent, Rejection, StoredUpdate, VerifiedUpdate


def ciphertext(seed: int) -> bytes:
    """Well formed: as many residues as the ring has, below the prime. No key is needed to make one."""
    return np.random.default_rng(seed).integers(0, MODULUS, RING_DEGREE, np.uint64).tobytes()


CHUNKS = (ciphertext(1), ciphertext(2), ciphertext(3))
UNFIT = CHUNKS[0][:-8] + MODULUS.to_bytes(8, "little")  # its last residue is the prime itself


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with running_chain() as running:
        yield running


@pytest.fixture
def opened(chain: Chain) -> Iterator[Consortium]:
    founded = Consortium.found(chain)
    founded.open_round()
    yield founded
    founded.close()


def store(folder: Path, chunks: tuple[bytes, ...] = CHUNKS) -> tuple[Path, ...]:
    paths = tuple(folder / sha256(chunk).hex() for chunk in chunks)
    for path, chunk in zip(paths, chunks, strict=True):
        path.write_bytes(chunk)
    return paths


def stored(
    opened: Consortium, folder: Path, index: int = 0, chunks: tuple[bytes, ...] = CHUNKS, **changes: Any
) -> StoredUpdate:
    """An honest update, but for its chunks and for the changes to its commitment."""
    shares = tuple(b"for hospital %d, of hospital %d" % (holder, index) for holder in range(len(opened.hospitals)))
    honest = {
        "update_root": merkle_root([sha256(chunk) for chunk in chunks]),
        "update_bytes": sum(map(len, chunks)),
        "shares_root": merkle_root([sha256(share) for share in shares]),
    }
    signed = opened.signed(index, **{**honest, **changes})
    return StoredUpdate(opened.hospitals[index].address, store(folder, chunks), store(folder, shares), signed)


def check(opened: Consortium, update: StoredUpdate, promised: PrivacyEvent = EVENT) -> VerifiedUpdate | Rejection:
    """Both steps, with a transaction in a block between them."""
    assert opened.opening
    examined = examine(update, opened.opening, promised, opened.ledger)
    if isinstance(examined, Rejection):
        return examined
    outcomes: list[LedgerError | None] = []
    if examined.call:
        relay = Relay(opened.ledger, opened.opening.submission_deadline)
        relay.add(examined.call, outcomes.append)
        relay.finish()
        assert outcomes == [None]
    return verify(examined, None, opened.ledger)


def verified(opened: Consortium, update: StoredUpdate) -> VerifiedUpdate:
    """What an update of the second hospital becomes."""
    assert update.signed.commitment.weight == WEIGHTS[1]
    return VerifiedUpdate(opened.hospitals[1].address, 1, update.chunk_files, update.share_files, update.signed)


def assert_rejected(result: VerifiedUpdate | Rejection, reason: str, hospital: str) -> None:
    assert isinstance(result, Rejection)
    assert result.reason == reason, result.evidence
    assert result.hospital == hospital
    assert result.evidence.endswith(".")


def test_an_honest_update_is_verified(opened: Consortium, tmp_path: Path) -> None:
    update = stored(opened, tmp_path, index=1)
    assert check(opened, update) == verified(opened, update)
    assert opened.ledger.round(1).submissions == 1


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_bit_changed_after_signing_is_rejected_but_on_record(
    opened: Consortium, tmp_path: Path, position: int
) -> None:
    update = stored(opened, tmp_path)
    content = bytearray(update.chunk_files[position].read_bytes())
    content[-1] ^= 1
    update.chunk_files[position].write_bytes(content)
    assert_rejected(check(opened, update), "ChunkMismatch", update.hospital)
    assert opened.ledger.round(1).submissions == 1


def altered(update: StoredUpdate, how: str, folder: Path) -> StoredUpdate:
    """Chunks that are each what their name says, but not together what was committed."""
    first, second, third = update.chunk_files
    (extra,) = store(folder, (ciphertext(4),))
    files = {
        "dropped": (first, second),
        "swapped": (second, first, third),
        "added": (first, second, third, extra),
        "replaced": (extra, second, third),
        "doubled": (first, first, second, third),
        "none": (),
    }
    return dataclasses.replace(update, chunk_files=files[how])


@pytest.mark.parametrize("how", ["dropped", "swapped", "added", "replaced", "doubled", "none"])
def test_other_chunks_than_committed_are_rejected(opened: Consortium, tmp_path: Path, how: str) -> None:
    update = altered(stored(opened, tmp_path), how, tmp_path)
    assert_rejected(check(opened, update), "ChunkMismatch", update.hospital)


def test_a_chunk_that_is_not_named_by_its_hash_is_rejected(opened: Consortium, tmp_path: Path) -> None:
    update = stored(opened, tmp_path)
    renamed = update.chunk_files[0].rename(tmp_path / ("0" * 64))
    misnamed = dataclasses.replace(update, chunk_files=(renamed, *update.chunk_files[1:]))
    assert_rejected(check(opened, misnamed), "ChunkMismatch", update.hospital)


def test_a_missing_chunk_is_rejected(opened: Consortium, tmp_path: Path) -> None:
    update = stored(opened, tmp_path)
    update.chunk_files[1].unlink()
    assert_rejected(check(opened, update), "ChunkMismatch", update.hospital)


def test_a_wrong_length_is_rejected(opened: Consortium, tmp_path: Path) -> None:
    update = stored(opened, tmp_path, update_bytes=1)
    assert_rejected(check(opened, update), "ChunkMismatch", update.hospital)


@pytest.mark.parametrize("how", ["none", "dropped", "added", "swapped", "replaced"])
def test_other_shares_than_committed_are_rejected_but_on_record(opened: Consortium, tmp_path: Path, how: str) -> None:
    update = stored(opened, tmp_path)
    first, second, third = update.share_files
    (extra,) = store(tmp_path, (b"of another key",))
    files = {
        "none": (),
        "dropped": (first, second),
        "added": (first, second, third, extra),
        "swapped": (second, first, third),
        "replaced": (first, second, extra),
    }
    assert_rejected(
        check(opened, dataclasses.replace(update, share_files=files[how])), "SharesMismatch", update.hospital
    )
    assert opened.ledger.round(1).submissions == 1


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    ("malformed", "told"),
    [
        (b"", "0 bytes"),
        (CHUNKS[0][:-1], "32767 bytes"),
        (CHUNKS[0][:-8] + b"\xff" * 8, "not below its prime"),
        (UNFIT, "not below its prime"),
    ],
    ids=["empty", "short", "residue", "prime"],
)
def test_a_malformed_ciphertext_is_rejected_but_on_record(
    opened: Consortium, tmp_path: Path, position: int, malformed: bytes, told: str
) -> None:
    chunks = (*CHUNKS[:position], malformed, *CHUNKS[position + 1 :])
    update = stored(opened, tmp_path, chunks=chunks)
    result = check(opened, update)
    assert_rejected(result, "MalformedCiphertext", update.hospital)
    assert isinstance(result, Rejection)
    assert f"Chunk {position}:" in result.evidence
    assert told in result.evidence
    assert opened.ledger.round(1).submissions == 1


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "none"}, {"unit": "image"}, {"noise_multiplier": 0.1}, {"clip_norm": 50.0}, {"delta": 0.01},
        {"steps": 0}, {"sampling_rate": 0.01}, {"noise_multiplier": 9.0},  # more noise is not what was agreed on either
    ],
)  # fmt: skip
def test_another_privacy_event_than_promised_is_rejected_but_on_record(
    opened: Consortium, tmp_path: Path, change: dict[str, Any]
) -> None:
    update = stored(opened, tmp_path, event=dataclasses.replace(EVENT, **change))
    assert_rejected(check(opened, update), "WrongPrivacyEvent", update.hospital)
    assert opened.ledger.round(1).submissions == 1


@pytest.mark.parametrize("change", [{}, {"sampling_rate": 0.03}, {"steps": 40}])
def test_steps_and_sampling_rate_are_the_settings_and_not_the_hospitals(
    opened: Consortium, tmp_path: Path, change: dict[str, Any]
) -> None:
    promised = dataclasses.replace(EVENT, mode="sample", unit="patient", sampling_rate=0.02, steps=30)
    update = stored(opened, tmp_path, event=dataclasses.replace(promised, **change))
    found = check(opened, update, promised=promised)
    if change:
        assert_rejected(found, "WrongPrivacyEvent", update.hospital)
    else:
        assert isinstance(found, VerifiedUpdate)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ledger_head": FINGERPRINT}, "WrongLedgerHead"),
        ({"base_id": FINGERPRINT}, "WrongBase"),
        ({"context_fingerprint": bytes(32)}, "WrongContext"),
        ({"weight": 1}, "WrongWeight"),
        ({"round_index": 2}, "WrongRound"),
        ({"chain_id": 1}, "WrongSigner"),
    ],
)
def test_what_the_contract_refuses_never_counts(
    opened: Consortium, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    update = stored(opened, tmp_path, **change)
    assert_rejected(check(opened, update), reason, update.hospital)
    assert opened.ledger.round(1).submissions == 0


def test_a_value_that_no_ledger_can_hold_is_a_rejection_too(opened: Consortium, tmp_path: Path) -> None:
    update = stored(opened, tmp_path)
    unfit = dataclasses.replace(update.signed.commitment, event=dataclasses.replace(EVENT, delta=-1.0))
    broken = dataclasses.replace(update, signed=dataclasses.replace(update.signed, commitment=unfit))
    assert_rejected(check(opened, broken), "MalformedValue", update.hospital)
    assert opened.ledger.round(1).submissions == 0


@pytest.mark.parametrize(
    "value", [{"update_root": b"short"}, {"weight": -1}, {"weight": 2**40}, {"update_bytes": 2**64}]
)
def test_a_commitment_of_the_wrong_shape_is_a_rejection_too(
    opened: Consortium, tmp_path: Path, value: dict[str, Any]
) -> None:
    update = stored(opened, tmp_path)
    unfit = dataclasses.replace(update.signed.commitment, **value)
    broken = dataclasses.replace(update, signed=dataclasses.replace(update.signed, commitment=unfit))
    assert_rejected(check(opened, broken), "MalformedValue", update.hospital)


def test_a_stranger_is_rejected(opened: Consortium, tmp_path: Path) -> None:
    stranger, honest = opened.chain.stranger, stored(opened, tmp_path)
    forged = sign_commitment(honest.signed.commitment, stranger)
    assert_rejected(check(opened, dataclasses.replace(honest, signed=forged)), "WrongSigner", honest.hospital)
    own = sign_commitment(dataclasses.replace(honest.signed.commitment, hospital=stranger.address), stranger)
    update = dataclasses.replace(honest, hospital=stranger.address, signed=own)
    assert_rejected(check(opened, update), "NotOnRoster", stranger.address)
    assert_rejected(check(opened, dataclasses.replace(honest, signed=own)), "WrongSender", honest.hospital)
    assert opened.ledger.round(1).submissions == 0


def test_another_second_submission_is_rejected(opened: Consortium, tmp_path: Path) -> None:
    assert isinstance(check(opened, stored(opened, tmp_path)), VerifiedUpdate)
    (tmp_path / "other").mkdir()
    second = stored(opened, tmp_path / "other", chunks=(ciphertext(5), ciphertext(6)))
    assert_rejected(check(opened, second), "AlreadySubmitted", second.hospital)
    assert opened.ledger.round(1).submissions == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_commitment_that_somebody_else_relayed_counts(opened: Consortium, tmp_path: Path, late: bool) -> None:
    """Else whoever reads it on the way could have an honest update left out, by sending it first."""
    update = stored(opened, tmp_path, index=1)
    commitment = encode_commitment(update.signed.commitment)
    opened.send(opened.chain.stranger, "submitUpdateFor", commitment, update.signed.signature)
    if late:
        opened.pass_deadline()
    assert check(opened, update) == verified(opened, update)
    assert check(opened, update) == verified(
        opened, update
    )  # the caller drops the second: it stands for the very same chunks
    assert opened.ledger.round(1).submissions == 1


@pytest.mark.parametrize(
    "change",
    [
        {"update_root": FINGERPRINT}, {"update_bytes": 7}, {"event": dataclasses.replace(EVENT, delta=0.01)},
        {"weight": WEIGHTS[2]}, {"shares_root": FINGERPRINT},
    ],
)  # fmt: skip
def test_only_what_is_on_record_counts_as_relayed(opened: Consortium, tmp_path: Path, change: dict[str, Any]) -> None:
    """A hospital that signs two commitments has the recorded one, even where both are to the same chunks."""
    update = stored(opened, tmp_path)
    assert isinstance(check(opened, update), VerifiedUpdate)
    other = sign_commitment(dataclasses.replace(update.signed.commitment, **change), opened.hospitals[0])
    second = dataclasses.replace(update, signed=other)
    assert_rejected(check(opened, second), "AlreadySubmitted", update.hospital)


def test_a_relayed_commitment_is_checked_like_any_other(opened: Consortium, tmp_path: Path) -> None:
    update = stored(opened, tmp_path, chunks=(UNFIT, *CHUNKS[1:]))
    opened.ledger.submit_for(update.signed)
    forged = dataclasses.replace(update, signed=dataclasses.replace(update.signed, signature=bytes(65)))
    assert_rejected(check(opened, forged), "WrongSigner", update.hospital)
    assert_rejected(check(opened, update), "MalformedCiphertext", update.hospital)
    update.chunk_files[1].unlink()
    assert_rejected(check(opened, update), "ChunkMismatch", update.hospital)


def test_after_the_deadline_nothing_new_counts(opened: Consortium, tmp_path: Path) -> None:
    opened.pass_deadline()
    update = stored(opened, tmp_path)
    assert_rejected(check(opened, update), "SubmissionDeadlinePassed", update.hospital)


def test_a_copy_of_another_hospitals_update_is_rejected(opened: Consortium, tmp_path: Path) -> None:
    assert isinstance(check(opened, stored(opened, tmp_path)), VerifiedUpdate)
    copy = stored(opened, tmp_path, index=1)
    assert_rejected(check(opened, copy), "HashAlreadyUsed", copy.hospital)
    opened.pass_deadline()  # from now on the contract looks at nothing else, not even at whose weight it is
    late = stored(opened, tmp_path, index=1, weight=WEIGHTS[0])
    assert_rejected(check(opened, late), "SubmissionDeadlinePassed", late.hospital)


def test_a_closed_round_takes_nothing(opened: Consortium, tmp_path: Path) -> None:
    update = stored(opened, tmp_path)
    opened.ledger.abort_round(1, "test")
    assert_rejected(check(opened, update), "RoundNotOpen", update.hospital)


def test_an_unreachable_ledger_is_no_fault_of_the_update(
    opened: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockchain.ledger.patience.SEND_PATIENCE_S", 0.5)
    with running_chain(opened.chain) as other:
        away = Consortium.found(other)
        away.open_round()
        update = stored(away, tmp_path)
        ledger = away.ledger
    assert away.opening
    assert isinstance(ledger, Ledger)
    with pytest.raises(LedgerError, match=r"127\.0\.0\.1.*cannot be reached") as caught:
        examine(update, away.opening, EVENT, ledger)
    assert caught.value.reason == ""
    ledger.close()
    for connection in away.connections:
        connection.close()
