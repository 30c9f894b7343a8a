"""Whatever happens to the files of a hospital or a run, reading them works or says that evidence is missing."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward.checked_json import read_json
from fedward.errors import EvidenceError
from fedward.folders.hospital import Candidate, HospitalFolder, Membership, Outgoing
from fedward.folders.round_keys import Dealings
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.sharing.signed import Answers, Release, SentAnswers, SentRelease, SignedAnswers, SignedRelease
from fedward.sharing.terms import Purpose
from fedward.types import Address, Commitment, GlobalModel, HospitalId, Member, PrivacyEvent, SignedCommitment

pytestmark = pytest.mark.slow

WEIGHTS = np.arange(9, dtype=np.float32)
EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
ACCOUNT = Address("0x" + "ab" * 20)
COMMITMENT = Commitment(1, ACCOUNT, 2, ACCOUNT, *([b"h" * 32] * 4), 20, b"s" * 32, 5, EVENT)  # type: ignore[call-arg]
ANSWERS = SentAnswers(SignedAnswers(Answers(1, ACCOUNT, 1, ACCOUNT, b"l" * 32, b"a" * 32), b"s" * 65), b"numbers")
RELEASE = SentRelease(
    SignedRelease(Release(1, ACCOUNT, 1, ACCOUNT, 0, *([b"r" * 32] * 4)), b"s" * 65),  # type: ignore[call-arg]
    b"shares",
)
MEMBER = Member(HospitalId("hospital-1"), Address("0xh"), 5)
RECORD = RunRecord("run", "", {}, {}, "00", "00", ("f",), ("a", "b"), 9, Address("0xc"), (MEMBER,), (), "00")


def filled(path: Path) -> tuple[HospitalFolder, SimulationFolder]:
    """A hospital's and a run's folder with one of everything in them."""
    run = SimulationFolder.create(path / "run")
    hospital = HospitalFolder.create(run.hospital(HospitalId("hospital-1")).path)
    hospital.join(Membership(HospitalId("hospital-1"), Address("0xc"), 5, "00", "00", 1, "00", (Address("0xw"),)))
    hospital.save_model(GlobalModel(WEIGHTS, b"b" * 32))
    hospital.save_candidate(Candidate(2, b"a" * 32, WEIGHTS))
    hospital.save_submission(Outgoing(SignedCommitment(COMMITMENT, b"s" * 65), (b"1" * 10, b"2" * 10), (b"s" * 10,)))
    hospital.save_sealing_keys({Address("0xh"): b"x" * 32})
    hospital.save_checkpoint(b'{"round": 1, "height": 7}')
    run.server.save_record(RECORD)
    run.server.ciphertexts.save_round(
        1, [run.server.ciphertexts.store(b"sum")], {Address("0xh"): [run.server.ciphertexts.store(b"part")]}
    )
    run.server.round_keys.save_dealings(1, Dealings(b"h" * 32, {Address("0xh"): ("00" * 32,)}, (ANSWERS,)))
    run.server.round_keys.save_releases(1, Purpose.UPDATES, (RELEASE,))
    run.server.log_round({"round": 1, "phase": "accepted"})
    return hospital, run


READERS: dict[str, Callable[[HospitalFolder, SimulationFolder], object]] = {
    "run/hospitals/hospital-1/hospital.json": lambda hospital, _: hospital.membership(),
    "run/hospitals/hospital-1/model.npz": lambda hospital, _: hospital.load_model(),
    "run/hospitals/hospital-1/candidate.npz": lambda hospital, _: hospital.load_candidate(),
    "run/hospitals/hospital-1/outbox/round-0002/commitment.json": lambda hospital, _: hospital.load_submission(2),
    "run/hospitals/hospital-1/checkpoints.jsonl": lambda hospital, _: hospital.checkpoints(),
    "run/hospitals/hospital-1/sealing-keys.json": lambda hospital, _: hospital.sealing_keys(),
    "run/server/dealings/round-0001.json": lambda _, run: read_json(
        Dealings, run.path / "server" / "dealings" / "round-0001.json", "A list", "Restore it."
    ),
    "run/server/releases/round-0001-updates.json": lambda _, run: run.server.round_keys.load_releases(
        1, Purpose.UPDATES
    ),
    "run/server/run.json": lambda _, run: run.server.load_record(),
    "run/server/ciphertexts/round-0001.json": lambda _, run: (
        run.server.ciphertexts.load_aggregate(1),
        run.server.ciphertexts.round_files(1),
    ),
    "run/server/metrics.jsonl": lambda _, run: run.server.rounds(),
}


def damage(content: bytes, kind: str, place: int, value: int) -> bytes:
    place %= len(content)
    changed = bytearray(content)
    if kind == "bit":
        changed[place] ^= 1 << value % 8
    elif kind == "byte":
        changed[place] = value
    elif kind == "cut":
        del changed[place:]
    else:
        del changed[place : place + value]
    return bytes(changed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damaged")
    filled(path)
    return path


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["bit", "byte", "cut", "gap"]), st.integers(0, 10_000), st.integers(0, 255))
def test_damage_is_missing_evidence_and_nothing_worse(
    name: str, folder: Path, kind: str, place: int, value: int
) -> None:
    run = SimulationFolder(folder / "run")
    hospital, file = run.hospital(HospitalId("hospital-1")), folder / name
    whole = file.read_bytes()
    READERS[name](hospital, run)
    try:
        file.write_bytes(damage(whole, kind, place, value))
        with contextlib.suppress(EvidenceError):
            READERS[name](hospital, run)
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith(".npz")])
def test_no_single_byte_of_an_array_file_breaks_its_reader(name: str, folder: Path) -> None:
    """Headers that claim encryption or an unknown compression are too rare for chance to find."""
    run = SimulationFolder(folder / "run")
    hospital, file = run.hospital(HospitalId("hospital-1")), folder / name
    whole = file.read_bytes()
    try:
        for place in range(len(whole)):
            for flipped in (0x01, 0x40, 0xFF):
                file.write_bytes(whole[:place] + bytes([whole[place] ^ flipped]) + whole[place + 1 :])
                with contextlib.suppress(EvidenceError):
                    READERS[name](hospital, run)
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [b"", b"[]\n", b"{}\n", b"5\n", b"null\n", b"\xff\xfe\n", b'"x"\n', b"{\n"])
def test_files_of_something_else_are_missing_evidence(name: str, content: bytes, tmp_path: Path) -> None:
    hospital, run = filled(tmp_path)
    (tmp_path / name).write_bytes(content)
    try:
        READERS[name](hospital, run)
    except EvidenceError:
        return
    # Logs hold any JSON, and may be empty; a list of releases, and one of keys, may be empty too.
    empty = {"round-0001-updates.json": b"[]\n", "sealing-keys.json": b"{}\n"}
    assert name.endswith(".jsonl") or empty.get(Path(name).name) == content


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_missing_evidence_or_an_empty_beginning(name: str, tmp_path: Path) -> None:
    hospital, run = filled(tmp_path)
    (tmp_path / name).unlink()
    if name.endswith(("candidate.npz", "commitment.json")):
        assert READERS[name](hospital, run) is None
    elif name.endswith(".jsonl"):
        assert READERS[name](hospital, run) == []
    else:
        with pytest.raises(EvidenceError):
            READERS[name](hospital, run)
