"""Many transactions at once: handed over together, recorded once each whatever is lost, and each told how it ended."""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from anvil import running_anvil
from consortium import CHAIN_ID, MODEL_DIGEST, RULES, SETTINGS_DIGEST, Chain, Consortium, running_chain
from eth_utils.address import to_checksum_address
from lossy_proxy import LossyProxy, lossy_proxy

from blockchain.identity import Identity
from blockchain.ledger.connection import Connection
from blockchain.ledger.encoding import encode_commitment
from blockchain.ledger.events import HospitalRegistered, UpdateCommitted
from blockchain.ledger.flights import Call, Flight
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.outbox import TransactionOutbox
from blockchain.ledger.relay import GATHER_S, HURRY_S, Relay
from blockchain.node.embedded import start_node
from blockchain.signing.signatures import sign_commitment
from fedward.errors import LedgerError
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


@pytest.fixture
def connection(proxy: LossyProxy, server: Identity, tmp_path: Path) -> Iterator[Connection]:
    made = Connection(proxy.url, None, TransactionOutbox(tmp_path / "outbox"))
    made.deploy(server, SETTINGS_DIGEST, MODEL_DIGEST, dataclasses.astuple(RULES)[1:])
    yield made
    made.close()


def hospital(number: int) -> Address:
    return Address(to_checksum_address(number.to_bytes(20, "big")))


def registering(connection: Connection, server: Identity, *numbers: int) -> list[Call]:
    """Calls that put hospitals on the roster."""
    return [
        connection.prepare(server, "register", hospital(number), 100, bytes([number]) * 32, False) for number in numbers
    ]


def enrolled(proxy: LossyProxy, connection: Connection) -> list[int]:
    """Numbers of the hospitals on the roster, in its order."""
    ledger = Ledger.attach(proxy.target, connection.contract)
    numbers = [int(event.hospital, 16) for event in ledger.events(HospitalRegistered)]
    ledger.close()
    return numbers


def test_what_is_handed_over_together_is_recorded_in_its_order(
    connection: Connection, proxy: LossyProxy, server: Identity
) -> None:
    numbers = list(range(1, 13))
    flights = connection.push(server, registering(connection, server, *numbers))
    connection.await_landing(flights)
    assert connection.landed(flights) == dict.fromkeys(flights)
    assert enrolled(proxy, connection) == numbers


@pytest.mark.parametrize(("requests", "answers"), [(1, 0), (0, 1), (0, 7), (2, 2)])
def test_what_is_lost_on_the_way_is_not_recorded_twice(
    connection: Connection, proxy: LossyProxy, server: Identity, requests: int, answers: int
) -> None:
    before = len(proxy.raw)
    proxy.requests_to_lose, proxy.answers_to_lose = requests, answers
    flights = connection.push(server, registering(connection, server, 1, 2, 3))
    connection.await_landing(flights)
    assert (proxy.requests_to_lose, proxy.answers_to_lose) == (0, 0)
    assert enrolled(proxy, connection) == [1, 2, 3]
    assert len(set(proxy.raw[before:])) == 3  # never signed anew


def test_more_may_be_handed_over_before_the_first_are_in_blocks(
    connection: Connection, proxy: LossyProxy, server: Identity
) -> None:
    first = connection.push(server, registering(connection, server, 1, 2))
    second = connection.push(server, registering(connection, server, 3, 4))
    connection.await_landing([*first, *second])
    connection.transact(server, "register", hospital(5), 100, bytes([5]) * 32, False)
    assert enrolled(proxy, connection) == [1, 2, 3, 4, 5]


def test_a_refusal_in_the_block_is_told_of_that_one_only(
    connection: Connection, proxy: LossyProxy, server: Identity
) -> None:
    """Each is fine by itself when it is tried; the second finds the place taken."""
    flights = connection.push(server, registering(connection, server, 1, 1, 2))
    connection.await_landing(flights)
    outcomes = connection.landed(flights)
    refusals = [error.reason if error else None for error in map(outcomes.get, flights)]
    assert refusals == [None, "AlreadyRegistered", None]
    assert enrolled(proxy, connection) == [1, 2]


CHILD = """
import sys
from pathlib import Path
from blockchain.identity import Identity
from blockchain.ledger.connection import Connection
from blockchain.ledger.outbox import TransactionOutbox
url, contract, account, outbox = sys.argv[1:]
connection, server = Connection(url, contract, TransactionOutbox(Path(outbox))), Identity.load(Path(account))
numbers = (1, 2, 3)
calls = [connection.prepare(server, "register", f"0x{n:040x}", 100, bytes([n]) * 32, False) for n in numbers]
connection.push(server, calls)
"""


@pytest.mark.parametrize("arrived", [False, True])
def test_a_process_killed_while_it_hands_over_records_all_once(
    connection: Connection, proxy: LossyProxy, tmp_path: Path, server: Identity, server_folder: Path, arrived: bool
) -> None:
    contract = connection.contract
    arguments = [sys.executable, "-c", CHILD, proxy.url, contract, str(server_folder), str(tmp_path / "outbox")]
    with subprocess.Popen(arguments, cwd=ROOT) as child:
        proxy.on_loss = child.kill
        proxy.requests_to_lose, proxy.answers_to_lose = (0, 1) if arrived else (1, 0)
        assert child.wait(60) == -9
    again = Ledger.attach(proxy.target, contract, server, outbox=tmp_path / "outbox")
    assert [int(event.hospital, 16) for event in again.events(HospitalRegistered)] == [1, 2, 3]
    again.register(hospital(4), 100, bytes([4]) * 32)
    assert enrolled(proxy, connection) == [1, 2, 3, 4]
    again.close()


def test_what_the_node_refuses_leaves_the_outbox(tmp_path: Path, server: Identity) -> None:
    with start_node(tmp_path / "chain", CHAIN_ID, [server.address]) as node:
        outbox = TransactionOutbox(tmp_path / "outbox")
        connection = Connection(node.url, None, outbox)
        connection.deploy(server, SETTINGS_DIGEST, MODEL_DIGEST, dataclasses.astuple(RULES)[1:])
        good = registering(connection, server, 1, 2)
        greedy = [dataclasses.replace(call, gas=31_000_000) for call in registering(connection, server, 3, 4)]
        with pytest.raises(LedgerError, match="exceeds block gas limit"):
            connection.push(server, [*good, *greedy])
        assert [entry.nonce for entry in outbox.entries()] == [0, 1, 2]
        connection.transact(server, "register", hospital(5), 100, bytes([5]) * 32, False)
        connection.close()


def test_a_node_without_batches_is_asked_one_by_one(
    connection: Connection, proxy: LossyProxy, server: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = registering(connection, server, 1, 2, 3)
    refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batches"}}
    provider = connection._web3.provider
    monkeypatch.setattr(provider, "make_batch_request", lambda _questions: refusal)
    flights = connection.push(server, calls)
    monkeypatch.undo()
    connection.await_landing(flights)
    assert enrolled(proxy, connection) == [1, 2, 3]


# ---- what a relay gathers ---------------------------------------------------------------------------------------


class Notebook:
    """Stands where a ledger does, and writes down what is pushed."""

    def __init__(self) -> None:
        self.pushed: list[list[str]] = []
        self.lands = True

    def push(self, calls: Sequence[Call]) -> list[Flight]:
        self.pushed.append([call.what for call in calls])
        return [Flight(call, None) for call in calls]  # type: ignore[arg-type]

    def landed(self, flights: Sequence[Flight]) -> dict[Flight, LedgerError | None]:
        return dict.fromkeys(flights) if self.lands else {}

    def await_landing(self, _flights: Sequence[Flight]) -> None:
        self.lands = True


def call(what: str) -> Call:
    return Call({}, 0, what)


def gathering(notebook: Notebook, seconds_left: float = 3600) -> Relay:
    return Relay(notebook, int(time.time() + seconds_left))  # type: ignore[arg-type]


def test_what_comes_within_a_moment_is_sent_together(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook, told = Notebook(), list[str]()
    relay, now = gathering(notebook), time.monotonic()
    for position, what in enumerate("abc"):
        monkeypatch.setattr("blockchain.ledger.relay.time.monotonic", lambda at=position: now + at * GATHER_S / 4)
        relay.add(call(what), lambda _error, what=what: told.append(what))  # type: ignore[misc]
        relay.go_on()
    assert notebook.pushed == []
    monkeypatch.setattr("blockchain.ledger.relay.time.monotonic", lambda: now + GATHER_S)
    relay.go_on()
    assert notebook.pushed == [["a", "b", "c"]]
    assert told == ["a", "b", "c"]


def test_near_the_deadline_nothing_is_held_back() -> None:
    notebook = Notebook()
    relay = gathering(notebook, HURRY_S - 2)
    for what in "ab":
        relay.add(call(what), lambda _error: None)
        relay.go_on()
    assert notebook.pushed == [["a"], ["b"]]


def test_the_end_waits_for_what_is_in_no_block_yet() -> None:
    notebook, told = Notebook(), list[LedgerError | None]()
    relay = gathering(notebook, 0)
    relay.add(call("a"), told.append)
    notebook.lands = False
    relay.go_on()
    assert (notebook.pushed, told) == ([["a"]], [])
    relay.add(call("b"), told.append)
    relay.finish()
    assert (notebook.pushed, told) == ([["a"], ["b"]], [None, None])


def test_what_comes_last_goes_behind_all_that_waits() -> None:
    notebook, told = Notebook(), list[str]()
    relay = gathering(notebook)
    for what in "ab":
        relay.add(call(what), lambda _error, what=what: told.append(what))  # type: ignore[misc]
    relay.finish(call("end"))
    assert notebook.pushed == [["a", "b", "end"]]
    assert told == ["a", "b"]


# ---- a round ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with running_chain() as running:
        yield running


@pytest.fixture
def opened(chain: Chain) -> Iterator[Consortium]:
    founded = Consortium.found(chain, size=5)
    founded.open_round()
    yield founded
    founded.close()


def relayed(opened: Consortium, signed: Sequence[Any]) -> list[str]:
    """The contract's refusals of what is relayed together; empty where it took it."""
    assert opened.opening
    relay, told = Relay(opened.ledger, opened.opening.submission_deadline), list[str]()
    for one in signed:
        relay.add(opened.ledger.prepare(one), lambda error: told.append(error.reason if error else ""))
    relay.finish()
    return told


def test_all_submissions_and_all_votes_of_a_round_share_a_block_each(opened: Consortium) -> None:
    height = opened.ledger.head().height
    assert relayed(opened, [opened.signed(index) for index in range(5)]) == [""] * 5
    assert opened.ledger.head().height == height + 1
    opened.close_submissions()
    assert relayed(opened, [opened.ballot(index, True) for index in range(5)]) == [""] * 5
    assert opened.finalize().name == "ACCEPTED"
    assert opened.ledger.head().height == height + 4


def test_who_signs_two_updates_has_the_first(opened: Consortium) -> None:
    first, second = opened.signed(0), opened.signed(0)
    assert relayed(opened, [first, opened.signed(1), second]) == ["", "", "AlreadySubmitted"]
    committed = [event for event in opened.events() if isinstance(event, UpdateCommitted)]
    assert committed[0].update_root == first.commitment.update_root


def test_a_copy_beside_its_original_is_refused(opened: Consortium) -> None:
    original = opened.signed(0)
    copy = dataclasses.replace(opened.signed(1).commitment, update_root=original.commitment.update_root)
    told = relayed(opened, [original, sign_commitment(copy, opened.hospitals[1])])
    assert told == ["", "HashAlreadyUsed"]


def test_somebody_else_who_was_quicker_is_told(opened: Consortium) -> None:
    assert opened.opening
    signed = opened.signed(2)
    prepared = opened.ledger.prepare(signed)
    opened.send(opened.chain.stranger, "submitUpdateFor", encode_commitment(signed.commitment), signed.signature)
    relay, told = Relay(opened.ledger, opened.opening.submission_deadline), list[str]()
    relay.add(prepared, lambda error: told.append(error.reason if error else ""))
    relay.finish()
    assert told == ["AlreadySubmitted"]


def test_a_batch_of_transactions_is_answered_in_its_order(tmp_path: Path, server: Identity) -> None:
    """Also where one of them is malformed, one is no transaction at all, and one has no turn yet."""
    from blockchain.node.chain import EmbeddedChain
    from blockchain.node.rpc import RpcService

    chain = EmbeddedChain(tmp_path, CHAIN_ID, [server.address])
    service = RpcService(chain)
    fields = {"gas": 21_000, "gasPrice": 100, "value": 1, "to": hospital(1), "chainId": CHAIN_ID}
    raw = [f"0x{server.sign_transaction({**fields, 'nonce': nonce}).raw_transaction.hex()}" for nonce in range(4)]
    params: list[list[Any]] = [[raw[1]], [raw[0]], ["0x00"], [], [raw[2]], [raw[2]]]
    batch: list[Any] = [
        {"id": place, "method": "eth_sendRawTransaction", "params": one} for place, one in enumerate(params)
    ]
    batch[2:2] = [
        {"id": 9, "method": "eth_chainId"},
        {"id": [], "method": "eth_sendRawTransaction", "params": [raw[3]]},
    ]
    answers = json.loads(service.answer(json.dumps(batch).encode()))
    assert [answer["id"] for answer in answers] == [0, 1, 9, None, 2, 3, 4, 5]
    assert ["result" in answer for answer in answers] == [True, True, True, False, False, False, True, True]
    assert chain.head().block_number == 2
    chain.close()
