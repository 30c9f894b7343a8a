"""A federation in one process: Flower's messages go straight to the hospitals' handlers, one after the other.

For experiments that repeat rounds many times, and for tests, which change messages on their way. Server and hospitals
do all that they do under Flower; what is left out is Flower's network, processes and waiting. The caller passes the
handlers in, since no module of the product imports the apps (`client.py`, `server.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.supercore.task_identity import TaskIdentity

from fedward.folders.own_folder import HOSPITAL_FOLDER
from fedward.settings import Settings, to_tables
from fedward.types import NodeId

Handler = Callable[[Message, Context], Message]  # what a hospital's app does with a message


class InProcessGrid:
    """The part of Flower's grid that a server uses. Every message is answered while it is pushed.

    Attributes:
        settings: What the server sends along with each message, as Flower's run config.
        folders: The hospital's folder of each node. Add an entry for a node to join, remove one for it to leave.
        requests: All messages so far, as they were sent.
    """

    def __init__(self, handlers: Mapping[str, Handler], settings: Settings, folders: Mapping[NodeId, Path]) -> None:
        """Connect hospitals.

        Args:
            handlers: A hospital's handler for each of Flower's message types.
            settings: See above.
            folders: See above.
        """
        # Flower sets these when a process starts; without them no message can be made.
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        self.settings = settings
        self.folders = dict(folders)
        self.requests: list[Message] = []
        self._handlers = handlers
        self._replies: dict[str, Message] = {}

    def get_node_ids(self) -> Iterable[int]:
        """The connected nodes."""
        return sorted(self.folders)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Deliver messages; returns the names under which the replies wait."""
        names = []
        for message in messages:
            request = _numbered(message, len(self.requests))
            self.requests.append(request)
            reply = self.deliver(NodeId(request.metadata.dst_node_id), request)
            if reply is not None:
                self._replies[request.metadata.message_id] = reply
            names.append(request.metadata.message_id)
        return names

    def pull_messages(self, names: Iterable[str]) -> Iterator[Message]:
        """The replies that are there, each once."""
        for name in list(names):
            if name in self._replies:
                yield self._replies.pop(name)

    def deliver(self, node: NodeId, request: Message) -> Message | None:
        """A node's reply; None where none will ever come. A subclass may override this to change messages."""
        return self._handlers[request.metadata.message_type](request, self.context(node))

    def context(self, node: NodeId) -> Context:
        """What Flower tells a node that was started with its hospital's folder."""
        tables = to_tables(self.settings)
        flat = {f"{table}.{key}": value for table, values in tables.items() for key, value in values.items()}
        return Context(1, node, {HOSPITAL_FOLDER: str(self.folders[node])}, RecordDict(), flat)


def _numbered(message: Message, number: int) -> Message:
    """Give a message the identity that Flower gives it when it is sent."""
    sent = message.metadata
    identity = Metadata(
        run_id=1,
        message_id=f"message-{number}",
        src_node_id=0,
        dst_node_id=sent.dst_node_id,
        reply_to_message_id="",
        group_id=sent.group_id,
        created_at=sent.created_at,
        ttl=sent.ttl,
        message_type=sent.message_type,
    )
    return make_message(identity, message.content)
