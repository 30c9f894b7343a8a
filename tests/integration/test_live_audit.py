"""The audit of a running node: what it proves, what stays the node's word, and what it makes of nodes that lie."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anvil import running_anvil
from command_line import run_here
from eth_account import Account
from federation import Federation, founded
from lying_proxy import Lie, lying_proxy
from shared_runs import SharedRuns
from test_witnessed_rounds import (  # type: ignore[import-not-found]  # beside this file, for pytest
    adds_of_its_own,
    impatient,
    to_the_vote,
)

from blockchain.audit.auditor import AuditResult, audit
from blockchain.audit.following import Follower, Witness
from blockchain.audit.report import Status, Step
from blockchain.audit.sources.node_blocks import transaction_of
from blockchain.audit.sources.node_evidence import NodeEvidence
from blockchain.audit.sources.node_rpc import NodeRpc
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.remembering import gather_trust, remember
from blockchain.consortium.trust import TrustFile
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundPhase
from blockchain.witness import attest_round
from fedward.errors import FedwardError
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import announced

ROOT = Path(__file__).resolve().parents[2]
CHAIN_ID = 190826
SMALL_ANSWER = 4 * 1024 * 1024


@dataclass(frozen=True)
class Running:
    """A consortium after one round, whose node goes on running."""

    url: str
    federation: Federation
    trust: TrustFile

    def examine(self, lie: Lie | None = None, with_run: bool = True, max_bytes: int = SMALL_ANSWER) -> AuditResult:
        """Audit the node, or what a proxy makes of it."""
        if lie:
            with lying_proxy(self.url, lie) as url:
                return self._examine(url, with_run, max_bytes)
        return self._examine(self.url, with_run, max_bytes)

    def _examine(self, url: str, with_run: bool, max_bytes: int) -> AuditResult:
        with closing(NodeRpc(url, max_bytes)) as rpc:
            store = RunEvidence(self.federation.folder.path) if with_run else None
            return audit(NodeEvidence(rpc, self.federation.ledger.contract, store, self.trust), self.trust)


def vouched(federation: Federation) -> TrustFile:
    """What the hospitals sign after the last round."""
    members = [
        (member, federation.folder.hospital(member.hospital))
        for member in federation.folder.server.load_record().roster
    ]
    for _, folder in members:
        remember(folder, federation.ledger, Identity.load(folder.identity))
    return gather_trust(members)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with founded(tmp_path_factory.mktemp("embedded") / "run") as federation:
        federation.lead_round()
        yield Running(federation.node.url, federation, vouched(federation))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """On anvil, whose block 0 cannot be proven."""
    with (
        running_anvil(CHAIN_ID) as anvil,
        founded(tmp_path_factory.mktemp("foreign") / "run", anvil=anvil) as federation,
    ):
        federation.lead_round()
        yield Running(anvil.url, federation, vouched(federation))


def steps(result: AuditResult, status: Status) -> set[Step]:
    return {line.step for line in result.report.lines if line.status is status}


def text(result: AuditResult, step: Step) -> str:
    return " ".join(line.evidence for line in result.report.lines if line.step is step)


def test_a_folder_whose_node_runs_is_audited_without_saying_where_the_node_is(
    embedded: Running, tmp_path: Path
) -> None:
    """As an administrator does, who does not stop the study for it; a file cannot be read beside its node."""
    folder = embedded.federation.folder
    embedded.trust.save(tmp_path / "trust.json")
    with announced(folder.ledger, embedded.url):
        done = run_here("audit", folder.path, "--trust", tmp_path / "trust.json", "--html", tmp_path / "page.html")
    assert done.returncode == 0, done.stdout
    assert "is read from there" in done.stderr
    assert "incomplete" not in done.stdout


# ---- honest nodes ---------------------------------------------------------------------------------------------------


def test_an_embedded_nodes_blocks_are_run_again(embedded: Running) -> None:
    result = embedded.examine()
    assert result.report.exit_code == 0, result.report.to_json()
    assert steps(result, Status.OK) == set(Step)
    assert "accounts of block 0 give the state root in its header" in text(result, Step.EVIDENCE)
    assert "were run again and gave every recorded state" in text(result, Step.EXECUTION)


def test_of_another_node_execution_is_its_word_and_the_audit_says_so(foreign: Running) -> None:
    result = foreign.examine()
    assert result.report.exit_code == 0, result.report.to_json()
    assert steps(result, Status.OK) == set(Step) - {Step.EXECUTION}
    assert "is this node's word" in text(result, Step.EXECUTION)


def test_without_a_run_the_ciphertexts_are_missing(embedded: Running, foreign: Running) -> None:
    for running in (embedded, foreign):
        result = running.examine(with_run=False)
        assert result.report.exit_code == 8
        absent = {Step.RULES, Step.CIPHERTEXTS, Step.ADDITION, Step.PRIVACY, Step.SHARES, Step.COUNTS}
        assert steps(result, Status.MISSING) == absent
        assert {str(name) for name in result.names.values()} == {"hospital-1", "hospital-2", "hospital-3"}


def test_transactions_of_every_common_type_are_encoded_as_they_were_sent() -> None:
    account = Account.create()
    common = {"to": account.address, "value": 1, "gas": 60_000, "data": "0x0102", "chainId": CHAIN_ID}
    access = [{"address": account.address, "storageKeys": ["0x" + "07" * 32]}]
    newer = {"maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 0}
    with running_anvil(CHAIN_ID, [account.address]) as anvil:
        for nonce, special in enumerate(
            (
                {"gasPrice": 3 * 10**9},
                {"gasPrice": 3 * 10**9, "accessList": access, "type": 1},
                {**newer, "accessList": access, "type": 2},
            )
        ):
            signed = account.sign_transaction({**common, **special, "nonce": nonce}).raw_transaction
            sent = anvil.ask("eth_sendRawTransaction", "0x" + bytes(signed).hex())
            assert transaction_of(anvil.ask("eth_getTransactionByHash", sent)) == bytes(signed)


# ---- nodes that lie -------------------------------------------------------------------------------------------------


def _receipts(answer: Any) -> list[dict[str, Any]]:
    return answer if isinstance(answer, list) else [answer]


def _fails_a_call(method: str, _params: list[Any], result: Any) -> Any:
    if "Receipt" in method and result:
        _receipts(result)[0]["status"] = "0x0"
    return result


def _drops_a_log(method: str, _params: list[Any], result: Any) -> Any:
    if "Receipt" in method and result and _receipts(result)[0]["logs"]:
        _receipts(result)[0]["logs"].pop()
    return result


def _changes_a_transaction(method: str, params: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber" and params[0] == "0x3":
        result["transactions"][0]["gas"] = "0x12345"
    return result


def _drops_a_transaction(method: str, params: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber" and params[0] == "0x3":
        result["transactions"].clear()
    return result


def _changes_a_header(method: str, params: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber" and params[0] == "0x3":
        result["timestamp"] = hex(int(result["timestamp"], 16) + 1)
    return result


def _repeats_a_block(method: str, params: list[Any], result: Any) -> Any:
    if method == "eth_getBlockByNumber" and params[0] == "0x3":
        _repeats_a_block.kept = result  # type: ignore[attr-defined]
    if method == "eth_getBlockByNumber" and params[0] == "0x4":
        return _repeats_a_block.kept  # type: ignore[attr-defined]
    return result


def _is_of_another_chain(method: str, _params: list[Any], result: Any) -> Any:
    return "0x7" if method == "eth_chainId" else result


def _hides_the_last_block(method: str, _params: list[Any], result: Any) -> Any:
    return hex(int(result, 16) - 1) if method == "eth_blockNumber" else result


def _lost_a_block(method: str, params: list[Any], result: Any) -> Any:
    return None if method == "eth_getBlockByNumber" and params[0] == "0x3" else result


def _claims_a_million_blocks(method: str, _params: list[Any], result: Any) -> Any:
    return hex(10**6) if method == "eth_blockNumber" else result


LIES = [
    (_fails_a_call, Step.ROOTS, 7),
    (_drops_a_log, Step.ROOTS, 7),
    (_changes_a_transaction, Step.ROOTS, 7),
    (_drops_a_transaction, Step.ROOTS, 7),
    (_changes_a_header, Step.EVIDENCE, 7),
    (_repeats_a_block, Step.HEADERS, 7),
    (_is_of_another_chain, Step.EVIDENCE, 7),
    (_hides_the_last_block, Step.CHECKPOINTS, 7),
    (_lost_a_block, Step.EVIDENCE, 8),
    (_claims_a_million_blocks, Step.EVIDENCE, 8),
]


@pytest.mark.parametrize("kind", ["embedded", "foreign"])
@pytest.mark.parametrize(("lie", "step", "code"), LIES, ids=[lie.__name__.strip("_") for lie, _, _ in LIES])
def test_a_lie_is_found_in_its_step(kind: str, lie: Lie, step: Step, code: int, request: Any) -> None:
    result = request.getfixturevalue(kind).examine(lie)
    assert result.report.exit_code == code, result.report.to_json()
    assert step in steps(result, Status.FAIL if code == 7 else Status.MISSING), result.report.to_json()


def test_a_wrong_balance_of_block_0_proves_nothing(embedded: Running) -> None:
    def lie(method: str, _params: list[Any], result: Any) -> Any:
        return "0x1" if method == "eth_getBalance" else result

    result = embedded.examine(lie)
    assert not steps(result, Status.FAIL)
    assert "is this node's word" in text(result, Step.EXECUTION)


def test_another_ledger_head_than_the_events_is_found(foreign: Running) -> None:
    def lie(method: str, _params: list[Any], result: Any) -> Any:
        return "0x" + "11" * 32 if method == "eth_call" else result

    result = foreign.examine(lie)
    assert steps(result, Status.FAIL) == {Step.EVENTS}


def test_a_bft_chains_hash_ends_with_a_sentence_of_its_own(foreign: Running) -> None:
    def lie(method: str, _params: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber":
            result["extraData"] = "0xc58080808080"
        return result

    result = foreign.examine(lie)
    assert result.report.exit_code == 8
    assert "QBFT or IBFT" in text(result, Step.EVIDENCE)


GARBAGE = [
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b"null",
    b"[]",
    b"{}",
    b'{"jsonrpc":"2.0","id":1}',
    b'{"id":77,"result":"0x1"}',
    b'{"id":null,"error":{"code":-32000,"message":"no"}}',
    b'{"id":null,"error":[[]]}',
    b'{"id":1,"result":' + b"9" * 5_000 + b"}",
]


@pytest.mark.parametrize("when", ["eth_chainId", "eth_blockNumber", "eth_getBlockByNumber", "eth_getBlockReceipts"])
def test_garbage_ends_in_the_first_step(foreign: Running, when: str) -> None:
    for body in GARBAGE:
        result = foreign.examine(lambda method, _params, honest, body=body: body if method == when else honest)
        assert result.report.exit_code in (7, 8), body
        assert Step.EVIDENCE in steps(result, Status.FAIL) | steps(result, Status.MISSING), body


@pytest.mark.parametrize("told", [None, 7, "0xzz", [], {}, "0x" + "f" * 65, [{}], {"hash": "0x", "transactions": 3}])
@pytest.mark.parametrize(
    "when", ["eth_chainId", "eth_blockNumber", "eth_getBlockByNumber", "eth_getBlockReceipts", "eth_call"]
)
def test_answers_of_other_types_raise_nothing(foreign: Running, when: str, told: Any) -> None:
    result = foreign.examine(lambda method, _params, honest: told if method == when else honest)
    assert result.report.exit_code in (7, 8)


def test_a_giant_answer_is_cut_off(foreign: Running) -> None:
    giant = b'{"id":1,"result":"0x' + b"0" * 100_000 + b'"}'
    result = foreign.examine(lambda method, _p, honest: giant if method == "eth_chainId" else honest, max_bytes=50_000)
    assert result.report.exit_code == 7
    assert "is longer than 50,000 bytes" in text(result, Step.EVIDENCE)


def test_a_node_that_is_not_there_is_missing_evidence(foreign: Running) -> None:
    with socket.socket() as reserved:  # bound, but nobody listens
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        for address in (url, "gopher://x", "http://[", "http://\udcff"):
            rpc = NodeRpc(address)
            result = audit(NodeEvidence(rpc, foreign.federation.ledger.contract), None)
            assert result.report.exit_code == 8
            assert "cannot be reached" in text(result, Step.EVIDENCE)


def test_a_reorganized_chain_is_read_anew(foreign: Running, tmp_path: Path) -> None:
    with running_anvil(CHAIN_ID) as anvil, founded(tmp_path / "run", anvil=anvil) as federation:
        with closing(NodeRpc(anvil.url)) as rpc:
            evidence = NodeEvidence(rpc, federation.ledger.contract, RunEvidence(federation.folder.path))
            before = anvil.ask("evm_snapshot")
            anvil.ask("evm_mine")
            evidence.refresh()
            anvil.ask("evm_revert", before)
            federation.lead_round()
            evidence.refresh()
            result = audit(evidence, None)
        assert not steps(result, Status.FAIL), result.report.to_json()
        assert len(result.stories) == 1
        assert "was replaced 1 times" in text(result, Step.EVIDENCE)


# ---- following ------------------------------------------------------------------------------------------------------


@pytest.fixture
def witnessed(tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run", ("ledger.witness-required", True)) as made:
        yield made


def follower_of(federation: Federation, told: list[str]) -> Follower:
    """A follower that attests with the witness's account."""
    contract, identity = federation.ledger.contract, federation.parties.witness
    assert identity
    ledger = Ledger.attach(federation.node.url, contract, identity)
    evidence = NodeEvidence(NodeRpc(federation.node.url), contract, RunEvidence(federation.folder.path))
    witness = Witness(
        identity.address, lambda number: attest_round(ledger, federation.folder.server.ciphertexts, number)
    )
    return Follower(evidence, contract, None, witness, told.append)


@contextmanager
def looking(follower: Follower) -> Iterator[None]:
    """The follower at work beside the server."""
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(0.01):
            follower.look()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_follower_audits_and_attests_while_rounds_run(witnessed: Federation) -> None:
    told: list[str] = []
    follower = follower_of(witnessed, told)
    with looking(follower):
        assert [witnessed.lead_round()["phase"] for _ in range(2)] == ["accepted", "accepted"]
    follower.look()
    assert witnessed.parties.witness
    address = witnessed.parties.witness.address
    assert told == [f"The witness {address} attested to round {number}." for number in (1, 2)]
    assert [witnessed.ledger.attestations(number) for number in (1, 2)] == [(address,), (address,)]
    assert follower.last
    assert not steps(follower.last, Status.FAIL)
    assert {line.round_index for line in follower.last.report.lines if line.step is Step.ADDITION} == {1, 2}


def test_a_follower_attests_to_nothing_once_something_fails(witnessed: Federation) -> None:
    told: list[str] = []
    follower = follower_of(witnessed, told)
    with adds_of_its_own(witnessed), impatient(witnessed), looking(follower), suppress(FedwardError):
        assert witnessed.lead_round()["phase"] == "aborted"
    follower.look()
    assert follower.last
    assert steps(follower.last, Status.FAIL) == {Step.ADDITION}
    assert len(told) == 1
    assert "does not attest to round 1" in told[0]
    assert witnessed.ledger.attestations(1) == ()
    assert follower.stories[-1].outcome is RoundPhase.ABORTED


def test_a_follower_waits_for_ciphertexts_that_are_late(witnessed: Federation) -> None:
    told: list[str] = []
    follower = follower_of(witnessed, told)
    to_the_vote(witnessed)
    listed = witnessed.folder.server.ciphertexts.path / "round-0001.json"
    content = listed.read_bytes()
    listed.unlink()
    follower.look()
    assert "will try again" in told[-1]
    listed.write_bytes(content)
    follower.look()
    assert "attested to round 1" in told[-1]
    assert len(witnessed.ledger.attestations(1)) == 1


# ---- the command ----------------------------------------------------------------------------------------------------


def command(*arguments: "str | Path", **options: Any) -> "subprocess.Popen[str]":
    line = [sys.executable, "main.py", "audit", *map(str, arguments)]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_the_command_audits_a_node(foreign: Running, tmp_path: Path) -> None:
    foreign.trust.save(tmp_path / "trust.json")
    contract = foreign.federation.ledger.contract
    trust, run = ("--trust", tmp_path / "trust.json"), foreign.federation.folder.path
    done = [
        run_here("audit", "--rpc", foreign.url, "--contract", contract, *trust, "--json"),
        run_here("audit", "--rpc", foreign.url, run, *trust, "--json"),
        run_here("audit", "--rpc", foreign.url),
        run_here("audit", "--follow", "--rpc", foreign.url, "--contract", contract),
    ]
    assert [each.returncode for each in done] == [8, 0, 2, 2], done
    assert json.loads(done[0].stdout)["exit_code"] == 8
    assert json.loads(done[1].stdout)["verified"] is True


def test_the_command_follows_a_run_to_its_end(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with (
        shared_runs.federation(tmp_path / "run") as federation,
        announced(federation.folder.ledger, federation.node.url),
    ):
        process = command(federation.folder.path, "--follow", "--json")
        wait_for(process, "Following ")
        federation.lead_round()
        vouched(federation).save(federation.folder.trust)
        federation.folder.server.log_progress("finished")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert json.loads(out)["verified"] is True
    assert json.loads(out)["trust"]["origin"] == "own"


def test_ctrl_c_ends_with_the_verdict_so_far(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with (
        shared_runs.federation(tmp_path / "run") as federation,
        announced(federation.folder.ledger, federation.node.url),
    ):
        process = command(federation.folder.path, "--follow")
        federation.lead_round()
        wait_for(process, "waiting for the next")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 8, out + err
    assert "Round 1 accepted." in out
    assert out.splitlines()[-1].startswith("incomplete: step 2 genesis")


def test_a_run_that_was_killed_is_audited_from_its_folder(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run") as federation:
        federation.lead_round()
        stale = announced(federation.folder.ledger, "http://127.0.0.1:9")
        stale.__enter__()
    done = run_here("audit", SimulationFolder(tmp_path / "run").path, "--follow", "--json")
    assert done.returncode == 8, done
    assert "does not answer" in done.stderr
    assert not [step for step in json.loads(done.stdout)["steps"] if step["status"] == "FAIL"]


def wait_for(process: "subprocess.Popen[str]", words: str) -> None:
    """Read what a process says until it says this."""
    assert process.stderr
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
