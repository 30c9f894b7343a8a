"""`main.py audit` on a real run: what it prints, what it writes, and how it ends."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from command_line import Done, run_here
from documents import block, shape
from federation import founded

from blockchain.audit.report import Step
from blockchain.consortium.remembering import gather_trust, remember
from blockchain.identity import Identity
from blockchain.node.stored_chain import StoredChain
from fedward.errors import VerificationError
from fedward.files import read_lines
from fedward.folders.format import FORMAT

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 2


def audit(*arguments: "str | Path") -> Done:
    return run_here("audit", *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two rounds that has ended: its hospitals have signed what they saw, and its node is stopped."""
    path = tmp_path_factory.mktemp("audit") / "run"
    with founded(path) as federation:
        for _ in range(ROUNDS):
            federation.lead_round()
        roster = federation.folder.server.load_record().roster
        members = [(member, federation.folder.hospital(member.hospital)) for member in roster]
        for _, folder in members:
            remember(folder, federation.ledger, Identity.load(folder.identity))
        gather_trust(members).save(federation.folder.trust)
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change."""
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def page_of(run: Path) -> Path:
    """Where the page of an audit goes by itself: beside the run, which is where the auditor stands."""
    return run.parent / f"audit-{run.name}.html"


def test_a_run_is_verified_with_the_hospitals_trust_file(run: Path, tmp_path: Path) -> None:
    trust = shutil.move(run / "trust.json", tmp_path / "trust.json")
    # As a process of its own, once: it starts with nothing but the run's folder.
    command = [sys.executable, str(ROOT / "main.py"), "audit", str(run), "--trust", str(trust)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    heads = [line.split()[:3] for line in lines if line[:2].strip().isdigit()]
    assert heads == [[str(step.number), step.label, "OK"] for step in Step]
    assert lines[-1].startswith("verified: ")
    assert int(lines[-1].split()[1].replace(",", "")) > 100
    assert f"the trust file {trust}, which was handed in" in lines[-2]
    assert "own word" not in done.stdout + done.stderr
    for index in range(1, ROUNDS + 1):
        assert sum(f"round {index} " in line for line in lines) >= 3
    # README shows such a run's lines, some left out.
    assert {shape(line) for line in block(" 3 headers ")} <= {shape(line) for line in lines}
    html = page_of(run).read_text()
    assert "Verified" in html
    assert "hospital-3" in html


def test_json_is_the_whole_report(run: Path) -> None:
    done = audit(run, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert (shown["verified"], shown["exit_code"]) == (True, 0)
    assert {entry["name"] for entry in shown["steps"]} == {step.label for step in Step}
    signed = {(entry["round"], entry["hospital"]) for entry in shown["steps"] if entry["name"] == "ciphertexts"}
    assert {(index, f"hospital-{k}") for index in (1, 2) for k in (1, 2, 3)} <= signed
    assert shown["trust"] == {"origin": "own", "file": str(run / "trust.json")}
    assert "own word on itself" in page_of(run).read_text()


def test_the_runs_own_trust_file_stays_its_own_when_it_is_named(run: Path) -> None:
    done = audit(run, "--trust", run / "hospitals" / ".." / "trust.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the run's own word on itself" in done.stdout.splitlines()[-2]


def test_one_changed_bit_of_a_ciphertext_is_found_and_named(run: Path) -> None:
    address, names = next(
        iter(json.loads((run / "server" / "ciphertexts" / "round-0002.json").read_text())["updates"].items())
    )
    damaged = run / "server" / "ciphertexts" / names[0]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    roster = json.loads((run / "server" / "run.json").read_text())["roster"]
    hospital = next(member["hospital"] for member in roster if member["address"] == address)
    done = audit(run)
    assert done.returncode == 7
    assert done.stdout.splitlines()[-1].startswith(f"not verified: step 10 ciphertexts, round 2, {hospital}: ")
    assert "Not verified" in page_of(run).read_text()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 1.0])
def test_one_changed_bit_of_a_stored_entry_is_found(run: Path, share: float) -> None:
    """State and receipts are made anew by an audit, so nothing else reads what is stored of them."""
    with closing(sqlite3.connect(run / "ledger" / "chain.sqlite")) as store, store:
        query = "SELECT key, value FROM pairs WHERE length(key) = 32 ORDER BY length(value), key"
        entries = store.execute(query).fetchall()
        key, value = entries[round(share * (len(entries) - 1))]
        store.execute("UPDATE pairs SET value = ? WHERE key = ?", (value[:-1] + bytes([value[-1] ^ 1]), key))
    done = audit(run, "--json")
    assert done.returncode == 7
    told = [line["evidence"] for line in json.loads(done.stdout)["steps"] if line["status"] == "FAIL"]
    assert any(f"have another, the first 0x{key.hex()}" in text for text in told)


def test_a_store_that_tells_more_than_it_holds_is_not_read_to_an_end(run: Path) -> None:
    with closing(sqlite3.connect(run / "ledger" / "chain.sqlite")) as store, store:
        store.executescript(
            "ALTER TABLE pairs RENAME TO kept;"
            "CREATE VIEW pairs AS SELECT key, value FROM kept UNION ALL SELECT * FROM "
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            "SELECT randomblob(31) AS key, randomblob(1000) AS value FROM n)"
        )
    with pytest.raises(VerificationError), StoredChain.open(run / "ledger" / "chain.sqlite") as chain:
        chain.check_entries()


def test_without_anybodys_word_evidence_is_missing(run: Path) -> None:
    (run / "trust.json").unlink()
    done = audit(run)
    assert done.returncode == 8
    *_, trust, verdict = done.stdout.splitlines()
    assert verdict.startswith("incomplete: step 2 genesis: ")
    assert "the whole history may be invented" in trust
    assert "the whole history may be invented" in page_of(run).read_text()


def test_a_run_with_a_damaged_description_is_audited_as_far_as_the_trust_file_goes(run: Path) -> None:
    (run / "server" / "run.json").write_text(json.dumps({"format": FORMAT}))
    shown = json.loads(audit(run, "--json").stdout)
    assert shown["exit_code"] == 7
    by_name = {entry["name"]: entry for entry in shown["steps"]}
    assert by_name["execution"]["status"] == by_name["addition"]["status"] == "OK"
    assert by_name["privacy"]["status"] == "MISSING"
    assert "step 1 (evidence)" in by_name["privacy"]["evidence"]


def test_the_page_goes_where_it_is_asked_for(run: Path, tmp_path: Path) -> None:
    (run / "trust.json").write_text("{}")
    done = audit(run, "--html", tmp_path / "page.html")
    assert done.returncode == 7
    assert "trust.json is malformed: format is missing" in done.stdout
    assert "Not verified" in (tmp_path / "page.html").read_text()
    assert not page_of(run).exists()


def test_a_page_never_goes_into_what_is_audited(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is somebody else's folder: a link in it could lead to a file of the auditor's. And it is evidence."""
    victim = run.parent / "victim"
    victim.write_text("untouched")
    for name in ("report.html", page_of(run).name):
        (run / name).symlink_to(victim)
    before = {path: path.lstat().st_mtime_ns for path in (run, *run.rglob("*"))}
    assert audit(run).returncode == 0
    for inside in (run, run / "server", run / "hospitals"):
        monkeypatch.chdir(inside)
        done = audit(run)
        assert done.returncode == 0
        assert "use --html FILE" in " ".join(done.stderr.split())
    assert {path: path.lstat().st_mtime_ns for path in (run, *run.rglob("*"))} == before
    assert victim.read_text() == "untouched"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 garbage", bytes(range(256)) * 64])
def test_a_file_that_is_no_bundle_ends_as_a_finding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle").write_bytes(content)
    done = audit(tmp_path / "bundle", "--json")
    shown = json.loads(done.stdout)
    assert done.returncode == shown["exit_code"] == (7 if content else 8)
    assert shown["steps"][0]["name"] == "evidence"
    assert read_lines(tmp_path / "report.html") == []


def test_a_path_that_is_not_there_and_a_trust_file_that_is_not_there_are_one_sentence(tmp_path: Path) -> None:
    for arguments in ((tmp_path / "none",), (tmp_path, "--trust", tmp_path / "none.json")):
        done = audit(*arguments)
        assert done.returncode == 8
        assert done.stdout == ""
        assert done.stderr.startswith("Error: ")
        assert len(done.stderr.splitlines()) == 1
