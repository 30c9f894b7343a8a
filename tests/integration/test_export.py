"""A run's evidence: the same from its folder and from a bundle, read without changing a byte, exported by command."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import rlp
from command_line import Done, run_here
from federation import founded

from blockchain.audit.report import Report, Status
from blockchain.audit.sources.bundle import BundleEvidence, open_evidence, write_bundle
from blockchain.audit.sources.evidence import Evidence
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.identity import Identity
from blockchain.node.chain import EmbeddedChain
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from fedward.errors import EvidenceError, FedwardError, ResourceError, UsageError, VerificationError
from fedward.folders.format import FORMAT
from fedward.messages.signed import write_signed
from fedward.types import HospitalId

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two rounds, its node stopped, with a signed checkpoint; nobody may change it."""
    path = tmp_path_factory.mktemp("federation") / "run"
    with founded(path, ("privacy.mode", "update")) as federation:
        assert [federation.lead_round()["phase"] for _ in range(2)] == ["accepted", "accepted"]
        hospital = federation.folder.hospital(HospitalId("hospital-1"))
        identity, head = Identity.load(hospital.identity), federation.ledger.head()
        checkpoint = Checkpoint(
            federation.settings.ledger.chain_id,
            federation.ledger.contract,
            identity.address,
            2,
            head.height,
            head.block_hash,
            head.ledger_head,
        )
        # The first versions signed nothing.
        lines = [b'{"round": 1, "height": 3, "block_hash": "00", "ledger_head": "00"}']
        lines += [write_signed(sign_checkpoint(checkpoint, identity)), b'{"cut short']
        (hospital.path / "checkpoints.jsonl").write_bytes(b"\n".join(lines))
        with pytest.raises(ResourceError, match="in use by a node"):
            RunEvidence(federation.folder.path).genesis()
        federation.ledger.latest_round()  # the node goes on: looking at its store has not taken its lock away
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file's and folder's time of change and content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in [folder, *folder.rglob("*")]
    }


def of_hospital_1(evidence: RunEvidence) -> list[SignedCheckpoint]:
    address = evidence.claims().roster[0].address
    return [signed for signed in evidence.checkpoints() if signed.checkpoint.hospital == address]


def everything(evidence: RunEvidence | BundleEvidence, ciphertexts: bool = True) -> Iterator[object]:
    yield evidence.claims()
    yield evidence.genesis()
    yield list(evidence.blocks())
    yield evidence.checkpoints()
    yield evidence.rounds()
    for index in evidence.rounds():
        files = evidence.round_files(index)
        yield files
        updates = [files.updates[address] for address in sorted(files.updates)]
        if ciphertexts:
            yield [evidence.chunk(name) for names in (files.aggregate, *updates) for name in names]


def statuses(evidence: RunEvidence | BundleEvidence) -> set[Status]:
    report = Report()
    evidence.check_members(report)
    return {line.status for line in report.lines}


def test_a_run_folder_and_its_bundle_tell_the_same(finished: Path, tmp_path: Path) -> None:
    before = snapshot(finished)
    folder = open_evidence(finished)
    facts = write_bundle(folder, tmp_path / "b", with_ciphertexts=True)
    bundle = open_evidence(tmp_path / "b")
    assert isinstance(folder, RunEvidence)
    assert isinstance(bundle, BundleEvidence)
    told = list(everything(folder))
    assert told == list(everything(bundle))
    assert statuses(folder) == statuses(bundle) == {Status.OK, Status.NOTE}
    assert snapshot(finished) == before
    blocks = list(folder.blocks())
    assert (facts.blocks, facts.checkpoints, facts.absent) == (len(blocks), len(folder.checkpoints()), 0)
    assert [each.checkpoint.round_index for each in of_hospital_1(folder)] == [2]
    assert facts.ciphertexts == len(list((finished / "server" / "ciphertexts").glob("?" * 64)))
    claims = folder.claims()
    assert claims.settings is not None
    assert set(claims.epsilons) == {"hospital-1", "hospital-2", "hospital-3"}
    assert claims.delta == claims.settings["privacy"]["delta"]
    bundle.close()


def test_the_blocks_are_those_of_the_chain(run: Path) -> None:
    evidence = RunEvidence(run)
    blocks, genesis = list(evidence.blocks()), evidence.genesis()
    chain = EmbeddedChain(run / "ledger", evidence.claims().chain_id, [])
    try:
        assert len(blocks) == chain.head().block_number
        for block in blocks:
            assert block.block == rlp.encode(chain.block_by_number(block.number))
        first = chain.block_by_number(0)
        assert first is not None
        assert genesis.header == rlp.encode(first.header)
        for address, wei in genesis.balances.items():
            assert chain.read_account(bytes.fromhex(address[2:]), first.header)[0] == wei  # type: ignore[arg-type]
    finally:
        chain.close()


def test_the_same_run_gives_the_same_bytes_and_no_path(finished: Path, run: Path, tmp_path: Path) -> None:
    for index, folder in enumerate((finished, run)):
        write_bundle(RunEvidence(folder), tmp_path / f"{index}", with_ciphertexts=False)
    content = (tmp_path / "0").read_bytes()
    assert content == (tmp_path / "1").read_bytes()
    assert str(tmp_path).encode() not in content
    assert str(finished.parent).encode() not in content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "run"]
    evidence = BundleEvidence(tmp_path / "0")
    with pytest.raises(EvidenceError, match="has no ciphertexts/"):
        evidence.chunk(evidence.round_files(1).aggregate[0])
    evidence.close()


def test_what_a_killed_node_left_is_read_and_left_alone(run: Path) -> None:
    """The last block lies in the write-ahead log only."""
    before = list(RunEvidence(run).blocks())
    program = (
        "import sys, time; from pathlib import Path; from blockchain.node.store import ChainStore\n"
        "store = ChainStore(Path(sys.argv[1]))\n"
        "with store.transaction(): store[b'fedward:genesis'] = b'{}'\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    store = run / "ledger" / "chain.sqlite"
    node = subprocess.Popen([sys.executable, "-c", program, str(store)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    assert node.stdout.readline() == "ready\n"
    kept = snapshot(run)
    with pytest.raises(ResourceError, match="in use by a node"):
        RunEvidence(run).genesis()
    assert snapshot(run) == kept
    os.kill(node.pid, signal.SIGKILL)
    node.wait()
    node.stdout.close()
    assert (run / "ledger" / "chain.sqlite-wal").stat().st_size > 0
    assert RunEvidence(run).genesis().balances == {}
    assert list(RunEvidence(run).blocks()) == before
    assert snapshot(run) == kept


READERS: dict[str, Callable[[Evidence], object]] = {
    "server/run.json": lambda evidence: evidence.claims(),
    "ledger/chain.sqlite": lambda evidence: list(evidence.blocks()),
    "server/ciphertexts/round-0001.json": lambda evidence: evidence.round_files(1),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "content", [None, b"", b'{"format": %d}' % FORMAT, b"[" * 100_000, b"\xff" * 9000, b'{"roster": ' + b"9" * 5000]
)
def test_a_missing_file_and_a_damaged_one_are_told_apart(run: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    evidence: Evidence = RunEvidence(run)
    with pytest.raises(EvidenceError if content is None else VerificationError):
        READERS[name](evidence)


def test_a_summary_that_states_less_than_was_spent_is_found(run: Path) -> None:
    evidence = RunEvidence(run)
    spent = max(evidence.claims().epsilons.values())
    summary = {
        "privacy": {"epsilon": spent, "delta": 1e-5},
        "ledger": {"height": 9, "head": "ab" * 32},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    assert (evidence.claims().height, evidence.claims().ledger_head) == (9, b"\xab" * 32)
    assert Status.FAIL not in statuses(evidence)
    for wrong in ({"epsilon": spent / 2}, {"delta": 1e-12}, {"delta": None}):
        changed = summary | {"privacy": {"epsilon": spent, "delta": 1e-5} | wrong}
        (run / "summary.json").write_text(json.dumps(changed))
        assert Status.FAIL in statuses(evidence)


def test_names_that_lead_elsewhere_are_refused(finished: Path) -> None:
    evidence = RunEvidence(finished)
    for name in ("../run.json", "a" * 63, "A" * 64, "a" * 64 + "\n", ""):
        with pytest.raises(VerificationError):
            evidence.chunk(name)
    with pytest.raises(EvidenceError):
        evidence.chunk("a" * 64)


def test_what_is_neither_a_run_nor_a_bundle_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(EvidenceError, match=r"neither a run folder .* nor a bundle"):
            open_evidence(path)


def test_the_command_exports_once(finished: Path, tmp_path: Path) -> None:
    def export(*arguments: str) -> Done:
        return run_here("export", finished, *arguments)

    out = tmp_path / "bundle"
    done = export("--out", str(out), "--with-ciphertexts", "--json")
    assert done.returncode == 0, done.stderr
    assert "who must add the updates again" in done.stderr
    shown = json.loads(done.stdout)
    content = out.read_bytes()
    assert (shown["bytes"], shown["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert shown["checkpoints"] == len(RunEvidence(finished).checkpoints()) >= 1
    with closing(BundleEvidence(out)) as evidence:
        assert shown["blocks"] == len(list(evidence.blocks()))
    again = export("--out", str(out))
    assert again.returncode == UsageError.exit_code
    assert "there already" in again.stderr
    assert out.read_bytes() == content
    assert "who must add the updates again" not in again.stderr


def test_a_failed_export_leaves_nothing(run: Path, tmp_path: Path) -> None:
    chunk = next((run / "server" / "ciphertexts").glob("?" * 64))
    chunk.write_bytes(b"\1" + chunk.read_bytes()[1:])
    with pytest.raises(VerificationError, match="is damaged"):
        write_bundle(RunEvidence(run), tmp_path / "b", with_ciphertexts=True)
    with pytest.raises(FedwardError, match="no folder"):
        write_bundle(RunEvidence(run), tmp_path / "absent" / "b", with_ciphertexts=False)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
