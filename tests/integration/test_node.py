"""The embedded node: concurrent senders, crashes, reopening, and refusals in Ethereum's own words."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import rlp
from consortium import CHAIN_ID, Consortium, running_chain
from eth_account import Account
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak
from soak import scaled
from web3 import HTTPProvider, Web3
from web3.exceptions import Web3RPCError

from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.node.chain import EmbeddedChain
from blockchain.node.embedded import RunningNode, start_node
from blockchain.node.machine import TransactionRefusedError
from blockchain.node.store import ChainStore
from fedward.errors import LedgerError, ResourceError

SENDERS, KILLS = scaled(20, 50), scaled(3, 30)
PEER = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.create(tmp_path_factory.mktemp("rich"))


@pytest.fixture
def node(tmp_path: Path, rich: Identity) -> Iterator[RunningNode]:
    with start_node(tmp_path / "chain", CHAIN_ID, [rich.address]) as running:
        yield running


class Client:
    """A web3 that can be closed."""

    def __init__(self, url: str) -> None:
        self.session = requests.Session()
        self.provider = HTTPProvider(url, session=self.session, exception_retry_configuration=None)
        self.eth = Web3(self.provider).eth

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()


def node_chain(node: RunningNode) -> EmbeddedChain:
    """The chain that a node serves."""
    return node._chain


def transfer(sender: Identity, nonce: int, chain_id: int | None = CHAIN_ID, gas: int = 21_000, **changes: int) -> bytes:
    fields: dict[str, object] = {"to": PEER, "value": 1, "gas": gas, "nonce": nonce, "gasPrice": 100, **changes}
    if chain_id is not None:
        fields["chainId"] = chain_id
    return bytes(sender.sign_transaction(fields).raw_transaction)


def test_a_new_chain_funds_whom_it_is_told_to(node: RunningNode, rich: Identity) -> None:
    with Client(node.url) as client:
        assert client.eth.chain_id == CHAIN_ID
        assert client.eth.block_number == 0
        assert client.eth.get_balance(rich.address) == 10**24
        assert client.eth.get_balance(PEER) == 0
        assert client.eth.get_code(PEER) == b""


def test_an_acknowledged_transaction_is_in_a_block(node: RunningNode, rich: Identity) -> None:
    with Client(node.url) as client:
        transaction_hash = client.eth.send_raw_transaction(transfer(rich, 0))
        receipt = client.eth.get_transaction_receipt(transaction_hash)
        block = client.eth.get_block(receipt["blockNumber"], full_transactions=True)
        assert (receipt["status"], receipt["gasUsed"], receipt["from"]) == (1, 21_000, rich.address)
        assert [transaction["hash"] for transaction in block["transactions"]] == [transaction_hash]
        assert block["transactions"][0]["from"] == rich.address
        assert client.eth.get_block(block["hash"])["number"] == 1
        assert block["parentHash"] == client.eth.get_block(0)["hash"]
        assert client.eth.get_transaction_count(rich.address) == 1
        assert client.eth.get_balance(PEER) == 1


def test_what_is_unknown_is_null(node: RunningNode) -> None:
    with Client(node.url) as client:
        for method, params in (
            ("eth_getTransactionByHash", ["0x" + "11" * 32]),
            ("eth_getTransactionReceipt", ["0x" + "11" * 32]),
            ("eth_getBlockByHash", ["0x" + "11" * 32, False]),
            ("eth_getBlockByNumber", ["0x7", False]),
        ):
            assert client.provider.make_request(method, params)["result"] is None


def test_code_whose_hash_is_asked_for_is_no_block(node: RunningNode, rich: Identity) -> None:
    """The store keeps code under its hash beside blocks: code that reads as a header must not pass for a block."""
    forged = rlp.encode(node_chain(node).head().copy(extra_data=b"forged"))
    # Code that copies what follows it into memory and returns that: the new contract's code.
    size = len(forged).to_bytes(2, "big")
    creation = bytes.fromhex("61") + size + bytes.fromhex("600e60003961") + size + bytes.fromhex("6000f3") + forged
    fields = {"gas": 3_000_000, "nonce": 0, "gasPrice": 100, "chainId": CHAIN_ID, "data": creation, "value": 0}
    with Client(node.url) as client:
        sent = client.eth.send_raw_transaction(bytes(rich.sign_transaction(fields).raw_transaction))
        made = client.eth.get_transaction_receipt(sent)["contractAddress"]
        assert made
        assert client.eth.get_code(made) == forged
        for name in (keccak(forged), keccak(b""), keccak(rlp.encode(b""))):
            answer = client.provider.make_request("eth_getBlockByHash", [Web3.to_hex(name), False])
            assert answer["result"] is None, "of no block"
            answer = client.provider.make_request("eth_getBalance", [rich.address, {"blockHash": Web3.to_hex(name)}])
            assert answer["error"]["message"] == "unknown block"


def test_many_senders_at_once_all_land_in_few_blocks(node: RunningNode, rich: Identity) -> None:
    senders = [Account.create() for _ in range(SENDERS)]
    ready = threading.Barrier(SENDERS)
    with Client(node.url) as client:
        for nonce, sender in enumerate(senders):
            client.eth.send_raw_transaction(transfer(rich, nonce, to=sender.address, value=10**18))  # type: ignore[arg-type]
        before = client.eth.block_number

    def send(account: int) -> list[bytes]:
        with Client(node.url) as mine:
            ready.wait()
            fields = {"to": PEER, "value": 1, "gas": 21_000, "gasPrice": 100, "chainId": CHAIN_ID}
            return [
                bytes(mine.eth.send_raw_transaction(signed.raw_transaction))
                for nonce in range(3)
                if (signed := senders[account].sign_transaction({**fields, "nonce": nonce}))
            ]

    with ThreadPoolExecutor(SENDERS) as pool:
        hashes = [transaction_hash for sent in pool.map(send, range(SENDERS)) for transaction_hash in sent]
    with Client(node.url) as client:
        assert all(client.eth.get_transaction_receipt(transaction_hash)["status"] == 1 for transaction_hash in hashes)
        assert client.eth.get_balance(PEER) == 3 * SENDERS
        assert client.eth.block_number - before < 3 * SENDERS  # what waits is packed


def test_transactions_may_come_out_of_order(node: RunningNode, rich: Identity) -> None:
    with Client(node.url) as client, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda nonce: client.eth.send_raw_transaction(transfer(rich, nonce)), (2, 1, 0)))
        assert client.eth.get_transaction_count(rich.address) == 3


def test_blocks_follow_the_clock_but_never_stand_still(tmp_path: Path, rich: Identity) -> None:
    now = [1_700_000_000.0]
    with start_node(tmp_path, CHAIN_ID, [rich.address], clock=lambda: now[0]) as node, Client(node.url) as client:
        times = [client.eth.get_block(0)["timestamp"]]
        for nonce, wait_s in enumerate((0, 0, 500, -1000)):
            now[0] += wait_s
            client.eth.send_raw_transaction(transfer(rich, nonce))
            times.append(client.eth.get_block("latest")["timestamp"])
    assert [time - 1_700_000_000 for time in times] == [0, 1, 2, 500, 501]


def test_a_flood_of_transfers_does_not_take_the_chain_ahead_of_the_clock(
    tmp_path: Path, rich: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has money could otherwise end everybody's deadlines; ten seconds of the clock pass in each of ours."""
    monkeypatch.setattr("blockchain.node.chain.MAX_AHEAD_S", 5.0)
    monkeypatch.setattr("blockchain.node.chain.BLOCK_INTERVAL_S", 0.1)
    chain = EmbeddedChain(tmp_path, CHAIN_ID, [rich.address], clock=lambda: time.monotonic() * 10)
    for nonce in range(30):
        chain.submit(transfer(rich, nonce))
        assert chain.head().timestamp <= time.monotonic() * 10 + 5
    assert chain.head().block_number == 30
    chain.close()


def test_founding_and_a_round_do_not_wait_for_the_clock(tmp_path: Path, rich: Identity) -> None:
    """Founding by five hospitals takes 7 blocks, a round 5 to 8: none has to wait, even where no time passes."""
    chain = EmbeddedChain(tmp_path, CHAIN_ID, [rich.address], clock=lambda: 1_700_000_000.0)
    for nonce in range(15):
        assert chain._pause_s() <= 0
        chain.submit(transfer(rich, nonce))
    assert chain._pause_s() > 0
    chain.close()


def test_a_chain_far_ahead_of_a_clock_that_stands_still_goes_on_and_packs(
    tmp_path: Path, rich: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockchain.node.chain.MAX_AHEAD_S", -1000.0)
    monkeypatch.setattr("blockchain.node.chain.BLOCK_INTERVAL_S", 0.5)
    chain = EmbeddedChain(tmp_path, CHAIN_ID, [rich.address], clock=lambda: 1_700_000_000.0)
    began = time.monotonic()
    chain.submit(transfer(rich, 0))
    assert time.monotonic() - began >= 0.4
    with ThreadPoolExecutor(10) as pool:  # whoever comes during the pause is in the next block
        list(pool.map(lambda nonce: chain.submit(transfer(rich, nonce)), range(10, 0, -1)))
    assert chain.head().block_number <= 3
    assert chain.state().get_nonce(to_canonical_address(rich.address)) == 11
    chain.close()


def test_stopping_ends_the_pause(tmp_path: Path, rich: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blockchain.node.chain.MAX_AHEAD_S", -1000.0)
    monkeypatch.setattr("blockchain.node.chain.BLOCK_INTERVAL_S", 100.0)
    chain = EmbeddedChain(tmp_path, CHAIN_ID, [rich.address], clock=lambda: 1_700_000_000.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(chain.submit, transfer(rich, 0))
        while not chain._waiting:
            time.sleep(0.01)
        chain.close()
        with pytest.raises(TransactionRefusedError, match="being stopped"):
            waiting.result(timeout=5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chain_id": CHAIN_ID + 1}, "invalid chain id"),
        ({"chain_id": None}, "replay-protected"),
        ({"gas": 20_000}, "intrinsic gas too low"),
        ({"gas": 30_000_001}, "exceeds block gas limit"),
        ({"value": 10**25}, "insufficient funds"),
        ({"gasPrice": 1}, "fee"),
    ],
)
def test_transactions_that_can_never_run_are_refused(
    node: RunningNode, rich: Identity, change: dict[str, Any], words: str
) -> None:
    with Client(node.url) as client:
        with pytest.raises(Web3RPCError, match=words):
            client.eth.send_raw_transaction(transfer(rich, 0, **change))
        assert client.eth.block_number == 0


@pytest.mark.parametrize("raw", [b"", b"\x02", b"\x7f" * 40, b"\xc0", b"\x03\xc0", "shorter", "longer"])
def test_bytes_that_are_no_transaction_are_refused(node: RunningNode, rich: Identity, raw: bytes | str) -> None:
    whole = transfer(rich, 0)
    content = {"shorter": whole[:-1], "longer": whole + b"\0"}[raw] if isinstance(raw, str) else raw
    with Client(node.url) as client:
        with pytest.raises(Web3RPCError, match=r"malformed|invalid"):
            client.eth.send_raw_transaction(content)
        assert client.eth.block_number == 0


def test_a_transaction_is_taken_once(node: RunningNode, rich: Identity) -> None:
    with Client(node.url) as client:
        client.eth.send_raw_transaction(transfer(rich, 0))
        with pytest.raises(Web3RPCError, match="already known"):
            client.eth.send_raw_transaction(transfer(rich, 0))
        with pytest.raises(Web3RPCError, match="nonce too low"):
            client.eth.send_raw_transaction(transfer(rich, 0, value=2))
        assert client.eth.block_number == 1


def test_a_gap_before_a_transaction_is_refused_after_a_while(
    node: RunningNode, rich: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockchain.node.chain.NONCE_PATIENCE_S", 0.2)
    with Client(node.url) as client, pytest.raises(Web3RPCError, match="nonce too high"):
        client.eth.send_raw_transaction(transfer(rich, 7))


# ---- one folder, one chain, one writer --------------------------------------------------------------------------


def test_a_folder_is_reopened(tmp_path: Path, rich: Identity) -> None:
    with start_node(tmp_path, CHAIN_ID, [rich.address]) as node, Client(node.url) as client:
        client.eth.send_raw_transaction(transfer(rich, 0))
        kept = client.eth.get_block("latest")["hash"]
    with start_node(tmp_path, CHAIN_ID, []) as node, Client(node.url) as client:
        assert client.eth.get_block("latest")["hash"] == kept
        assert client.eth.get_balance(PEER) == 1
        client.eth.send_raw_transaction(transfer(rich, 1))
        assert client.eth.get_block("latest")["parentHash"] == kept


def test_a_folder_of_another_chain_is_refused(tmp_path: Path) -> None:
    start_node(tmp_path, CHAIN_ID, []).stop()
    with pytest.raises(LedgerError, match=f"has id {CHAIN_ID}, not 5"):
        start_node(tmp_path, 5, [])
    start_node(tmp_path, CHAIN_ID, []).stop()


def test_no_new_chain_takes_the_place_of_one_that_is_gone(tmp_path: Path) -> None:
    """Whoever goes on with a run needs that run's chain, and the folder stays as it was."""
    with pytest.raises(LedgerError, match="no chain in"):
        start_node(tmp_path / "gone", CHAIN_ID, [], existing=True)
    assert not (tmp_path / "gone").exists()
    (tmp_path / "chain.sqlite").touch()
    with pytest.raises(LedgerError, match="or an empty one"):
        start_node(tmp_path, CHAIN_ID, [], existing=True)
    assert (tmp_path / "chain.sqlite").stat().st_size == 0
    (tmp_path / "chain.sqlite").unlink()
    start_node(tmp_path, CHAIN_ID, []).stop()
    start_node(tmp_path, CHAIN_ID, [], existing=True).stop()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chain.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerError, match="not a chain store"):
        start_node(tmp_path, CHAIN_ID, [])


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with start_node(tmp_path, CHAIN_ID, []), pytest.raises(ResourceError, match="in use by another node"):
        start_node(tmp_path, CHAIN_ID, [])


def test_a_taken_port_is_refused_and_the_folder_let_go(tmp_path: Path, node: RunningNode) -> None:
    with pytest.raises(ResourceError, match=f"127.0.0.1:{node.port}"):
        start_node(tmp_path / "other", CHAIN_ID, [], port=node.port)
    start_node(tmp_path / "other", CHAIN_ID, []).stop()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="file"):
        start_node(tmp_path / "file" / "chain", CHAIN_ID, [])


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    node = start_node(tmp_path, CHAIN_ID, [])
    node.stop()
    node.stop()


def test_a_full_disk_loses_the_block_but_not_the_chain(tmp_path: Path, rich: Identity) -> None:
    chain = EmbeddedChain(tmp_path, CHAIN_ID, [rich.address])
    database = chain._store._database
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 2}")  # as little room as a full disk has

    def submit_many() -> None:
        for nonce in range(100):
            chain.submit(transfer(rich, nonce))

    with pytest.raises(ResourceError, match=r"chain\.sqlite could not be written"):
        submit_many()
    sent = chain.head().block_number
    database.execute("PRAGMA max_page_count = 1000000")
    chain.submit(transfer(rich, sent))
    chain.close()
    reopened = EmbeddedChain(tmp_path, CHAIN_ID, [])
    assert reopened.head().block_number == sent + 1
    reopened.close()


CHILD = """
import sys
from pathlib import Path
from typing import Any
from blockchain.node.embedded import start_node
with start_node(Path(sys.argv[1]), int(sys.argv[2]), [sys.argv[3]]) as node:
    print(node.url, flush=True)
    node.wait()
"""


def test_kills_in_a_submit_loop_lose_nothing_acknowledged(tmp_path: Path, rich: Identity) -> None:
    acknowledged: list[bytes] = []
    for _ in range(KILLS):
        arguments = [sys.executable, "-c", CHILD, str(tmp_path), str(CHAIN_ID), rich.address]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            with Client(child.stdout.readline().strip()) as client:
                nonce = client.eth.get_transaction_count(rich.address)
                killer = threading.Timer(0.5, child.kill)
                killer.start()
                try:
                    while True:
                        acknowledged.append(bytes(client.eth.send_raw_transaction(transfer(rich, nonce))))
                        nonce += 1
                except OSError:  # the connection broke: the last one was not acknowledged
                    killer.join()
    assert len(acknowledged) > 10
    with start_node(tmp_path, CHAIN_ID, []) as node, Client(node.url) as client:
        assert all(client.eth.get_transaction_receipt(transaction_hash) for transaction_hash in acknowledged)
        assert len(acknowledged) <= client.eth.get_transaction_count(rich.address) <= len(acknowledged) + KILLS


def test_a_block_is_on_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    """What a kill cannot show, and a power failure would: SQLite waits for the disk at each commit."""
    store = ChainStore(tmp_path / "chain.sqlite")
    full = 2
    assert store._database.execute("PRAGMA synchronous").fetchone() == (full,)
    store.close()


# ---- the ledger's client against a node that is not what it should be -------------------------------------------


def test_a_ledger_says_which_node_it_cannot_reach(rich: Identity, tmp_path: Path) -> None:
    node = start_node(tmp_path, CHAIN_ID, [])
    node.stop()
    with pytest.raises(LedgerError, match=f"{node.url} cannot be reached") as caught:
        Ledger.attach(node.url, PEER, rich)  # type: ignore[arg-type]
    assert caught.value.exit_code == 6


def test_a_ledger_is_only_attached_to_its_own_code(node: RunningNode) -> None:
    with pytest.raises(LedgerError, match="no update ledger of this version"):
        Ledger.attach(node.url, PEER, None)  # type: ignore[arg-type]


def test_an_account_without_funds_says_so(tmp_path: Path) -> None:
    poor = Identity.create(tmp_path)
    with running_chain() as chain:
        founded = Consortium.found(chain)
        founded.send(chain.server, "grantRole", keccak(text="AGGREGATOR_ROLE"), poor.address)
        with pytest.raises(LedgerError, match="insufficient funds"):
            founded.send(poor, "openRound")
        founded.close()


def test_a_ledger_without_account_reads_but_does_not_write() -> None:
    with running_chain() as chain:
        founded = Consortium.found(chain)
        reader = Ledger.attach(chain.node.url, founded.ledger.contract)
        assert reader.head() == founded.ledger.head()
        with pytest.raises(LedgerError, match="needs an account"):
            reader.open_round()
        reader.close()
        founded.close()


def test_many_threads_may_share_one_ledger() -> None:
    with running_chain() as chain:
        founded = Consortium.found(chain, size=5)
        founded.open_round()
        signed = [founded.signed(index) for index in range(5)]
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(founded.ledger.submit_for, signed))
        assert founded.ledger.round(1).submissions == 5
        founded.close()


def test_two_ledgers_may_share_one_account() -> None:
    with running_chain() as chain:
        founded = Consortium.found(chain, size=5)
        founded.open_round()
        ledgers = [Ledger.attach(chain.node.url, founded.ledger.contract, chain.server) for _ in range(5)]
        signed = [founded.signed(index) for index in range(5)]
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda ledger, commitment: ledger.submit_for(commitment), ledgers, signed))
        assert founded.ledger.round(1).submissions == 5
        for ledger in ledgers:
            ledger.close()
        founded.close()
