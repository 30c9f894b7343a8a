"""How the server waits for who is missing: until the ledger's deadline has passed, and no longer."""

import json
from collections.abc import Iterator
from unittest import mock

import pytest
from federation import Clock, Federation, founded, untouched
from flwr.app import Message

import server

REAL_WAIT = server.wait_until


class ServersTime:
    """Stands where the server's `time` does: sleeping moves the clock of the node, and takes no time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.woken: list[float] = []  # when sleep was over

    def time(self) -> float:
        return self._clock()

    def monotonic(self) -> float:
        return self._clock()

    def sleep(self, seconds: float) -> None:
        self._clock.move_to(self._clock() + seconds)
        self.woken.append(self._clock())


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with (
        founded(tmp_path_factory.mktemp("deadlines") / "run", ("model.name", "scatter")) as made,
        mock.patch("server.wait_until", REAL_WAIT),
    ):
        yield made


def waits(federation: Federation, round_index: int) -> list[tuple[str, int]]:
    events = [json.loads(line) for line in federation.folder.server.progress.read_text().splitlines()]
    return [
        (event["what"], event["deadline"])
        for event in events
        if event["event"] == "waiting" and event["round"] == round_index
    ]


def test_nobody_is_waited_for_when_all_are_there(federation: Federation) -> None:
    with mock.patch("server.time", ServersTime(federation.clock)) as time:
        metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    assert time.woken == []
    assert waits(federation, federation.ledger.latest_round()) == []


def test_a_missing_vote_is_waited_for(federation: Federation) -> None:
    def then_the_second_is_gone(node: int, reply: Message) -> Message:
        if node == 3:
            federation.grid.absent = frozenset({2})
        return reply

    federation.grid.tamper = then_the_second_is_gone
    try:
        with mock.patch("server.time", ServersTime(federation.clock)) as time:
            metrics = federation.lead_round()
    finally:
        federation.grid.tamper, federation.grid.absent = untouched, frozenset()
    index = federation.ledger.latest_round()
    deadline = federation.ledger.round(index).voting_deadline
    assert (metrics["phase"], metrics["submitted"], metrics["accepts"]) == ("accepted", 3, 2)
    assert waits(federation, index) == [("votes", deadline)]
    assert time.woken == [pytest.approx(deadline + 1, abs=0.5)]


def test_a_missing_update_and_vote_are_waited_for_until_each_deadline(federation: Federation) -> None:
    federation.grid.absent = frozenset({3})
    try:
        with mock.patch("server.time", ServersTime(federation.clock)) as time:
            metrics = federation.lead_round()
    finally:
        federation.grid.absent = frozenset()
    index = federation.ledger.latest_round()
    record = federation.ledger.round(index)
    deadlines = [federation.ledger.opening(index).submission_deadline, record.voting_deadline]
    assert (metrics["phase"], record.included) == ("accepted", (0, 1))
    assert waits(federation, index) == list(zip(("submissions", "votes"), deadlines, strict=True))
    assert time.woken == [pytest.approx(deadline + 1, abs=0.5) for deadline in deadlines]
