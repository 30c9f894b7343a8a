"""`Server`: what the server works with, and how it asks hospitals and reads their replies."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from blockchain.attribution import PastRound
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundOpening, RoundPhase
from blockchain.ledger.relay import Relay
from fedward.folders.round_log import RoundLog
from fedward.folders.server import ServerFolder
from fedward.messages import wire
from fedward.messages.exchange import exchange
from fedward.messages.nodes import Nodes
from fedward.messages.replies import Failure, Missing
from fedward.settings import Settings
from fedward.types import NodeId

Reply = TypeVar("Reply")
CATCH_UP_ROUNDS = 4  # aggregates that one message carries to a hospital that was away: memory stays bounded


@dataclass
class Server:
    """What the server works with. What must survive its process is on the ledger or in the server's folder."""

    grid: Grid
    folder: ServerFolder
    settings: Settings
    ledger: Ledger
    nodes: Nodes
    findings: int
    parameters: int
    past: list[PastRound] = field(default_factory=list)  # what was read of rounds that have ended

    @classmethod
    def open(cls, grid: Grid, folder: ServerFolder, settings: Settings) -> "Server":
        """Read the folder, reach the ledger and wait for the hospitals."""
        record, account = folder.load_record(), Identity.load(folder.identity)
        url = folder.ledger_url(settings.run.rpc_url)
        ledger = Ledger.attach(url, record.contract, account, outbox=folder.transactions)
        nodes = Nodes(grid)
        nodes.wait_for(len(ledger.roster()), settings.ledger.min_included)
        return cls(grid, folder, settings, ledger, nodes, len(record.findings), record.parameters)

    def decided_rounds(self) -> int:
        """Count the rounds that ended as accepted or rejected, after tidying up what a crash left.

        A round that is still open is aborted, and not counted. A round whose line of metrics was not written when the
        round ended gets one now.
        """
        latest = self.ledger.latest_round()
        if latest and self.ledger.round(latest).phase in (RoundPhase.OPEN, RoundPhase.VOTING):
            self.ledger.abort_round(latest, "interrupted")
        phases = {index: self.ledger.round(index).phase for index in range(1, latest + 1)}
        logged = {entry["round"] for entry in self.folder.rounds()}
        for index in sorted(phases.keys() - logged):
            self.finish(RoundLog(self.folder, index), phases[index].name.lower())
        return sum(phase in (RoundPhase.ACCEPTED, RoundPhase.REJECTED) for phase in phases.values())

    def finish(self, log: RoundLog, phase: str) -> None:
        """Write down how a round ended, and where the ledger then stood; remove single updates that are too old."""
        head = self.ledger.head()
        log.finish(phase, head.height, head.ledger_head)
        if keep := self.settings.run.keep_rounds:
            self.folder.ciphertexts.prune(keep)

    def messages(self, kind: str, nodes: Iterable[NodeId], round_index: int, needed: Sequence[int]) -> list[Message]:
        """Messages that tell nodes about a round, with the aggregates of the needed rounds in memory only once."""
        aggregates = {index: self.folder.load_sum(index) for index in needed}
        content = wire.round_records(round_index, aggregates)
        return [Message(content, dst_node_id=node, message_type=kind, group_id=str(round_index)) for node in nodes]

    def ask(
        self,
        kind: str,
        opening: RoundOpening,
        needed: Sequence[int],
        deadline: int,
        read: Callable[[Message], Reply],
        relay: Relay,
    ) -> Iterator[tuple[NodeId, Reply]]:
        """Send all nodes the same message and hand out their replies one at a time, until a deadline (Unix seconds).

        A node that connects meanwhile is asked, too: a hospital may reconnect, also under another number. Asking ends
        before the deadline once everybody has replied and nobody is away who may come back, or once every hospital on
        the roster has sent what the ledger would take. Where the process that should have answered died, it is asked
        once more.

        A hospital that was away replies which rounds' aggregates it lacks. It is asked again with some of these, as
        long as its replies show that it gets further. A reply that shows no progress is handed out, as `Missing`.

        Args:
            kind: Flower's message type, which names the hospital's function.
            opening: The round that the message is about.
            needed: Rounds whose aggregates everybody gets.
            deadline: Until when replies are waited for.
            read: Turns a reply into what is handed out; called once for each reply.
            relay: Goes on sending while replies are awaited.
        """
        round_index, roster = opening.round_index, {entry.address for entry in opening.roster}
        reached: dict[int, int] = {}  # by node: the earliest round that its last reply named as missing
        died: set[NodeId] = set()  # whose processes ended before they answered; they are asked once more

        def follow_up(node: NodeId, reply: Reply) -> Message | None:
            if isinstance(reply, Failure) and reply.died and node not in died and self.nodes.is_connected(node):
                died.add(node)
                return self.messages(kind, [node], round_index, needed)[0]
            if not isinstance(reply, Missing):
                return None
            accepted = self._accepted_before(round_index, reply.rounds)
            if not accepted or accepted[0] <= reached.get(node, 0):
                return None
            reached[node] = accepted[0]
            return self.messages(kind, [node], round_index, [*accepted[:CATCH_UP_ROUNDS], *needed])[0]

        def to_newcomers() -> list[Message]:
            new = self.nodes.newly_to_ask(roster)
            return self.messages(kind, new, round_index, needed) if new else []

        self.nodes.ask_anew()
        # No variable holds the messages: it would keep the aggregate in memory for as long as replies are awaited.
        interval_s, timeout_s = self.settings.speed.poll_interval_s, max(0.0, deadline - time.time())
        told = (read, follow_up, to_newcomers, relay.go_on, lambda: self.nodes.may_return(roster))
        replies = exchange(self.grid, to_newcomers(), interval_s, timeout_s, *told)
        for node, reply in replies:
            yield node, reply
            del reply  # the caller drops the reply, too, before the next one is fetched
            relay.go_on()
            if self.nodes.heard_from(roster):
                return

    def _accepted_before(self, round_index: int, rounds: Iterable[int]) -> list[int]:
        """Those of these rounds that were accepted before a round, in order."""
        earlier = sorted({index for index in rounds if 0 < index < round_index})
        return [index for index in earlier if self.ledger.round(index).phase is RoundPhase.ACCEPTED]

    def ask_each(
        self, messages: Iterable[Message], timeout_s: float, read: Callable[[Message], Reply]
    ) -> Iterator[tuple[NodeId, Reply]]:
        """Send nodes a message each and hand out their replies one at a time.

        Args:
            messages: To different nodes. They are sent as they come, so that memory holds one at a time.
            timeout_s: Replies that come later are not waited for.
            read: Turns a reply into what is handed out; called once for each reply.
        """
        interval_s = self.settings.speed.poll_interval_s
        yield from exchange(self.grid, messages, interval_s, timeout_s, read, lambda _node, _reply: None)
