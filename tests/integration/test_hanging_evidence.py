"""Whatever lies in a foreign folder in place of a file, reading it ends at once, with a sentence."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rlp
from shared_runs import SharedRuns

from blockchain.audit.checks.replay import HistoryChecker
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.evidence import RawBlock
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.trust import TrustFile
from blockchain.identity import Identity
from blockchain.ledger.outbox import TransactionOutbox
from blockchain.node.store import ChainStore
from commands.audit.examination import audited
from data_preprocessing import load_partition
from fedward.errors import FedwardError, VerificationError
from fedward.folders.hospital import HospitalFolder
from fedward.learning.stored_model import read_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(shared_runs: SharedRuns) -> Path:
    return shared_runs.concluded() / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(autouse=True)
def nobody_waits() -> Iterator[None]:
    """A test that waits for a pipe would never end: after a while, the process does."""
    timer = threading.Timer(120, lambda: os._exit(70))
    timer.start()
    yield
    timer.cancel()


READ_BY_AUDIT = [
    "server/run.json",
    "summary.json",
    "trust.json",
    "model.keras",
    "ledger/chain.sqlite",
    "ledger/chain.sqlite-wal",
    "server/ciphertexts/round-0001.json",
    "hospitals/hospital-1/checkpoints.jsonl",
    "hospitals/hospital-1/privacy.jsonl",
    "hospitals/hospital-1/reports/round-0001.json",
    "hospitals/hospital-1/hospital.json",
    "server/metrics.jsonl",
]


def to_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def to_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def to_link_to_itself(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)


def to_device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", [to_pipe, to_folder, to_link_to_itself, to_device], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", READ_BY_AUDIT)
def test_an_audit_waits_for_nothing_in_place_of_a_file(name: str, kind: Callable[[Path], None], run: Path) -> None:
    trust = TrustFile.load(run / "trust.json")
    kind(run / name)
    report = audited(run, None if name == "trust.json" else trust).report
    harmless = {"ledger/chain.sqlite-wal", "hospitals/hospital-1/hospital.json", "server/metrics.jsonl"}
    assert report.exit_code in (7, 8) or name in harmless


READERS: dict[str, Callable[[Path], object]] = {
    "account.key": lambda path: Identity.load(path.parent),
    "partition.npz": load_partition,
    "hospital.json": lambda path: HospitalFolder(path.parent).membership(),
    "ledger.json": lambda path: HospitalFolder(path.parent).ledger_node(),
    "model.npz": lambda path: HospitalFolder(path.parent).load_model(),
    "candidate.npz": lambda path: HospitalFolder(path.parent).load_candidate(),
    "reports/round-0001.json": lambda path: HospitalFolder(path.parents[1]).load_report(1),
    "checkpoints.jsonl": lambda path: HospitalFolder(path.parent).checkpoints(),
    "keys/0001-" + "ab" * 32 + ".key": lambda path: HospitalFolder(path.parents[1]).load_channel_key(),
    "outbox/round-0001/commitment.json": lambda path: HospitalFolder(path.parents[2]).load_submission(1),
    "transactions/00000000000000000001.txt": lambda path: TransactionOutbox(path.parent).entries(),
    "trust.json": TrustFile.load,
    "model.keras": read_model,
    "chain.sqlite": lambda path: ChainStore.reading(path).__enter__(),
}


@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_a_pipe(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path, 0o600)
    with pytest.raises(FedwardError):
        READERS[name](path)


# ---- the ledger's store ---------------------------------------------------------------------------------------------

ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT CAST(i AS BLOB) AS key, x'00' AS value FROM n"
)
SCHEMAS: dict[str, str] = {
    "a view for the table": f"DROP TABLE pairs; CREATE VIEW pairs AS {ENDLESS};",
    "a view beside it": "CREATE VIEW more AS SELECT * FROM pairs;",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON pairs BEGIN SELECT 1; END;",
    "a computed column": "DROP TABLE pairs; CREATE TABLE pairs (key BLOB PRIMARY KEY, "
    "value BLOB GENERATED ALWAYS AS (zeroblob(1000000)));",
    "a stored computed column": "DROP TABLE pairs; CREATE TABLE pairs (key BLOB PRIMARY KEY, "
    "value BLOB NOT NULL, more AS (hex(value))) WITHOUT ROWID;",
    "another type": "DROP TABLE pairs; CREATE TABLE pairs (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
    "a default": "DROP TABLE pairs; CREATE TABLE pairs (key BLOB PRIMARY KEY, "
    "value BLOB NOT NULL DEFAULT x'00') WITHOUT ROWID;",
    "a check": "DROP TABLE pairs; CREATE TABLE pairs (key BLOB PRIMARY KEY, "
    "value BLOB NOT NULL CHECK (length(value) > 0)) WITHOUT ROWID;",
    "a collation": "DROP TABLE pairs; CREATE TABLE pairs (key BLOB PRIMARY KEY COLLATE NOCASE, "
    "value BLOB NOT NULL) WITHOUT ROWID;",
    "an index of an expression": "CREATE INDEX i ON pairs (hex(value));",
    "a partial index": "CREATE INDEX i ON pairs (key) WHERE length(value) > 3;",
    "a table more": "CREATE TABLE more (x);",
    "a virtual table": "CREATE VIRTUAL TABLE more USING fts5(x);",
    "a table that counts": "CREATE TABLE more (x INTEGER PRIMARY KEY AUTOINCREMENT);",
    "no logs": "DROP TABLE logs;",
    "a view for the logs": f"DROP TABLE logs; CREATE VIEW logs AS {ENDLESS};",
    "statistics": "ANALYZE;",
    "nothing": "DROP TABLE logs; DROP TABLE pairs;",
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_store_of_another_schema_is_refused_at_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    ChainStore(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = DELETE")
    database.executescript(SCHEMAS[name])
    database.close()
    with pytest.raises(VerificationError, match="other tables, views or triggers"), ChainStore.reading(path):
        pass


def test_a_store_whose_pages_lead_back_into_themselves_is_not_read_without_end(tmp_path: Path) -> None:
    """Every way through the tree of pairs leads to one page; with more levels, one would read for hours."""
    path = tmp_path / "chain.sqlite"
    store = ChainStore(path)
    with store.transaction():
        for number in range(20_000):
            store[number.to_bytes(4, "big")] = bytes(100)
    store.close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = DELETE")
    size, root = database.execute("PRAGMA page_size").fetchone()[0], _root_of_pairs(database)
    database.close()
    content = bytearray(path.read_bytes())
    page = (root - 1) * size
    assert content[page] == 2, "an inner page of an index tree"
    cells = int.from_bytes(content[page + 3 : page + 5], "big")
    for cell in range(cells):
        at = page + int.from_bytes(content[page + 12 + 2 * cell : page + 14 + 2 * cell], "big")
        content[at : at + 4] = content[page + 8 : page + 12]  # its child is that of the last
    path.write_bytes(content)
    with ChainStore.reading(path) as found, pytest.raises(VerificationError):
        list(found.pairs())


def _root_of_pairs(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'pairs'").fetchone()[0])


@pytest.mark.parametrize("value", ["text", 10**12, 1.5])
def test_values_of_other_types_are_refused(value: object, tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    ChainStore(path).close()
    database = sqlite3.connect(path)
    database.execute("INSERT INTO pairs VALUES (x'01', ?)", (value,))
    database.commit()
    database.close()
    with ChainStore.reading(path) as store:
        with pytest.raises(TypeError):
            store[b"\x01"]
        with pytest.raises(VerificationError, match="other types"):
            list(store.pairs())


# ---- gas ------------------------------------------------------------------------------------------------------------


class Longer:
    """A run's evidence, its blocks changed."""

    def __init__(self, evidence: RunEvidence, change: Callable[[list[list[object]]], None]) -> None:
        self._evidence = evidence
        self.live, self.source = False, evidence.source
        blocks = [rlp.decode(raw.block) for raw in evidence.blocks()]
        change(blocks)
        self._blocks = [RawBlock(number, rlp.encode(body)) for number, body in enumerate(blocks, start=1)]

    def genesis(self) -> object:
        return self._evidence.genesis()

    def blocks(self) -> Iterator[RawBlock]:
        return iter(self._blocks)


GAS_LIMIT_PLACE = 9


@pytest.mark.parametrize("limit", [30_000_001, 2**40, 2**63])
def test_a_block_of_more_gas_than_the_chain_allows_is_not_run(limit: int, run: Path) -> None:
    evidence, report, trust = RunEvidence(run), Report(), TrustFile.load(run / "trust.json")

    def change(blocks: list[list[object]]) -> None:
        header = blocks[3][0]
        assert isinstance(header, list)
        header[GAS_LIMIT_PLACE] = limit.to_bytes(8, "big").lstrip(b"\0")

    checker = HistoryChecker(Longer(evidence, change), report, trust.chain_id, trust.contract, None)  # type: ignore[arg-type]
    assert len(checker.run()) == 3
    assert report.failed(Step.EXECUTION)
    assert any("a block of this chain has 30,000,000" in line.evidence for line in report.lines)
