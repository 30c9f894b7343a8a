"""A run's folder: never taken twice, held by one run at a time, and complete in what it gives back."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedward.errors import EvidenceError, UsageError
from fedward.files import sha256
from fedward.folders.run import Member, RunFolder, RunRecord
from fedward.settings import load, to_tables
from fedward.types import Address, HospitalId

ROOT = Path(__file__).resolve().parents[2]
ROSTER = tuple(Member(HospitalId(f"hospital-{index}"), Address(f"0x{index}"), 10 * index) for index in (1, 2))
RECORD = RunRecord(
    run_id="test",
    created="2026-01-01T00:00:00+00:00",
    versions={"numpy": "2.4"},
    settings=to_tables(load()),
    settings_digest="ab" * 32,
    initial_model_digest="cd" * 32,
    findings=("pneumonia",),
    class_names=("normal", "pneumonia"),
    parameters=97_521,
    contract=Address("0xc"),
    roster=ROSTER,
    witnesses=(Address("0xw"),),
    genesis_hash="ef" * 32,
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def test_a_record_comes_back_as_it_was(run: RunFolder) -> None:
    run.save_record(RECORD)
    assert RunFolder(run.path).load_record() == RECORD


def test_a_folder_with_anything_in_it_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    RunFolder(tmp_path / "run").check_unused()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    for attempt in (lambda: RunFolder(tmp_path / "run").check_unused(), lambda: RunFolder.create(tmp_path / "run")):
        with pytest.raises(UsageError, match="in use"):
            attempt()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match="in use"):
        RunFolder.create(tmp_path / "run" / "notes.txt")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        RunFolder.create(tmp_path / "file" / "run")


def test_a_second_run_is_kept_out_as_long_as_the_first_lives(run: RunFolder) -> None:
    program = (
        "import sys; from pathlib import Path; from fedward.folders.run import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(run.path)]
    other = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UsageError, match="running simulation"), run.locked():
            pytest.fail("two runs hold one folder")
    finally:
        other.kill()  # a crash lets go of the folder
        other.communicate()
    with run.locked():
        pass


def test_the_lock_is_let_go_when_the_run_fails(run: RunFolder) -> None:
    with pytest.raises(ZeroDivisionError), run.locked():
        _ = 1 / 0
    with run.locked():
        pass


def test_ciphertexts_are_kept_once_under_their_hash(run: RunFolder) -> None:
    first, again, other = (run.store_ciphertext(chunk) for chunk in (b"one", b"one", b"two"))
    assert first == again != other
    assert first.name == sha256(b"one").hex()
    assert first.read_bytes() == b"one"
    assert len(list(run.ciphertexts.iterdir())) == 2


def test_a_rounds_aggregate_comes_back_in_order(run: RunFolder) -> None:
    chunks = [b"zzz", b"aaa", b"mmm"]
    run.save_round(3, [run.store_ciphertext(chunk) for chunk in chunks], {Address("0x1"): []})
    assert run.load_aggregate(3) == tuple(chunks)
    with pytest.raises(EvidenceError, match="round 2"):
        run.load_aggregate(2)
    (run.ciphertexts / sha256(b"aaa").hex()).unlink()
    with pytest.raises(EvidenceError, match="round 3"):
        run.load_aggregate(3)


def test_rounds_and_progress_are_logged_in_order(run: RunFolder) -> None:
    assert run.rounds() == []
    for index in (1, 2):
        run.log_round({"round": index})
        run.log_progress("closed", round=index)
    assert [entry["round"] for entry in run.rounds()] == [1, 2]
    assert run.progress.read_text().splitlines()[0] == '{"event": "closed", "round": 1}'


def test_hospitals_have_folders_of_their_own(run: RunFolder) -> None:
    paths = {run.hospital(member.hospital).path for member in ROSTER}
    assert paths == {run.hospitals / "hospital-1", run.hospitals / "hospital-2"}
