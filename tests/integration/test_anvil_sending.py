"""Transactions on a node that loses answers, restarts, or takes blocks back: each is recorded exactly once."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from anvil import Anvil, running_anvil
from consortium import CHAIN_ID, MODEL_DIGEST, RULES, SETTINGS_DIGEST
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from lossy_proxy import LossyProxy, lossy_proxy
from soak import scaled

from blockchain.identity import Identity
from blockchain.ledger.connection import Connection
from blockchain.ledger.events import HospitalRegistered
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.outbox import CONFIRMATIONS, TransactionOutbox
from blockchain.node.embedded import start_node
from fedward.errors import LedgerError, ResourceError
from fedward.types import Address

pytestmark = pytest.mark.node
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    Identity.create(folder)
    return folder


@pytest.fixture(scope="module")
def server(server_folder: Path) -> Identity:
    return Identity.load(server_folder)


@pytest.fixture
def anvil(server: Identity) -> Iterator[Anvil]:
    with running_anvil(CHAIN_ID, [server.address]) as node:
        yield node


@pytest.fixture(params=["embedded", "anvil"])
def node_url(request: pytest.FixtureRequest, tmp_path: Path, server: Identity) -> Iterator[str]:
    if request.param == "anvil":
        with running_anvil(CHAIN_ID, [server.address]) as other:
            yield other.url
    else:
        with start_node(tmp_path / "chain", CHAIN_ID, [server.address]) as ours:
            yield ours.url


@pytest.fixture
def proxy(node_url: str) -> Iterator[LossyProxy]:
    with lossy_proxy(node_url) as between:
        yield between


def deploy(url: str, server: Identity, outbox: Path | None) -> Ledger:
    return Ledger.deploy(url, server, RULES, SETTINGS_DIGEST, MODEL_DIGEST, outbox)


def hospital(number: int) -> Address:
    return Address(to_checksum_address(number.to_bytes(20, "big")))


def enroll(ledger: Ledger, *numbers: int) -> None:
    for number in numbers:
        ledger.register(hospital(number), 100, bytes([number]) * 32)


def enrolled(ledger: Ledger) -> list[int]:
    """Numbers of the hospitals on the roster, in its order."""
    return [int(event.hospital, 16) for event in ledger.events(HospitalRegistered)]


def kept(folder: Path) -> list[bytes]:
    return [entry.hash for entry in TransactionOutbox(folder).entries()]


# ---- lost on the way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "losses", [1, 7, *range(2, scaled(2, 7)), *range(8, scaled(8, 13))]
)  # web3 itself asks five times
def test_a_lost_answer_does_not_record_twice(proxy: LossyProxy, tmp_path: Path, server: Identity, losses: int) -> None:
    ledger = deploy(proxy.url, server, tmp_path / "outbox")
    before = len(proxy.raw)
    proxy.answers_to_lose = losses
    enroll(ledger, 1, 2)
    assert proxy.answers_to_lose == 0
    sent = proxy.raw[before:]
    assert len(sent) == losses + 2
    assert len(set(sent)) == 2  # never signed anew
    assert enrolled(ledger) == [1, 2]
    ledger.close()


def test_a_lost_request_is_repeated(proxy: LossyProxy, tmp_path: Path, server: Identity) -> None:
    ledger = deploy(proxy.url, server, tmp_path / "outbox")
    proxy.requests_to_lose = 7
    enroll(ledger, 1)
    assert enrolled(ledger) == [1]
    ledger.close()


def test_a_lost_answer_without_outbox_does_not_record_twice(proxy: LossyProxy, server: Identity) -> None:
    ledger = deploy(proxy.url, server, None)
    proxy.answers_to_lose = 7
    enroll(ledger, 1)
    assert enrolled(ledger) == [1]
    ledger.close()


CHILD = """
import sys
from pathlib import Path
from typing import Any
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
url, contract, account, outbox = sys.argv[1:]
ledger = Ledger.attach(url, contract, Identity.load(Path(account)), outbox=Path(outbox))
ledger.register("0x" + "0" * 39 + "1", 100, bytes([1]) * 32)
"""


@pytest.mark.parametrize("arrived", [False, True])
def test_a_process_killed_while_it_sends_records_once(
    proxy: LossyProxy, tmp_path: Path, server: Identity, server_folder: Path, arrived: bool
) -> None:
    outbox = tmp_path / "outbox"
    ledger = deploy(proxy.target, server, outbox)
    arguments = [sys.executable, "-c", CHILD, proxy.url, ledger.contract, str(server_folder), str(outbox)]
    with subprocess.Popen(arguments, cwd=ROOT) as child:
        proxy.on_loss = child.kill
        proxy.requests_to_lose, proxy.answers_to_lose = (0, 1) if arrived else (1, 0)
        assert child.wait(60) == -9
    ledger.close()
    raw = bytes.fromhex(proxy.raw[0][2:])
    assert kept(outbox)[-1] == keccak(raw)
    again = Ledger.attach(proxy.target, ledger.contract, server, outbox=outbox)
    assert enrolled(again) == [1]
    enroll(again, 2)
    assert enrolled(again) == [1, 2]
    again.close()


# ---- a node that was away ---------------------------------------------------------------------------------------


def test_the_embedded_node_may_restart_under_a_client(tmp_path: Path, server: Identity) -> None:
    node = start_node(tmp_path / "chain", CHAIN_ID, [server.address])
    ledger = deploy(node.url, server, tmp_path / "outbox")
    node.stop()
    with pytest.raises(LedgerError, match="cannot be reached"):  # reading does not wait
        ledger.head()
    restarted = []
    timer = threading.Timer(4.0, lambda: restarted.append(start_node(tmp_path / "chain", CHAIN_ID, [], node.port)))
    timer.start()
    enroll(ledger, 1)
    timer.join()
    assert enrolled(ledger) == [1]
    ledger.close()
    restarted[0].stop()


def test_anvil_may_restart_under_a_client(tmp_path: Path, server: Identity) -> None:
    state = tmp_path / "state.json"
    with running_anvil(CHAIN_ID, [server.address], state=state) as node:
        ledger = deploy(node.url, server, tmp_path / "outbox")
        enroll(ledger, 1)
    restarted = []
    timer = threading.Timer(4.0, lambda: restarted.append(Anvil(CHAIN_ID, node.port, state)))
    timer.start()
    enroll(ledger, 2)
    timer.join()
    assert enrolled(ledger) == [1, 2]
    ledger.close()
    restarted[0].stop()


def test_patience_with_a_node_ends(tmp_path: Path, server: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blockchain.ledger.patience.SEND_PATIENCE_S", 0.1)
    with start_node(tmp_path / "chain", CHAIN_ID, [server.address]) as node:
        ledger = deploy(node.url, server, tmp_path / "outbox")
    with pytest.raises(LedgerError, match="cannot be reached"):
        enroll(ledger, 1)
    ledger.close()


def test_a_node_that_makes_no_blocks_is_not_waited_for_for_ever(
    anvil: Anvil, tmp_path: Path, server: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockchain.ledger.sender.RECEIPT_TIMEOUT_S", 0.5)
    ledger = deploy(anvil.url, server, tmp_path / "outbox")
    anvil.ask("evm_setAutomine", False)
    with pytest.raises(LedgerError, match="is in no block"):
        enroll(ledger, 1)
    anvil.ask("evm_setAutomine", True)
    anvil.ask("evm_mine")
    enroll(ledger, 2)
    assert enrolled(ledger) == [1, 2]
    ledger.close()


def test_what_the_node_forgot_before_it_was_mined_is_sent_again(
    anvil: Anvil, tmp_path: Path, server: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockchain.ledger.sender.RESEND_S", 0.3)
    ledger = deploy(anvil.url, server, tmp_path / "outbox")
    anvil.ask("evm_setAutomine", False)

    def forget() -> None:
        while anvil.ask("txpool_status")["pending"] == "0x0":
            time.sleep(0.01)
        anvil.ask("anvil_dropAllTransactions")
        anvil.ask("evm_setAutomine", True)

    thread = threading.Thread(target=forget)
    thread.start()
    enroll(ledger, 1)
    thread.join()
    assert enrolled(ledger) == [1]
    ledger.close()


def test_what_anvil_forgets_for_good_is_handed_to_it_anew(anvil: Anvil, server: Identity) -> None:
    """What tests/anvil.py does, so that no test fails by a fault of anvil's: its nonce is next, and it is not taken."""
    fees = {"gas": 21_000, "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9, "to": server.address, "value": 1}
    signed = server.sign_transaction({"type": 2, "chainId": CHAIN_ID, "nonce": 1, **fees})
    digest = anvil.ask("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
    assert anvil.forgotten() == []  # it waits for the one before it, as it should
    anvil.ask("anvil_setNonce", server.address, "0x1")
    assert anvil.forgotten() == [digest]
    anvil.ask("evm_mine")
    assert anvil.ask("eth_getTransactionReceipt", digest) is None
    deadline = time.monotonic() + 20
    while anvil.ask("eth_getTransactionReceipt", digest) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- blocks taken back ------------------------------------------------------------------------------------------


def test_what_a_reorganization_took_back_is_sent_again_in_order(anvil: Anvil, tmp_path: Path, server: Identity) -> None:
    ledger = deploy(anvil.url, server, tmp_path / "outbox")
    enroll(ledger, 1)
    snapshot = anvil.ask("evm_snapshot")
    enroll(ledger, 2, 3)
    hashes = kept(tmp_path / "outbox")[-2:]
    anvil.ask("evm_revert", snapshot)
    assert enrolled(ledger) == [1]
    enroll(ledger, 4)  # notices by itself
    assert enrolled(ledger) == [1, 2, 3, 4]
    assert kept(tmp_path / "outbox")[-3:-1] == hashes
    ledger.close()


def test_settling_on_demand(anvil: Anvil, tmp_path: Path, server: Identity) -> None:
    ledger = deploy(anvil.url, server, tmp_path / "outbox")
    enroll(ledger, 1, 2)
    hashes = kept(tmp_path / "outbox")[-2:]
    anvil.ask("anvil_reorg", 2, [])
    assert enrolled(ledger) == []
    connection = Connection(anvil.url, ledger.contract, TransactionOutbox(tmp_path / "outbox"))
    assert list(connection.settle(server.address)) == hashes
    assert connection.settle() == ()
    assert enrolled(ledger) == [1, 2]
    connection.close()
    ledger.close()


def test_a_reorganization_below_the_deployment_is_mended_on_attaching(
    anvil: Anvil, tmp_path: Path, server: Identity
) -> None:
    ledger = deploy(anvil.url, server, tmp_path / "outbox")
    enroll(ledger, 1)
    ledger.close()
    anvil.ask("anvil_reorg", 2, [])
    with pytest.raises(LedgerError, match="no update ledger"):
        Ledger.attach(anvil.url, ledger.contract, server)
    again = Ledger.attach(anvil.url, ledger.contract, server, outbox=tmp_path / "outbox")
    assert enrolled(again) == [1]
    again.close()


def test_a_nonce_that_went_to_another_transaction_is_an_error(anvil: Anvil, tmp_path: Path, server: Identity) -> None:
    ledger = deploy(anvil.url, server, tmp_path / "outbox")
    meddler = Ledger.attach(anvil.url, ledger.contract, server)
    snapshot = anvil.ask("evm_snapshot")
    enroll(ledger, 1)
    anvil.ask("evm_revert", snapshot)
    enroll(meddler, 2)
    for _ in range(2):
        with pytest.raises(LedgerError, match="sent another transaction 1 than the one kept"):
            enroll(ledger, 3)
    assert enrolled(ledger) == [2]
    meddler.close()
    ledger.close()


# ---- one sender -------------------------------------------------------------------------------------------------


def test_an_outbox_belongs_to_one_account_and_chain(anvil: Anvil, tmp_path: Path, server: Identity) -> None:
    other = Identity.create(tmp_path / "other")
    ledger = deploy(anvil.url, server, tmp_path / "outbox")
    with pytest.raises(LedgerError, match=f"of {server.address} on chain {CHAIN_ID}, not of {other.address}"):
        Ledger.attach(anvil.url, ledger.contract, other, outbox=tmp_path / "outbox")
    with running_anvil(CHAIN_ID + 1) as elsewhere:
        connection = Connection(elsewhere.url, None, TransactionOutbox(tmp_path / "outbox"))
        with pytest.raises(LedgerError, match=f"on chain {CHAIN_ID + 1}"):
            connection.settle()
        connection.close()
    ledger.close()


def test_another_process_that_is_sending_is_waited_for_and_then_named(
    anvil: Anvil, tmp_path: Path, server: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockchain.ledger.outbox.LOCK_PATIENCE_S", 0.2)
    ledger = deploy(anvil.url, server, tmp_path / "outbox")
    with TransactionOutbox(tmp_path / "outbox").held(), pytest.raises(ResourceError, match="in use by another"):
        enroll(ledger, 1)
    enroll(ledger, 2)
    assert enrolled(ledger) == [2]
    ledger.close()


def test_two_connections_share_an_outbox(node_url: str, tmp_path: Path, server: Identity) -> None:
    first = deploy(node_url, server, tmp_path / "outbox")
    second = Ledger.attach(node_url, first.contract, server, outbox=tmp_path / "outbox")
    threads = [
        threading.Thread(target=enroll, args=(ledger, *numbers))
        for ledger, numbers in ((first, (1, 3, 5)), (second, (2, 4, 6)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(enrolled(first)) == [1, 2, 3, 4, 5, 6]
    first.close()
    second.close()


# ---- what is kept -----------------------------------------------------------------------------------------------


def test_what_lies_deep_is_forgotten(anvil: Anvil, tmp_path: Path, server: Identity) -> None:
    ledger = deploy(anvil.url, server, tmp_path / "outbox")
    enroll(ledger, *range(1, CONFIRMATIONS + 4))
    assert [entry.nonce for entry in TransactionOutbox(tmp_path / "outbox").entries()] == list(
        range(4, CONFIRMATIONS + 4)
    )
    ledger.close()


def test_without_confirmations_nothing_stays(anvil: Anvil, tmp_path: Path, server: Identity) -> None:
    outbox = TransactionOutbox(tmp_path / "outbox", confirmations=0)
    connection = Connection(anvil.url, None, outbox)
    connection.deploy(server, SETTINGS_DIGEST, MODEL_DIGEST, (2, 0, 0, 0, 600, 300, False))
    assert outbox.entries() == []
    connection.close()


def test_what_the_node_refuses_is_not_kept(tmp_path: Path, server: Identity) -> None:
    poor = Identity.create(tmp_path / "poor")
    with start_node(tmp_path / "chain", CHAIN_ID, [server.address]) as node:
        with pytest.raises(LedgerError, match="insufficient funds"):
            deploy(node.url, poor, tmp_path / "outbox")
        assert kept(tmp_path / "outbox") == []
