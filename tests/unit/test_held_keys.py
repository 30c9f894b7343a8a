"""The door over a hospital's folder: the key of the sum's round opens it, and no other is tried."""

from pathlib import Path

import numpy as np
import pytest

from blockchain.closed_sums import ClosedSum, Purpose
from blockchain.consortium.held_keys import HeldKeys
from blockchain.ledger.records import RoundOpening
from encryption import SecretContext, encrypt_fields
from fedward.ciphertexts.plan import plan_layout
from fedward.errors import EncryptionError, EvidenceError, VerificationError
from fedward.files import merkle_root, sha256
from fedward.folders.hospital import HeldKey, HospitalFolder

PLAN = plan_layout(9_000, 3, 1.0, 2, 18)
FIELDS = np.random.default_rng(0).integers(-1000, 1000, PLAN.parameters)
OLD, NEW = SecretContext.generate(), SecretContext.generate()


def closed(key: SecretContext, encrypted_under: SecretContext | None = None) -> ClosedSum:
    """A sum of one, of a round under a key."""
    opening = RoundOpening(7, bytes(32), bytes(32), key.public.fingerprint, (), 10, 0, 0)
    chunks = encrypt_fields(FIELDS, PLAN, (encrypted_under or key).public)
    return ClosedSum(opening, Purpose.COUNTS, (2,), chunks)


@pytest.fixture
def folder(tmp_path: Path) -> HospitalFolder:
    made = HospitalFolder.create(tmp_path / "hospital-1")
    for epoch, key in enumerate((OLD, NEW), start=1):
        made.save_secret_key(HeldKey(epoch, key.public.fingerprint), key.to_bytes())
    return made


def test_each_round_is_opened_with_its_own_key(folder: HospitalFolder) -> None:
    keys = HeldKeys(folder)
    for key in (NEW, OLD, NEW):
        np.testing.assert_array_equal(keys.open(closed(key), PLAN), FIELDS)
    assert keys.public.fingerprint == NEW.public.fingerprint


def test_a_sum_under_another_key_than_its_rounds_does_not_decode(folder: HospitalFolder) -> None:
    """Also where the hospital holds the key that would open it."""
    with pytest.raises(EncryptionError, match="off whole numbers"):
        HeldKeys(folder).open(closed(NEW, encrypted_under=OLD), PLAN)


def test_a_key_that_was_never_taken_is_missed(folder: HospitalFolder, tmp_path: Path) -> None:
    stranger = SecretContext.generate()
    with pytest.raises(EvidenceError, match=f"no secret key {stranger.public.fingerprint.hex()}"):
        HeldKeys(folder).open(closed(stranger), PLAN)
    empty = HeldKeys(HospitalFolder.create(tmp_path / "hospital-2"))
    with pytest.raises(EvidenceError, match="no secret key in"):
        empty.public  # noqa: B018 - reading it is the act


def test_a_key_that_is_filed_as_another_is_refused(folder: HospitalFolder) -> None:
    folder.save_secret_key(HeldKey(2, NEW.public.fingerprint), OLD.to_bytes())
    with pytest.raises(VerificationError, match=r"validation counts of round 7 are under key .*by that name is"):
        HeldKeys(folder).open(closed(NEW, encrypted_under=OLD), PLAN)


def test_a_damaged_key_opens_nothing(folder: HospitalFolder) -> None:
    folder.save_secret_key(HeldKey(2, NEW.public.fingerprint), NEW.to_bytes()[:-1])
    with pytest.raises(EncryptionError, match="secret context has"):
        HeldKeys(folder).open(closed(NEW), PLAN)


def test_it_shows_no_key_and_a_sum_names_its_ciphertexts_by_their_root(folder: HospitalFolder) -> None:
    keys, total = HeldKeys(folder), closed(NEW)
    keys.open(total, PLAN)
    assert repr(keys) == f"HeldKeys({folder.keys})"
    assert total.root() == merkle_root([sha256(chunk) for chunk in total.chunks])
    assert total.root() != closed(NEW).root()  # encryption is not repeatable
    assert "chunks" not in repr(total)
