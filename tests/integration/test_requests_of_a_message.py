"""How often a hospital asks its ledger's node while it answers a message: each request costs a round its pace."""

from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest import mock

from federation import Federation, LocalGrid, founded
from flwr.app import Message, MessageType
from requests.adapters import HTTPAdapter

from fedward.messages.key_sharing import ANSWERS, RELEASE

# One to reach the ledger, two to read where it stands, and the signed checkpoint's two (none with answers). Besides:
# the round before, whose model the hospital has yet to put in force, with three for its signed votes; the last round
# that it released for; commitments, or how the round was closed, from events, with their last block.
MOST = {MessageType.TRAIN: 10, ANSWERS: 5, RELEASE: 7, MessageType.EVALUATE: 5}


class Counted:
    """The requests that hospitals send to their nodes, by the type of the message that they answer."""

    def __init__(self) -> None:
        self.sent = 0
        self.by_type: dict[str, set[int]] = defaultdict(set)

    def lead(self, federation: Federation, rounds: int) -> None:
        """Lead rounds and count."""
        send, deliver = HTTPAdapter.send, LocalGrid.deliver

        def counted(adapter: HTTPAdapter, *arguments: Any, **named: Any) -> Any:
            self.sent += 1
            return send(adapter, *arguments, **named)

        def delivered(grid: LocalGrid, node: Any, request: Message) -> Message | None:
            before = self.sent
            reply = deliver(grid, node, request)
            self.by_type[request.metadata.message_type].add(self.sent - before)
            return reply

        with mock.patch.object(HTTPAdapter, "send", counted), mock.patch.object(LocalGrid, "deliver", delivered):
            for _ in range(rounds):
                assert federation.lead_round()["phase"] == "accepted"


def test_a_message_costs_few_requests_however_many_rounds_there_were(tmp_path: Path) -> None:
    with founded(tmp_path / "run", ("model.name", "scatter")) as federation:
        counted = Counted()
        counted.lead(federation, 3)
        assert {kind: max(numbers) for kind, numbers in counted.by_type.items()} == MOST
        assert counted.by_type[MessageType.TRAIN] == {5, 10}  # the first round starts from the model that is in force
