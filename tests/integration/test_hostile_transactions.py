"""Transactions that the machine cannot cope with: each is refused by itself, and what waits beside it lands."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from consortium import CHAIN_ID

from blockchain.identity import Identity
from blockchain.node import machine
from blockchain.node.chain import EmbeddedChain
from blockchain.node.machine import CallRequest, CheckedVM, TransactionRefusedError
from fedward.errors import ResourceError

PEER = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
ENDLESS = bytes.fromhex("5b600056")
LONG_RUNNING = {
    "an endless loop": ENDLESS,
    "an endless row of the cheapest operation": b"\x5b" * 20_000 + bytes.fromhex("600056"),
    "hashing rounds": bytes.fromhex("63009000006000526040600060d5601c60095afa00"),
    "pairings": bytes.fromhex("60206000610f00600060085afa00"),
    "pairings, called with a value": bytes.fromhex("60206000610f006000600060085af100"),
    "jumps over long code": bytes.fromhex("615000565b5b") + b"\x5b" * 0x5000 + bytes.fromhex("600456"),
}
COSTLY = {  # gas ends these, soon enough
    "hashing of memory": bytes.fromhex("5b620f42406000205060005600"),
    "exponents": bytes.fromhex("5b7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff600a0a50600056"),
    "copies of memory": bytes.fromhex("5b620f424060006000395060005600"),
    "storage": bytes.fromhex("5b5a5a55600056"),
    "calls of itself": bytes.fromhex("600060006000600060005a5af1"),
    "modular exponents": bytes.fromhex("610400600052610400602052610400604052600060006108006000600060055af15b00"),
    "contracts made by contracts": bytes.fromhex("5b61c00060006000f050600056"),
}


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Identity, Identity]:
    return Identity.create(tmp_path_factory.mktemp("good")), Identity.create(tmp_path_factory.mktemp("bad"))


@pytest.fixture
def chain(
    tmp_path: Path, accounts: tuple[Identity, Identity], monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmbeddedChain]:
    monkeypatch.setattr(machine, "RUN_TIME_S", 0.3)
    chain = EmbeddedChain(tmp_path / "chain", CHAIN_ID, [account.address for account in accounts])
    yield chain
    chain.close()


def signed(account: Identity, **changes: Any) -> bytes:
    fields = {"nonce": 0, "gas": 1_000_000, "gasPrice": 100, "value": 0, "chainId": CHAIN_ID, **changes}
    return bytes(account.sign_transaction(fields).raw_transaction)


def submit_together(chain: EmbeddedChain, *transactions: bytes) -> list[Future[bytes]]:
    """Have transactions wait at once, so that one block is to hold them all."""
    pool = ThreadPoolExecutor(len(transactions))
    with chain._changed:
        futures = [pool.submit(chain.submit, raw) for raw in transactions]
        while len(chain._waiting) < len(transactions):
            time.sleep(0.005)
    pool.shutdown()
    return futures


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"data": bytes(49_153), "gas": 5_000_000}, "max initcode size exceeded: code size 49153, limit 49152"),
        ({"data": bytes(120_000), "gas": 5_000_000}, "max initcode size exceeded"),
        ({"data": b"\xef", "gas": 53_000}, "intrinsic gas too low"),
        ({"to": PEER, "gas": 30_000_001}, "exceeds block gas limit"),
        ({"to": PEER, "value": 10**25}, "insufficient funds"),
        ({"to": PEER, "gasPrice": 1}, "fee"),
        *(({"data": code, "gas": 29_000_000}, "this node") for code in LONG_RUNNING.values()),
    ],
)
def test_a_bad_transaction_is_refused_and_takes_no_other_with_it(
    chain: EmbeddedChain, accounts: tuple[Identity, Identity], fields: dict[str, Any], reason: str
) -> None:
    good, bad = accounts
    began_s = time.thread_time()
    landed, refused = submit_together(chain, signed(good, to=PEER), signed(bad, **fields))
    error = refused.exception()
    assert isinstance(error, TransactionRefusedError)
    assert reason in str(error)
    assert chain.find_transaction(landed.result()) is not None
    assert time.thread_time() - began_s < 5
    # What it left behind is nothing: the sender's next transaction is the first.
    again = chain.submit(signed(bad, to=PEER))
    assert chain.find_transaction(again) is not None


def test_whatever_the_machine_raises_is_the_transactions_own_matter(
    chain: EmbeddedChain, accounts: tuple[Identity, Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = accounts
    run = CheckedVM.apply_transaction

    def fail(vm: CheckedVM, header: Any, transaction: Any) -> Any:
        done = run(vm, header, transaction)
        if transaction.data:
            raise KeyError("after the state was changed")
        return done

    monkeypatch.setattr(CheckedVM, "apply_transaction", fail)
    poison = signed(bad, to=PEER, data=b"poison")
    landed, refused = submit_together(chain, signed(good, to=PEER), poison)
    assert "this node cannot run the transaction (KeyError)" in str(refused.exception())
    assert chain.find_transaction(landed.result()) is not None
    assert chain.submit(signed(bad, to=PEER)) is not None


def test_a_block_that_cannot_be_sealed_is_built_of_fewer(
    chain: EmbeddedChain, accounts: tuple[Identity, Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = accounts
    seal = CheckedVM.mine_block

    def fail(vm: CheckedVM, block: Any, *arguments: Any) -> Any:
        if len(block.transactions) > 1 or block.transactions[0].data:
            raise ZeroDivisionError
        return seal(vm, block, *arguments)

    monkeypatch.setattr(CheckedVM, "mine_block", fail)
    futures = submit_together(
        chain, signed(good, to=PEER), signed(good, to=PEER, nonce=1), signed(bad, to=PEER, data=b"poison")
    )
    assert "ZeroDivisionError" in str(futures[2].exception())
    found = [chain.find_transaction(future.result()) for future in futures[:2]]
    assert [mined.block.number for mined in found if mined] == [1, 2]


def test_a_full_disk_is_no_transactions_fault(
    chain: EmbeddedChain, accounts: tuple[Identity, Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(CheckedVM, "apply_transaction", full)
        with pytest.raises(ResourceError, match="disk is full"):
            chain.submit(signed(accounts[0], to=PEER))
    assert chain.submit(signed(accounts[0], to=PEER))


@pytest.mark.parametrize("code", [*LONG_RUNNING.values(), *COSTLY.values()], ids=[*LONG_RUNNING, *COSTLY])
def test_a_call_ends_soon_whatever_it_runs(chain: EmbeddedChain, code: bytes) -> None:
    began_s = time.thread_time()
    request = CallRequest(bytes(20), b"", code, 0, 30_000_000)  # type: ignore[arg-type]
    if code in LONG_RUNNING.values():
        with pytest.raises(TransactionRefusedError, match="this node"):
            chain.call(request, chain.head())
    else:
        with contextlib.suppress(TransactionRefusedError):
            chain.call(request, chain.head())
    assert time.thread_time() - began_s < 2


def test_a_machine_that_stops_for_a_moment_refuses_no_call(
    chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread's clock jumps where a virtual machine is stopped; an honest call was refused for it."""
    clock, looks = time.thread_time, iter(range(10**9))
    monkeypatch.setattr(time, "thread_time", lambda: clock() + (10 if next(looks) > 1 else 0))
    request = CallRequest(bytes(20), b"", ENDLESS, 0, 100_000)  # type: ignore[arg-type]
    computation, _ = chain.call(request, chain.head())
    assert "Out of gas" in str(computation.error)
    assert next(looks) > 2


def test_blocks_are_built_while_calls_run(
    chain: EmbeddedChain, accounts: tuple[Identity, Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls without an end stopped a run for minutes: they held the lock that blocks are built under."""
    monkeypatch.setattr(machine, "RUN_TIME_S", 60.0)
    stopped = threading.Event()
    consume = machine._BoundedComputation.consume_gas

    def until_stopped(computation: Any, amount: int, reason: str) -> None:
        if stopped.is_set():
            raise TransactionRefusedError("stopped")
        consume(computation, amount, reason)

    head = chain.head()
    request = CallRequest(bytes(20), b"", ENDLESS, 0, 2**24)  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(machine._BoundedComputation, "consume_gas", until_stopped)
        calls = [pool.submit(chain.call, request, head) for _ in range(2)]
        try:
            landed = chain.submit(signed(accounts[0], to=PEER, gas=21_000))
            assert chain.find_transaction(landed) is not None
            assert not any(call.done() for call in calls), "still running while the block was built"
        finally:
            stopped.set()
