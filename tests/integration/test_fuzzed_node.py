"""The node under random requests: every one is answered over the connection it came by, and work beside it goes on."""

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from eth_utils.crypto import keccak
from shared_runs import SharedRuns
from soak import FIRST_SEED, scaled

from blockchain.identity import Identity
from blockchain.node import machine, rpc
from blockchain.node.embedded import MAX_BODY_BYTES
from blockchain.node.rpc import INTERNAL_ERROR, RpcService

REQUESTS = scaled(1_200, 100_000)
THREADS = 4
METHODS = [*sorted(RpcService(None)._methods()), "eth_mine", "", "__init__", "eth_call\0", "é" * 70]  # type: ignore[arg-type]
LENGTHS = [0, 1, 2, 3, 19, 20, 21, 31, 32, 33, 64, 100, 1_000, 49_152, 49_153, 100_000]
WHOLE = [0, 1, 2, 7, 31, 32, 53, 62, 63, 64, 65, 127, 128, 255, 256, 257, 1_000]
KEYS = [
    *("from", "to", "data", "input", "gas", "value", "nonce", "fromBlock", "toBlock", "blockHash", "blockNumber"),
    *("address", "topics", "id", "method", "params", "jsonrpc", ""),
]
CODES = [b"\x5b\x60\x00\x56", b"\xfe", b"\x00", b"\x60\x00\x60\x00\xfd", b"\x36\x3d\x3d\x37\x36\x3d\xf3", b"\xf0" * 40]

RUBBISH = [
    *(b"[" * 50_000, b'{"a":' * 70, b"null", b"[]", b"{}", b'"', b"1e999", b"[[]]", b"\xef\xbb\xbf{}", b"[1,2]", b"\0"),
]
TAGS = ["latest", "pending", "earliest", "0x", "0x00", None]
TYPES = [b"", b"\1", b"\2", b"\3", b"\4", b"\xf8"]  # of transactions


class Fuzzer:
    """Makes JSON-RPC requests of all kinds of malice; the same for the same seed.

    Args:
        seed: Of the random draws.
        known: Texts that mean something on this chain, such as addresses and hashes.
        account: Signs some of the transactions; it has no funds.
    """

    def __init__(self, seed: int, known: list[str], account: Identity) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.known = known
        self.account = account

    def body(self) -> bytes:
        """A request's body: mostly a request, sometimes a batch, sometimes rubbish."""
        kind = self.random.random()
        if kind < 0.05:
            return self.random.randbytes(self.random.choice([0, 1, 2, 50, 3_000]))
        if kind < 0.08:
            return self.random.choice(RUBBISH)
        if kind < 0.15:
            return json.dumps([self.request() for _ in range(self.random.choice([1, 2, 5, 256, 257]))]).encode()
        text = json.dumps(self.request()).encode()
        if kind < 0.2:  # damaged
            cut = self.random.randrange(len(text))
            return text[:cut] + self.random.randbytes(2) + text[cut + self.random.randrange(3) :]
        return text

    def request(self) -> Any:
        """One request, complete or nearly so."""
        request: dict[str, Any] = {
            "jsonrpc": self.random.choice(["2.0", "2.0", "1.0", 2, None]),
            "id": self.random.choice([1, "a", None, 2**70, 1.5, True, [], {}, -1, float("inf"), "\ud800"]),
            "method": self.random.choice(METHODS) if self.random.random() < 0.97 else self.value(),
            "params": self.params() if self.random.random() < 0.9 else self.value(),
        }
        for key in list(request):
            if self.random.random() < 0.02:
                del request[key]
        return request if self.random.random() < 0.98 else self.value()

    def params(self) -> list[Any]:
        """Parameters: what a method may expect, in any order."""
        makers = [self.call, self.transaction, self.query, self.value, self.text, self.number]
        return [self.random.choice(makers)() for _ in range(self.random.randrange(5))]

    def call(self) -> dict[str, Any]:
        data = self.random.choice(CODES) + self.random.randbytes(self.random.choice(LENGTHS[:12]))
        fields = {"to": self.text(), "from": self.text(), "data": "0x" + data.hex()}
        fields |= {"gas": self.number(), "value": self.number()}
        return {key: value for key, value in fields.items() if self.random.random() < 0.5}

    def query(self) -> dict[str, Any]:
        places = [self.random.choice([None, self.text(), [self.text(), None]]) for _ in range(self.random.randrange(6))]
        fields = {
            "fromBlock": self.number(),
            "toBlock": self.number(),
            "address": self.random.choice(
                [self.text(), [self.random.choice(self.known)] * self.random.choice([1, 40, 1_500])]
            ),
            "topics": places,
            "blockHash": self.text(),
        }
        return {key: value for key, value in fields.items() if self.random.random() < 0.5}

    def transaction(self) -> str:
        """Raw bytes: random, typed and random, or signed by an account without funds."""
        if self.random.random() < 0.5:
            return "0x" + (self.random.choice(TYPES) + self.random.randbytes(120)).hex()
        fields: dict[str, Any] = {
            "nonce": self.random.choice([0, 0, 2**64 - 1]),
            "gas": self.random.choice([21_000, 30_000_000, 2**63]),
            "gasPrice": self.random.choice([0, 7, 2**64]),
            "value": self.random.choice([0, 2**255]),
            "chainId": self.random.choice([31337, 1]),
            "data": bytes(self.random.choice(LENGTHS)),
        }
        return "0x" + bytes(self.account.sign_transaction(fields).raw_transaction).hex()

    def number(self) -> Any:
        whole = 2 ** self.random.choice(WHOLE) + self.random.choice([-1, 0, 1])
        return self.random.choice([*[hex(whole)] * 6, whole, -whole, *TAGS])

    def text(self) -> Any:
        made = "0x" + self.random.randbytes(self.random.choice(LENGTHS)).hex()
        return self.random.choice([*self.known, *self.known, made, made[:-1], "0xzz", "latest", "", None])

    def value(self, depth: int = 0) -> Any:
        kind = self.random.randrange(9 if depth < 4 else 7)
        if kind == 7:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        if kind == 8:
            return {self.random.choice(KEYS): self.value(depth + 1) for _ in range(self.random.randrange(4))}
        return [None, True, self.number(), self.text(), self.random.random() * 1e300, -1, float("nan")][kind]


def hammer(url: str, fuzzer: Fuzzer, count: int, stop: threading.Event, broken: list[str]) -> None:
    """Send requests over one connection, which must last."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=60)
    for _ in range(count):
        if stop.is_set():
            break
        body = fuzzer.body()
        if len(body) > MAX_BODY_BYTES:  # these are refused unread, and the connection closed
            continue
        try:
            connection.request("POST", address.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            problem = _problem(response.status, answer)
        except (OSError, http.client.HTTPException) as error:
            problem = f"the connection broke: {error!r}"
        if problem:
            broken.append(f"{problem} over {body[:2_000]!r}")
            break
    connection.close()


def _problem(status: int, answer: bytes) -> str:
    """What is wrong with an answer; empty where nothing is."""
    if status != 200:
        return f"HTTP {status}"
    told = json.loads(answer) if answer else []
    for one in told if isinstance(told, list) else [told]:
        if ("result" in one) == ("error" in one) or one.get("error", {}).get("code") == INTERNAL_ERROR:
            return f"answered {one}"
    return ""


@contextmanager
def under_fire(url: str, known: list[str], account: Identity, count: int) -> Iterator[list[str]]:
    """Send random requests from several threads; yields what goes wrong, complete when the block has ended."""
    broken: list[str] = []
    stop = threading.Event()
    threads = [
        threading.Thread(
            target=hammer,
            args=(url, Fuzzer(FIRST_SEED + index, known, account), count // THREADS, stop, broken),
        )
        for index in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield broken
        for thread in threads:
            thread.join()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def quick_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs without an end ends sooner: there are thousands of them."""
    monkeypatch.setattr(machine, "RUN_TIME_S", 0.2)
    monkeypatch.setattr(rpc, "BATCH_TIME_S", 0.4)
    monkeypatch.setattr("blockchain.node.chain.NONCE_PATIENCE_S", 0.2)


def test_random_requests_are_answered_while_a_federation_goes_on(
    tmp_path: Path, shared_runs: SharedRuns, quick_machine: None
) -> None:
    stranger = Identity.create(tmp_path / "stranger")
    with shared_runs.federation(tmp_path / "run") as federation:
        known: list[str] = [
            federation.ledger.contract,
            *(member.address for member in federation.folder.server.load_record().roster),
        ]
        known += ["0x" + keccak(b"").hex(), "0x" + federation.ledger.genesis_hash().hex(), "0x0"]
        rounds = scaled(1, 20)
        began_s = time.monotonic()
        with under_fire(federation.node.url, known, stranger, REQUESTS) as broken:
            for _ in range(rounds):
                assert federation.lead_round()["phase"] == "accepted"
        assert broken == []
        assert len(federation.folder.server.rounds()) == rounds
        print(f"seed {FIRST_SEED}: {REQUESTS} requests and {rounds} rounds in {time.monotonic() - began_s:.0f} s")
