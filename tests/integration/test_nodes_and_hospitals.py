"""Flower's numbers for nodes prove nothing: hospitals are known by what they sign, and asked wherever they are now."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import Federation
from flwr.app import Message, MessageType
from flwr.app.error import Error
from flwr.common.constant import ErrorCode
from shared_runs import SharedRuns
from signed_structs import tamper

import server
from fedward.errors import QuorumError
from fedward.messages import nodes as nodes_of
from fedward.messages.nodes import Nodes
from fedward.settings import replace
from fedward.types import Address, NodeId


@pytest.fixture
def federation(tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run") as made:
        yield made


def metrics(federation: Federation) -> dict[str, object]:
    return federation.folder.server.rounds()[-1]


def test_a_hospital_that_comes_back_under_another_number_is_asked_again(federation: Federation) -> None:
    grid, lead = federation.grid, federation.server()

    def restarted(node: int, reply: Message) -> Message | None:
        """Node 3 dies while it works. Flower still lists it, and its hospital connects again, as node 7."""
        if node == 3:
            grid.folders[NodeId(7)] = grid.folders[NodeId(3)]
            return None
        return reply

    grid.tamper = restarted
    started = time.monotonic()
    server.lead_round(lead)
    assert metrics(federation)["phase"] == "accepted"
    assert metrics(federation)["submitted"] == metrics(federation)["accepts"] == 3
    assert time.monotonic() - started < federation.settings.ledger.submission_timeout_s / 4, "nobody waits for node 3"
    members = [member.address for member in federation.folder.server.load_record().roster]
    assert [lead.nodes.hospital(NodeId(node)) for node in (1, 2, 3, 7)] == [*members[:2], None, members[2]]


def test_one_that_connects_after_the_first_round_is_asked_in_the_next(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_of, "CONNECT_TIMEOUT_S", 0.3)
    late = federation.grid.folders.pop(NodeId(3))
    lead = federation.server()
    server.lead_round(lead)
    assert metrics(federation)["submitted"] == 2
    federation.grid.folders[NodeId(9)] = late
    server.lead_round(lead)
    assert metrics(federation)["submitted"] == metrics(federation)["accepts"] == 3


def test_a_reply_that_the_ledger_does_not_take_binds_nobody(federation: Federation) -> None:
    def forged(node: int, reply: Message) -> Message:
        """Node 3 answers in hospital 2's name, with a signature of its own."""
        if node == 3 and "commitment" in reply.content:
            tamper(reply, "commitment", hospital=lead.ledger.roster()[1].address)
        return reply

    lead = federation.server()
    federation.grid.tamper = forged
    opening = lead.ledger.open_round()
    log = server.RoundLog(lead.folder, opening.round_index)  # type: ignore[attr-defined]
    assert len(server.collect_updates(lead, opening, log).updates) == 2
    assert lead.nodes.hospital(NodeId(2)) == opening.roster[1].address
    assert lead.nodes.hospital(NodeId(3)) is None


def test_a_hospital_uses_its_own_folder_and_node_whatever_the_server_sends(federation: Federation) -> None:
    for key, value in (("run.folder", "/nowhere"), ("run.rpc-url", "http://127.0.0.1:9")):
        federation.grid.settings = replace(federation.grid.settings, key, value)
    assert federation.lead_round()["accepts"] == 3


def test_a_hospital_whose_process_died_is_asked_once_more(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver, asked = federation.grid.deliver, list[tuple[int, str]]()

    def dies_at_first(node: NodeId, request: Message) -> Message | None:
        kind = request.metadata.message_type
        asked.append((int(node), kind))
        if node == 2 and kind in (MessageType.TRAIN, MessageType.EVALUATE) and asked.count((2, kind)) == 1:
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "killed"), reply_to=request)
        return deliver(node, request)

    monkeypatch.setattr(federation.grid, "deliver", dies_at_first)
    led = federation.lead_round()
    assert (led["submitted"], led["accepts"], led["failures"]) == (3, 3, [])
    assert [asked.count((2, kind)) for kind in (MessageType.TRAIN, MessageType.EVALUATE)] == [2, 2]
    assert asked.count((1, MessageType.TRAIN)) == 1


class Connected:
    """A grid of which only the list of nodes is asked for."""

    def __init__(self, *nodes: int) -> None:
        self.nodes = nodes

    def get_node_ids(self) -> tuple[int, ...]:
        return self.nodes


def test_whoever_left_the_roster_is_not_asked_and_whoever_is_unknown_is() -> None:
    grid = Connected(1, 2, 3)
    known = Nodes(grid)  # type: ignore[arg-type]
    for node, hospital in ((1, "0xa"), (2, "0xb")):
        known.bind(NodeId(node), Address(hospital))
    known.ask_anew()
    assert known.newly_to_ask([Address("0xa"), Address("0xc")]) == [1, 3]
    grid.nodes = (2, 4)
    assert known.newly_to_ask([Address("0xa"), Address("0xb")]) == [2, 4]


def test_a_node_that_was_away_before_it_answered_is_asked_anew_and_one_that_has_answered_is_not() -> None:
    grid, roster = Connected(1, 2), [Address("0xa"), Address("0xb")]
    known = Nodes(grid)  # type: ignore[arg-type]
    known.bind(NodeId(1), Address("0xa"))
    known.bind(NodeId(2), Address("0xb"))
    known.ask_anew()
    assert known.newly_to_ask(roster) == [1, 2]
    assert not known.may_return(roster), "both are there"
    known.bind(NodeId(1), Address("0xa"))
    grid.nodes = (2,)
    assert not known.may_return(roster), "who has answered need not return"
    grid.nodes = ()
    assert known.may_return(roster)
    assert not known.may_return([Address("0xa"), Address("0xc")]), "who was never there is not waited for"
    anew = Nodes(grid)  # type: ignore[arg-type]
    assert not anew.may_return(roster)
    grid.nodes = (5,)
    assert anew.newly_to_ask(roster) == [5]
    grid.nodes = ()
    assert anew.may_return(roster), "nobody knows yet whose it is"
    for hospital in roster:
        anew.bind(NodeId(6), hospital)
    assert not anew.may_return(roster), "all have answered"
    assert known.newly_to_ask(roster) == []
    grid.nodes = (1, 2)
    assert known.newly_to_ask(roster) == [2]
    assert known.newly_to_ask(roster) == []
    known.ask_anew()
    assert known.newly_to_ask(roster) == [1, 2]


def test_too_few_nodes_are_too_few_for_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_of, "CONNECT_TIMEOUT_S", 0.3)
    Nodes(Connected(1, 2)).wait_for(3, 2)  # type: ignore[arg-type]
    with pytest.raises(QuorumError, match="1 of 3 hospitals have connected, 2 are needed"):
        Nodes(Connected(1)).wait_for(3, 2)  # type: ignore[arg-type]
