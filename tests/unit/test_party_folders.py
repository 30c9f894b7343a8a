"""The parties' folders of a run: never taken twice, held by one run at a time, complete in what they give back."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedward.errors import EvidenceError, UsageError, VerificationError
from fedward.files import sha256
from fedward.folders.hospital import HospitalFolder
from fedward.folders.own_folder import SIMULATED_HOSPITALS, own_folder
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import NodeAddress
from fedward.settings import load, to_tables
from fedward.types import Address, HospitalId, Member

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
def run(tmp_path: Path) -> SimulationFolder:
    return SimulationFolder.create(tmp_path / "run")


def test_a_record_comes_back_as_it_was(run: SimulationFolder) -> None:
    run.server.save_record(RECORD)
    assert SimulationFolder(run.path).server.load_record() == RECORD
    assert (run.path / "server" / "run.json").exists()


def test_a_folder_with_anything_in_it_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    SimulationFolder(tmp_path / "run").check_unused()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    for attempt in (
        lambda: SimulationFolder(tmp_path / "run").check_unused(),
        lambda: SimulationFolder.create(tmp_path / "run"),
    ):
        with pytest.raises(UsageError, match="in use"):
            attempt()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match="in use"):
        SimulationFolder.create(tmp_path / "run" / "notes.txt")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        SimulationFolder.create(tmp_path / "file" / "run")


def test_a_second_run_is_kept_out_as_long_as_the_first_lives(run: SimulationFolder) -> None:
    program = (
        "import sys; from pathlib import Path; from fedward.folders.simulation import SimulationFolder\n"
        "with SimulationFolder(Path(sys.argv[1])).locked(): print('locked', flush=True); input()"
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


def test_the_lock_is_let_go_when_the_run_fails(run: SimulationFolder) -> None:
    with pytest.raises(ZeroDivisionError), run.locked():
        _ = 1 / 0
    with run.locked():
        pass


def test_ciphertexts_are_kept_once_under_their_hash(run: SimulationFolder) -> None:
    first, again, other = (run.server.ciphertexts.store(chunk) for chunk in (b"one", b"one", b"two"))
    assert first == again != other
    assert first.name == sha256(b"one").hex()
    assert first.read_bytes() == b"one"
    assert len(list(run.server.ciphertexts.path.iterdir())) == 2


def test_a_rounds_aggregate_comes_back_in_order(run: SimulationFolder) -> None:
    chunks = [b"zzz", b"aaa", b"mmm"]
    kept = run.server.ciphertexts
    kept.save_round(3, [kept.store(chunk) for chunk in chunks], {Address("0x1"): []})
    assert kept.load_aggregate(3) == tuple(chunks)
    with pytest.raises(EvidenceError, match="round 2"):
        kept.load_aggregate(2)
    (kept.path / sha256(b"aaa").hex()).unlink()
    with pytest.raises(EvidenceError, match="round 3"):
        kept.load_aggregate(3)


def test_sealed_shares_are_kept_until_they_are_forgotten(run: SimulationFolder) -> None:
    shares = run.server.shares
    first, again, other = (shares.store(sealed) for sealed in (b"one", b"one", b"two"))
    assert first == again != other
    assert first.name == sha256(b"one").hex()
    assert (shares.load(first), shares.load(other)) == (b"one", b"two")
    first.write_bytes(b"two")
    with pytest.raises(VerificationError, match="was changed"):
        shares.load(first)
    first.unlink()
    with pytest.raises(EvidenceError, match="sealed share"):
        shares.load(first)
    shares.forget()
    assert not shares.path.exists()
    shares.forget()  # once more changes nothing


def test_rounds_and_progress_are_logged_in_order(run: SimulationFolder) -> None:
    assert run.server.rounds() == []
    for index in (1, 2):
        run.server.log_round({"round": index})
        run.server.log_progress("closed", round=index)
    assert [entry["round"] for entry in run.server.rounds()] == [1, 2]
    told = [json.loads(line) for line in run.server.progress.read_text().splitlines()]
    assert [(line["event"], line["round"]) for line in told] == [("closed", 1), ("closed", 2)]


def test_each_line_of_a_log_has_its_time_and_older_lines_without_are_read(run: SimulationFolder) -> None:
    run.server.metrics.write_text('{"round": 1}\n')
    before = datetime.now(UTC)
    run.server.log_round({"round": 2})
    run.server.log_progress("closed", round=2)
    first, second = run.server.rounds()
    assert first == {"round": 1}
    for line in (second, json.loads(run.server.progress.read_text())):
        assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", line["time"])
        assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(line["time"]) <= datetime.now(UTC)


def test_hospitals_have_folders_of_their_own(run: SimulationFolder) -> None:
    paths = {run.hospital(member.hospital).path for member in ROSTER}
    assert paths == {run.hospitals / "hospital-1", run.hospitals / "hospital-2"}


def test_a_run_of_before_the_folders_were_taken_apart_is_found(tmp_path: Path) -> None:
    """Its server's files lie at the top; it is read, and not continued."""
    old = SimulationFolder.create(tmp_path / "run")
    old.server.save_record(RECORD)
    for name in ("run.json", "ciphertexts"):
        (old.server.path / name).rename(old.path / name)
    found = SimulationFolder(old.path)
    assert found.server.load_record() == RECORD
    assert found.server.ciphertexts.path == old.path / "ciphertexts"
    with pytest.raises(UsageError, match="earlier version"):
        found.check_current()
    SimulationFolder(tmp_path / "another").check_current()


def test_a_node_finds_its_own_folder_by_what_its_operator_says(tmp_path: Path) -> None:
    simulated = {SIMULATED_HOSPITALS: str(tmp_path / "run" / "hospitals")}
    numbered: dict[str, object] = {"partition-id": 1, "num-partitions": 3}
    assert own_folder(numbered, simulated).path == tmp_path / "run" / "hospitals" / "hospital-2"
    assert own_folder(numbered | {"hospital-folder": str(tmp_path / "own")}, simulated).path == tmp_path / "own"
    for config, environment in ((numbered, {}), ({}, simulated), ({"partition-id": "../x"}, simulated)):
        with pytest.raises(UsageError, match="hospital-folder"):
            own_folder(config, environment)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"url": 3}', b"[]"])
def test_a_damaged_address_of_the_ledgers_node_is_said(tmp_path: Path, content: bytes) -> None:
    folder = HospitalFolder.create(tmp_path / "hospital-1")
    (folder.path / "ledger.json").write_text('{"url": "http://127.0.0.1:1"}')  # as simulations wrote it before
    assert folder.ledger_node() == NodeAddress("http://127.0.0.1:1")
    node = NodeAddress("https://fl.example.org/ledger", "/kit/tls/authority.pem", "/kit/token")
    folder.save_ledger_node(node)
    assert folder.ledger_node() == node
    (folder.path / "ledger.json").write_bytes(content)
    with pytest.raises(EvidenceError, match=r"ledger\.json"):
        folder.ledger_node()
