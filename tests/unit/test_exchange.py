"""Replies are handed out one at a time as they come, and nobody is waited for beyond the deadline."""

import time
import weakref
from collections.abc import Callable, Iterable, Iterator

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.metadata import Metadata
from flwr.supercore.task_identity import TaskIdentity

from fedward.messages.exchange import exchange
from fedward.types import NodeId

SILENT = 3  # the node that never answers


class ScriptedGrid:
    """Answers each message at its poll, in a fixed order; records what it was asked."""

    def __init__(self) -> None:
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        self.sent: list[Message] = []
        self.polls: list[set[str]] = []
        self._ready: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        names: list[str] = []
        # As Flower does: whatever it is given is gone through twice, and may not be nothing.
        checked = [message.metadata.dst_node_id for message in messages]
        sent = list(messages)
        assert sent
        assert len(checked) == len(sent)
        for message in sent:
            name, node = f"message-{len(self.sent)}", message.metadata.dst_node_id
            self.sent.append(message)
            names.append(name if node else "")  # Flower gives no id to what it could not send
            if node != SILENT:
                request = Metadata(1, name, 0, node, "", "1", 0.0, 60.0, "train")
                answer = RecordDict({"from": ConfigRecord({"node": node})})
                self._ready[name] = Message(answer, reply_to=Message(content=message.content, metadata=request))
        return names

    def pull_messages(self, names: Iterable[str]) -> Iterator[Message]:
        self.polls.append(set(names))
        for name in sorted(self.polls[-1])[:1]:
            if name in self._ready:
                yield self._ready.pop(name)


def message(node: int) -> Message:
    return Message(RecordDict(), dst_node_id=node, message_type="train")


def node_of(reply: Message) -> int:
    return int(reply.content.config_records["from"]["node"])  # type: ignore[arg-type]


def nobody(_node: NodeId, _reply: Message) -> None:
    """No follow-up."""


def replies_of(
    grid: ScriptedGrid,
    messages: list[Message],
    timeout_s: float = 60.0,
    follow_up: Callable[[NodeId, Message], Message | None] = nobody,
) -> Iterator[tuple[NodeId, Message]]:
    """The replies as they come, handed out as they are."""
    return exchange(grid, messages, 0.001, timeout_s, lambda reply: reply, follow_up)  # type: ignore[arg-type]


def answered(
    grid: ScriptedGrid,
    nodes: list[int],
    timeout_s: float,
    follow_up: Callable[[NodeId, Message], Message | None] = nobody,
) -> list[int]:
    """Who answered, as the reply itself says and as it is handed out."""
    found = [
        (node, node_of(reply)) for node, reply in replies_of(grid, list(map(message, nodes)), timeout_s, follow_up)
    ]
    assert all(node == said for node, said in found)
    return [said for _, said in found]


def test_every_reply_comes_once_and_is_not_asked_for_again() -> None:
    grid = ScriptedGrid()
    assert answered(grid, [1, 2], 60.0) == [1, 2]
    assert grid.polls == [{"message-0"}, {"message-1"}]


def test_a_reply_is_handed_out_before_the_others_are_fetched() -> None:
    grid = ScriptedGrid()
    replies = replies_of(grid, [message(node) for node in (1, 2, 4)])
    next(replies)
    assert len(grid.polls) == 1


def test_nothing_holds_a_reply_that_was_handed_out_or_a_request_that_was_sent() -> None:
    """Memory holds one reply, however many hospitals there are."""
    grid = ScriptedGrid()
    requests = [message(node) for node in (1, 2, 4)]
    replies = replies_of(grid, requests)
    first = weakref.ref(next(replies)[1])
    assert first() is None
    sent = [weakref.ref(request) for request in requests]
    del requests
    grid.sent.clear()
    assert [request() for request in sent] == [None, None, None]
    assert node_of(next(replies)[1]) == 2


@pytest.mark.timeout(60)
def test_who_is_silent_is_not_waited_for_beyond_the_deadline() -> None:
    grid, started = ScriptedGrid(), time.monotonic()
    assert answered(grid, [1, SILENT], 0.3) == [1]
    assert 0.3 <= time.monotonic() - started < 30
    assert answered(ScriptedGrid(), [1], 0.0) == []


def test_what_could_not_be_sent_is_not_waited_for() -> None:
    assert answered(ScriptedGrid(), [0, 1], 60.0) == [1]


def test_a_follow_up_takes_the_replys_place() -> None:
    grid, asked = ScriptedGrid(), []

    def ask_again(_node: NodeId, reply: Message) -> Message | None:
        asked.append(node_of(reply))
        return message(7) if asked == [1] else None

    assert answered(grid, [1, 2], 60.0, ask_again) == [2, 7]
    assert asked == [1, 2, 7]
    assert len(grid.sent) == 3


def test_a_reply_is_read_once_whether_it_is_followed_up_or_handed_out() -> None:
    grid, read = ScriptedGrid(), []

    def reading(reply: Message) -> int:
        read.append(node_of(reply))
        return read[-1]

    def ask_again(_node: NodeId, reply: int) -> Message | None:
        return message(7) if reply == 1 else None

    handed_out = list(exchange(grid, [message(1), message(2)], 0.001, 60.0, reading, ask_again))  # type: ignore[arg-type]
    assert handed_out == [(2, 2), (7, 7)]
    assert read == [1, 2, 7]


def test_who_may_come_back_is_waited_for_also_where_nobody_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hospital whose processes were killed comes back within a minute: the round has hours."""
    monkeypatch.setattr("fedward.messages.exchange._LOOK_S", 0.01)
    grid, away = ScriptedGrid(), iter([True] * 6)
    came: list[Message] = []

    def newcomers() -> list[Message]:
        if next(away, False):
            return []
        came.append(message(2))
        return [came[-1]] if len(came) == 1 else []

    replies = exchange(
        grid,  # type: ignore[arg-type]
        [message(1)],
        0.001,
        60.0,
        lambda reply: reply,
        nobody,
        newcomers,
        others_may_come=lambda: not came,
    )
    assert [node for node, _ in replies] == [1, 2]


def test_who_does_not_come_back_is_waited_for_until_the_deadline_only() -> None:
    started = time.monotonic()
    replies = exchange(
        ScriptedGrid(),  # type: ignore[arg-type]
        [message(1)],
        0.001,
        0.3,
        lambda reply: reply,
        nobody,
        others_may_come=lambda: True,
    )
    assert [node for node, _ in replies] == [1]
    assert 0.3 <= time.monotonic() - started < 30
