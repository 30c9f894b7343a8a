"""A hospital's folder: what it keeps, who may read it, and what a retry sends."""

import dataclasses
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from source_tree import ROOT

from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import EvidenceError, ResourceError
from fedward.files import sha256
from fedward.folders.hospital import Candidate, HeldKey, HospitalFolder, Membership, Outgoing
from fedward.learning.digest import weights_digest
from fedward.types import Address, Commitment, GlobalModel, HospitalId, PrivacyEvent, SignedCommitment

WEIGHTS = np.random.default_rng(0).normal(0, 1, 1_000).astype(np.float32)
EVENT = PrivacyEvent("update", "hospital", 1.0, 1.1, 1, 0.7, 1e-5)
ACCOUNT = Address("0x" + "ab" * 20)
COMMITMENT = Commitment(
    190826,
    ACCOUNT,
    2,
    ACCOUNT,
    b"\0" * 32,
    b"\xff" * 32,
    b"f" * 32,
    b"r" * 32,
    2**40,
    b"s" * 32,
    700,
    EVENT,
)


@pytest.fixture
def folder(tmp_path: Path) -> HospitalFolder:
    return HospitalFolder.create(tmp_path / "hospitals" / "hospital-1")


def signed(round_index: int) -> SignedCommitment:
    return SignedCommitment(dataclasses.replace(COMMITMENT, round_index=round_index), bytes(range(65)))


def outgoing(round_index: int, *chunks: bytes) -> Outgoing:
    return Outgoing(signed(round_index), chunks, (b"for the first", b"for the second"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_membership_model_and_candidate_come_back_bit_for_bit(folder: HospitalFolder) -> None:
    membership = Membership(
        HospitalId("hospital-1"), Address("0xc"), 123, "ab" * 32, "cd" * 32, 190826, "ef" * 32, (Address("0xw"),)
    )
    folder.join(membership)
    assert HospitalFolder(folder.path).membership() == membership

    odd = np.array([0.1, -0.0, np.finfo(np.float32).smallest_subnormal, 3e38], np.float32)
    folder.save_model(GlobalModel(odd, b"\0b" * 16, odd[:2]))
    loaded = folder.load_model()
    assert loaded.weights.tobytes() == odd.tobytes()
    assert loaded.moments.tobytes() == odd[:2].tobytes()
    assert loaded.base_id == b"\0b" * 16

    assert folder.load_candidate() is None
    folder.save_candidate(Candidate(7, b"a" * 31 + b"\0", WEIGHTS, odd))
    candidate = folder.load_candidate()
    assert candidate is not None
    assert (candidate.round_index, candidate.aggregate_hash) == (7, b"a" * 31 + b"\0")
    assert candidate.weights.tobytes() == WEIGHTS.tobytes()
    assert candidate.moments.tobytes() == odd.tobytes()


def test_a_model_is_replaced_as_a_whole(folder: HospitalFolder) -> None:
    for index in range(3):
        folder.save_model(GlobalModel(WEIGHTS + index, bytes([index]) * 32))
    assert folder.load_model().base_id == bytes([2]) * 32
    assert [path.name for path in folder.path.iterdir()] == ["model.npz"]


def test_only_the_owner_reads_what_is_private(folder: HospitalFolder) -> None:
    folder.save_model(GlobalModel(WEIGHTS, b"b" * 32))
    folder.save_candidate(Candidate(1, b"a" * 32, WEIGHTS))
    folder.save_submission(outgoing(1, b"one", b"two"))
    folder.save_counts(1, (b"a count",))
    folder.save_report(1, b"with its salt")
    assert mode(folder.path) == 0o700
    sent = [f"outbox/round-0001/{part}" for part in ("chunks", "sealed-shares", "counts")]
    for name in ("model.npz", "candidate.npz", "reports/round-0001.json", *sent):
        assert mode(folder.path / name) == 0o600, name
    assert mode(folder.path / "outbox" / "round-0001") == 0o700


def test_a_retry_resends_the_same_bytes_in_the_same_order(folder: HospitalFolder) -> None:
    sent = outgoing(2, *(bytes([index]) * 9 for index in range(12)))
    folder.save_submission(sent)
    again = HospitalFolder(folder.path).load_submission(2)
    assert again == sent
    assert again is not None
    assert again.counts is None
    assert again.signed.commitment.event == EVENT
    assert folder.load_submission(1) is None
    assert folder.load_submission(3) is None


@pytest.mark.parametrize("part", ["chunks", "sealed-shares"])
def test_parts_that_do_not_add_up_are_damage(folder: HospitalFolder, part: str) -> None:
    file = folder.path / "outbox" / "round-0002" / part
    for damaged in (b"3 3\none", b"2\none", b"-3 6\none", b"three\none", b"9" * 5000 + b"\none", b"1 1\none"):
        folder.save_submission(outgoing(2, b"one"))
        file.write_bytes(damaged)
        with pytest.raises(EvidenceError, match="damaged"):
            folder.load_submission(2)


def test_a_later_round_takes_the_place_of_an_earlier_one(folder: HospitalFolder) -> None:
    folder.save_submission(outgoing(2, *[b"old"] * 5))
    folder.save_counts(2, (bytes(CHUNK_BYTES),))
    folder.save_submission(outgoing(3, b"new"))
    assert folder.load_submission(2) is None
    assert folder.load_submission(3) == outgoing(3, b"new")
    assert len(list((folder.path / "outbox").iterdir())) == 1


def test_a_submission_that_a_crash_cut_short_never_left(
    folder: HospitalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commitment is written last, so a folder without it is nothing to send again."""
    with monkeypatch.context() as crash:
        crash.setattr("fedward.folders.hospital.write_signed", lambda _signed: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            folder.save_submission(outgoing(2, b"a", b"b", b"c"))
    assert {path.name for path in (folder.path / "outbox" / "round-0002").iterdir()} == {"chunks", "sealed-shares"}
    assert folder.load_submission(2) is None
    folder.save_submission(outgoing(2, b"d"))
    assert folder.load_submission(2) == outgoing(2, b"d")


def test_encrypted_counts_join_a_submission_later(folder: HospitalFolder) -> None:
    folder.save_submission(outgoing(2, b"a"))
    counts = (b"1" * CHUNK_BYTES, b"2" * CHUNK_BYTES)
    folder.save_counts(2, counts)
    assert folder.load_submission(2) == dataclasses.replace(outgoing(2, b"a"), counts=counts)


def test_sealed_shares_are_forgotten_and_so_is_what_a_crash_left_of_them(folder: HospitalFolder) -> None:
    folder.save_submission(outgoing(2, b"update"))
    sent = folder.path / "outbox" / "round-0002"
    (sent / ".0123.part").write_bytes(b"for the fir")
    folder.forget_round(2)
    assert {path.name for path in sent.iterdir()} == {"chunks", "commitment.json"}
    kept = folder.load_submission(2)
    assert kept is not None
    assert (kept.chunks, kept.sealed_shares) == ((b"update",), ())
    folder.forget_round(2)  # once more changes nothing
    folder.forget_round(3)


def test_sealing_keys_come_back_and_damaged_ones_are_said(folder: HospitalFolder) -> None:
    with pytest.raises(EvidenceError, match="sealing keys"):
        folder.sealing_keys()
    keys = {Address("0xa"): bytes(range(32)), Address("0xb"): b"k" * 32}
    folder.save_sealing_keys(keys)
    assert HospitalFolder(folder.path).sealing_keys() == keys
    file = folder.path / "sealing-keys.json"
    for content in (b"", b"[]", b'{"0xa": 5}', b'{"0xa": "00"}', file.read_bytes()[:-20]):
        file.write_bytes(content)
        with pytest.raises(EvidenceError, match="sealing keys"):
            folder.sealing_keys()


def test_reports_and_checkpoints_are_kept_in_order(folder: HospitalFolder) -> None:
    assert folder.checkpoints() == []
    assert folder.load_report(1) is None
    for index in (1, 2):
        folder.save_report(index, b"report %d" % index)
        folder.save_checkpoint(b'{"height":%d}' % (10 * index))
    assert (folder.path / "reports" / "round-0002.json").read_bytes() == b"report 2"
    assert folder.load_report(1) == b"report 1"
    assert folder.checkpoints() == [b'{"height":10}', b'{"height":20}']


def test_whoever_comes_second_waits_for_the_first_to_end(folder: HospitalFolder) -> None:
    program = (
        "import sys; from pathlib import Path; from fedward.folders.hospital import HospitalFolder\n"
        "with HospitalFolder(Path(sys.argv[1])).locked(): print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(folder.path)]
    other = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    entered = threading.Event()

    def enter() -> None:
        with folder.locked():
            entered.set()

    second = threading.Thread(target=enter)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        second.start()
        assert not entered.wait(0.5)
    finally:
        other.kill()  # a crash lets go of the folder
        other.communicate()
        second.join(30)
    assert entered.is_set()


def test_a_folder_that_cannot_be_locked_is_said(folder: HospitalFolder) -> None:
    (folder.path / ".lock").mkdir()
    with pytest.raises(ResourceError, match="cannot be locked") as refused, folder.locked():
        pytest.fail("a folder is no lock")
    assert refused.value.exit_code == 10


def test_channel_keys_are_kept_by_epoch_for_their_owner_only(folder: HospitalFolder) -> None:
    with pytest.raises(EvidenceError, match="no channel key"):
        folder.load_channel_key()
    keys = [HeldKey(epoch, bytes([epoch]) * 32) for epoch in (1, 2, 10)]
    for key in reversed(keys):
        folder.save_channel_key(key, b"key %d" % key.epoch)
    (folder.keys / ".0011-x.key.1.part").write_bytes(b"what a crash left")
    assert folder.held_keys() == tuple(keys)
    assert folder.load_channel_key() == b"key 10"
    assert folder.load_channel_key(bytes([2]) * 32) == b"key 2"
    with pytest.raises(EvidenceError, match="03" * 32):
        folder.load_channel_key(bytes([3]) * 32)
    assert {mode(path) for path in folder.keys.glob("0*.key")} == {0o600}
    assert mode(folder.keys) == 0o700


def test_the_weights_digest_is_of_little_endian_float32_and_of_nothing_else() -> None:
    assert weights_digest(WEIGHTS) == sha256(WEIGHTS.astype("<f4").tobytes())
    assert weights_digest(WEIGHTS.astype(">f4")) == weights_digest(WEIGHTS)
    assert weights_digest(np.repeat(WEIGHTS, 2)[::2]) == weights_digest(WEIGHTS)
    other = WEIGHTS.copy()
    other[-1] = np.nextafter(other[-1], np.float32(9))
    assert weights_digest(other) != weights_digest(WEIGHTS)
