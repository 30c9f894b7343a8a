"""JSON-RPC from outside: whatever comes, the answer is JSON-RPC or a plain HTTP refusal, and the node goes on."""

import contextlib
import http.client
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from consortium import CHAIN_ID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blockchain.identity import Identity
from blockchain.ledger.connection import Connection
from blockchain.node import embedded, machine, rpc
from blockchain.node.chain import EmbeddedChain
from blockchain.node.embedded import MAX_BODY_BYTES, RunningNode, start_node
from blockchain.node.rpc import INTERNAL_ERROR, MAX_BATCH, RpcService
from fedward.errors import ResourceError, UsageError

ADDRESS = "0x" + "11" * 20
EVERYWHERE = "0.0.0.0"  # noqa: S104  to see that it is only listened on when asked for


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with start_node(tmp_path_factory.mktemp("chain"), CHAIN_ID, []) as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RpcService]:
    chain = EmbeddedChain(tmp_path_factory.mktemp("chain"), CHAIN_ID, [])
    yield RpcService(chain)
    chain.close()


def post(node: RunningNode, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    try:
        connection.request("POST", "/", body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def ask(service: RpcService, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    return json.loads(service.answer(json.dumps(body).encode()))


def test_a_request_is_answered(node: RunningNode) -> None:
    status, body = post(node, b'{"jsonrpc":"2.0","id":"a","method":"eth_chainId"}')
    assert status == 200
    assert json.loads(body) == {"jsonrpc": "2.0", "id": "a", "result": hex(CHAIN_ID)}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 100_000, -32700),
        (b'{"a":' * 100_000, -32700),
        (b'["\\\\\\"[",' * 100 + b"[" * 100_000, -32700),
        ("[".encode("utf-16") * 2, -32700),
        (b'{"method":"eth_chainId","id":"' + b"[{" * 1000 + b'","params":3}', -32602),
        (b"3", -32600),
        (b"null", -32600),
        (b"{}", -32600),
        (b"[]", -32600),
        (b'{"method":3,"id":1}', -32600),
        (b'{"method":"eth_chainId","id":{}}', -32600),
        (b'{"method":"eth_chainId","id":1,"params":{}}', -32602),
        (b'{"method":"eth_mine","id":1}', -32601),
        (b'{"method":"__class__","id":1}', -32601),
        (b'{"method":"eth_getBalance","id":1}', -32602),
        (b'{"method":"eth_getBalance","id":1,"params":["0x12"]}', -32602),
        (b'{"method":"eth_getLogs","id":1,"params":[{"topics":[[],[],[],[],[]]}]}', -32602),
        (b'{"method":"eth_sendRawTransaction","id":1,"params":["0xzz"]}', -32602),
        (b'{"method":"eth_sendRawTransaction","id":1,"params":["0x00"]}', -32000),
        (b'{"method":"eth_call","id":1,"params":[]}', -32602),
        (b'{"method":"eth_getBalance","id":1,"params":["0x1111111111111111111111111111111111111111","0x99"]}', -32000),
        (b'{"method":"eth_chainId","id":NaN}', -32700),
        (b'{"method":"eth_chainId","id":-Infinity}', -32700),
        (b'{"method":"eth_chainId","id":1e999}', -32600),
        (b'{"method":"eth_chainId","id":' + b"9" * 5_000 + b"}", -32700),
        (b'{"method":"eth_chainId","id":[]}', -32600),
        (b'{"method":"eth_getLogs","id":1,"params":[{"blockHash":"0x' + b"11" * 32 + b'"}]}', -32000),
    ],
)
def test_a_bad_request_gets_the_right_error(service: RpcService, body: bytes, code: int) -> None:
    answer = json.loads(service.answer(body))
    assert answer["error"]["code"] == code
    assert answer["jsonrpc"] == "2.0"


def test_a_batch_is_answered_in_order_without_its_notifications(service: RpcService) -> None:
    batch = [
        {"jsonrpc": "2.0", "id": 2, "method": "eth_chainId"},
        {"jsonrpc": "2.0", "method": "eth_chainId"},
        5,
        {"jsonrpc": "2.0", "id": 1, "method": "nothing"},
    ]
    answers = json.loads(service.answer(json.dumps(batch).encode()))
    assert [answer["id"] for answer in answers] == [2, None, 1]
    assert service.answer(json.dumps(batch[1:2]).encode()) == b""
    assert service.answer(json.dumps(batch[1]).encode()) == b""


def test_a_batch_is_bounded(service: RpcService) -> None:
    batch = [{"id": 1, "method": "eth_chainId"}] * (MAX_BATCH + 1)
    assert json.loads(service.answer(json.dumps(batch).encode()))["error"]["code"] == -32600


METHODS = st.sampled_from(sorted(RpcService(None)._methods()))  # type: ignore[arg-type]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10),
    st.sampled_from(["latest", "pending", "earliest", "0x0", "0x", "0x1", ADDRESS, "0x" + "00" * 32, "0x" + "f" * 64]),
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "from",
        "to",
        "data",
        "input",
        "gas",
        "value",
        "fromBlock",
        "toBlock",
        "blockHash",
        "blockNumber",
        "address",
        "topics",
    ]
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=METHODS, params=st.lists(VALUES, max_size=4) | VALUES)
def test_any_parameters_are_answered(service: RpcService, method: str, params: Any) -> None:
    answer = json.loads(service.answer(json.dumps({"id": 1, "method": method, "params": params}).encode()))
    assert ("result" in answer) != ("error" in answer)
    assert answer.get("error", {}).get("code") != INTERNAL_ERROR


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_transaction_bytes_are_answered(service: RpcService, raw: bytes) -> None:
    for content in (raw, b"\x01" + raw, b"\x02" + raw, b"\x03" + raw):
        answer = ask(service, "eth_sendRawTransaction", "0x" + content.hex())
        assert answer["error"]["code"] == -32000


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_body_is_answered(service: RpcService, body: bytes) -> None:
    assert json.loads(service.answer(body))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(code=st.binary(max_size=60), value=st.integers(0, 2**256 - 1))
def test_any_code_may_run(service: RpcService, code: bytes, value: int) -> None:
    """Creation code from outside is run by `eth_call`: invalid, endless or too poor, it only ever fails."""
    answer = ask(service, "eth_call", {"data": "0x" + code.hex(), "value": hex(value), "gas": "0x30d40"})
    assert ("result" in answer) != ("error" in answer)
    assert answer.get("error", {}).get("code") != INTERNAL_ERROR


@pytest.mark.parametrize("power", [31, 32, 53, 62, 63, 64, 65, 128, 255])
def test_a_block_of_any_number_is_only_not_there(service: RpcService, power: int) -> None:
    """SQLite's numbers end at 2^63: beyond, `eth_getLogs` dropped the connection."""
    for number in (2**power - 1, 2**power, 2**power + 1):
        far, zeros = hex(number), "0x" + "00" * 32
        for query in ({"fromBlock": far}, {"toBlock": far}, {"fromBlock": far, "toBlock": far}, {"fromBlock": "0x0"}):
            assert ask(service, "eth_getLogs", query)["result"] == []
        assert ask(service, "eth_getBlockByNumber", far, True)["result"] is None
        for method in ("eth_getBalance", "eth_getTransactionCount", "eth_getCode"):
            assert ask(service, method, ADDRESS, far)["error"]["code"] == -32000
            assert ask(service, method, ADDRESS, {"blockNumber": far})["error"]["code"] == -32000
        assert ask(service, "eth_getStorageAt", ADDRESS, far, "latest")["result"] == zeros
        assert ask(service, "eth_getStorageAt", ADDRESS, "0x0", far)["error"]["code"] == -32000
        assert ask(service, "eth_call", {"to": ADDRESS, "gas": far}, "latest")["result"] == "0x"
        assert ask(service, "eth_call", {"to": ADDRESS, "value": far}, "latest")["error"]["code"] == -32000
        assert ask(service, "eth_estimateGas", {"to": ADDRESS}, far)["error"]["code"] == -32000


@pytest.mark.parametrize("place", ["address", "topics"])
def test_a_query_names_a_bounded_number_of_choices(service: RpcService, place: str) -> None:
    """More of them than SQLite takes variables ended the connection."""
    for count, most in ((1_000, True), (1_001, False), (40_000, False)):
        choices = ["0x" + "11" * 20] * count if place == "address" else [["0x" + "11" * 32] * count]
        answer = ask(service, "eth_getLogs", {place: choices})
        assert ("result" in answer) is most
        assert most or answer["error"]["code"] == -32602


def test_creation_code_is_as_long_as_ethereum_allows(service: RpcService) -> None:
    """EIP-3860: 49,152 bytes. py-evm's error over more of them was none that a block or a call may meet."""
    for method in ("eth_call", "eth_estimateGas"):
        assert "result" in ask(service, method, {"data": "0x" + "00" * 49_152})
        refused = ask(service, method, {"data": "0x" + "00" * 49_153})["error"]
        assert (refused["code"], refused["message"]) == (
            -32000,
            "max initcode size exceeded: code size 49153, limit 49152",
        )


def test_what_the_machine_fails_over_is_answered(service: RpcService, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyError("x"), RecursionError(), MemoryError(), sqlite3.OperationalError("disk I/O error")):

        def fail(*_: Any, raised: Exception = error) -> None:
            raise raised

        monkeypatch.setattr(EmbeddedChain, "read_account", fail)
        answer = ask(service, "eth_getBalance", ADDRESS)["error"]
        assert answer["code"] == INTERNAL_ERROR
        assert answer["message"] == f"the node failed over this request ({type(error).__name__})"


def test_a_batch_takes_a_bounded_time(service: RpcService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "RUN_TIME_S", 0.1)
    monkeypatch.setattr(rpc, "BATCH_TIME_S", 0.3)
    endless = {"id": 1, "method": "eth_call", "params": [{"data": "0x5b600056"}]}
    began_s = time.thread_time()
    answers = json.loads(service.answer(json.dumps([endless] * MAX_BATCH).encode()))
    assert time.thread_time() - began_s < 2
    codes = [answer["error"]["code"] for answer in answers]
    assert len(codes) == MAX_BATCH
    assert codes[0] == -32000
    assert codes[-1] == -32005


def test_a_batch_has_an_answer_of_bounded_size(service: RpcService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "MAX_ANSWER_BYTES", 10_000)
    block = {"id": 1, "method": "eth_getBlockByNumber", "params": ["0x0", True]}
    body = service.answer(json.dumps([block] * MAX_BATCH).encode())
    assert len(body) < 60_000
    assert {answer.get("error", {}).get("code") for answer in json.loads(body)} == {None, -32005}


def test_a_call_without_an_end_runs_out_of_gas(service: RpcService) -> None:
    answer = ask(service, "eth_call", {"data": "0x5b600056", "gas": "0x186a0"})
    assert answer["error"]["code"] == -32000


def test_a_call_as_deep_as_gas_allows_leaves_the_node_standing(tmp_path: Path) -> None:
    """A contract that calls itself: py-evm recurses with it, on a server thread's stack."""
    caller = Identity.create(tmp_path)
    runtime = bytes.fromhex("5f5f5f5f5f305af1505f5ff3")
    creation = bytes([0x60, len(runtime), 0x60, 10, 0x5F, 0x39, 0x60, len(runtime), 0x5F, 0xF3]) + runtime
    fields = {"nonce": 0, "gas": 200_000, "gasPrice": 100, "value": 0, "data": creation, "chainId": CHAIN_ID}
    signed = caller.sign_transaction(fields)
    with start_node(tmp_path / "chain", CHAIN_ID, [caller.address]) as node:
        send = {"id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + signed.raw_transaction.hex()]}
        transaction = json.loads(post(node, json.dumps(send).encode())[1])["result"]
        ask_receipt = {"id": 1, "method": "eth_getTransactionReceipt", "params": [transaction]}
        address = json.loads(post(node, json.dumps(ask_receipt).encode())[1])["result"]["contractAddress"]
        call = {"id": 1, "method": "eth_call", "params": [{"to": address}]}
        assert json.loads(post(node, json.dumps(call).encode())[1])["result"] == "0x"


# ---- HTTP -------------------------------------------------------------------------------------------------------


def test_an_oversized_body_is_refused_unread(node: RunningNode) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
        head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        connection.sendall(f"{head}{MAX_BODY_BYTES + 1}\r\n\r\n".encode())
        assert b" 413 " in connection.recv(4096)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n", b" 411 "),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b" 411 "),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\n{}", b" 415 "),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", b" 413 "),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: \xb2\r\n\r\n", b" 411 "),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 405 "),
        (b"PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 501 "),
        (b"rubbish\r\n\r\n", b"400"),
    ],
)
def test_other_requests_are_refused(node: RunningNode, head: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
        connection.sendall(head)
        assert status in connection.recv(4096)


def test_a_client_that_leaves_midway_disturbs_nobody(node: RunningNode) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
            connection.sendall(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
            )
    assert post(node, b'{"id":1,"method":"eth_chainId"}')[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8545", "localhost.evil.example", "[::1", "", "bücher"])
def test_a_name_that_others_could_point_here_is_refused(node: RunningNode, host: str) -> None:
    status, body = post(node, b'{"id":1,"method":"eth_chainId"}', Host=host)
    assert (status, b"0x" in body) == (403, False)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8545", "127.0.0.1:8545", "[::1]:8545", "10.0.0.7"])
def test_localhost_and_addresses_are_answered(node: RunningNode, host: str) -> None:
    assert post(node, b'{"id":1,"method":"eth_chainId"}', Host=host)[0] == 200


def listening_on(port: int) -> list[str]:
    """Local addresses of the sockets that listen on a port, as the kernel tells them."""
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    listening = "0A"
    return [row[1].split(":")[0] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == listening]


@pytest.mark.parametrize(
    ("host", "raw"),
    [
        (None, "0100007F"),
        ("127.0.0.2", "0200007F"),
        (EVERYWHERE, "00000000"),
        ("::1", "00000000000000000000000001000000"),
    ],
)
def test_a_node_listens_where_it_is_told_to_and_nowhere_else(tmp_path: Path, host: str | None, raw: str) -> None:
    where = {} if host is None else {"host": host}
    with start_node(tmp_path, CHAIN_ID, [], **where) as node:  # type: ignore[arg-type]
        assert listening_on(node.port) == [raw]
        answer = requests.post(node.url, json={"id": 1, "method": "eth_chainId"}, timeout=10)
        assert answer.json()["result"] == hex(CHAIN_ID)


def test_beyond_loopback_any_name_may_be_the_nodes(tmp_path: Path) -> None:
    with start_node(tmp_path, CHAIN_ID, [], host=EVERYWHERE) as node:
        assert post(node, b'{"id":1,"method":"eth_chainId"}', Host="node.hospital.example")[0] == 200


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0.1:80", "256.1.1.1", "::1::", "x" * 10_000, "\0"])
def test_what_is_no_address_is_refused_before_the_folder_is_touched(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="only listen on an IP address"):
        start_node(tmp_path / "chain", CHAIN_ID, [], host=host)
    assert not (tmp_path / "chain").exists()


def test_another_machines_address_is_refused_and_the_folder_let_go(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"could not listen on 192\.0\.2\.1.*Name an address of this machine"):
        start_node(tmp_path, CHAIN_ID, [], host="192.0.2.1")  # kept for documents: nobody has it
    start_node(tmp_path, CHAIN_ID, []).stop()


def test_stopping_ends_open_connections(tmp_path: Path) -> None:
    node = start_node(tmp_path, CHAIN_ID, [])
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n")
        node.stop()
        with contextlib.suppress(ConnectionResetError):  # or, as well:
            assert connection.recv(10) == b""


# ---- a run's own node -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with start_node(tmp_path_factory.mktemp("chain"), CHAIN_ID, [], private=True) as running:
        yield running


def test_a_private_node_answers_whoever_was_told_its_address(private_node: RunningNode) -> None:
    answer = requests.post(private_node.url, json={"id": 1, "method": "eth_chainId"}, timeout=10)
    assert answer.json()["result"] == hex(CHAIN_ID)
    with contextlib.closing(Connection(private_node.url, None)) as connection:
        assert connection.chain_id == CHAIN_ID


@pytest.mark.parametrize("change", ["", "/", "/x", "{url}/", "{url}x", "{short}", "{url}?", "/x{path}", "{upper}", "*"])
def test_a_private_node_tells_nobody_else_anything(private_node: RunningNode, change: str) -> None:
    path = urlsplit(private_node.url).path
    asked = change.format(url=path, short=path[:-1], path=path, upper=path.upper())
    body = b'{"id":1,"method":"eth_chainId"}'
    for method, status in (("POST", 404), ("GET", 405)):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", private_node.port, timeout=10)) as connection:
            connection.request(method, asked, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert (response.status, hex(CHAIN_ID).encode() in response.read()) == (status, False)


def test_connections_that_ask_for_nothing_keep_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MAX_CONNECTIONS", 8)
    request = {"id": 1, "method": "eth_chainId"}
    with (
        start_node(tmp_path, CHAIN_ID, [], private=True) as node,
        requests.Session() as kept,
        contextlib.ExitStack() as stack,
    ):
        assert kept.post(node.url, json=request, timeout=10).status_code == 200
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", node.port), timeout=10))
        assert requests.post(node.url, json=request, timeout=10).status_code == 200
        assert kept.post(node.url, json=request, timeout=10).status_code == 200
