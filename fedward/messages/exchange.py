"""Send messages over Flower and fetch the replies one at a time, so that memory holds a single update."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from fedward.types import NodeId

Reply = TypeVar("Reply")

_LONGEST_POLL_S = 5.0
_LOOK_S = 1.0  # between two looks for further nodes


def exchange(
    grid: Grid,
    messages: Iterable[Message],
    poll_interval_s: float,
    timeout_s: float,
    read: Callable[[Message], Reply],
    follow_up: Callable[[NodeId, Reply], Message | None],
    newcomers: Callable[[], Sequence[Message]] = tuple,
    meanwhile: Callable[[], None] = lambda: None,
    others_may_come: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[NodeId, Reply]]:
    """Send messages; read the replies and hand them out one at a time, as they come.

    Each reply is fetched by itself and read once, and this function keeps no reply that it has handed out: a caller
    that keeps none either has a single update in memory. Short polls lose little time; Flower's own `send_and_receive`
    waits three seconds between polls and returns all replies together.

    Args:
        grid: Flower's connection.
        messages: One for each node. They are not kept in memory once they are sent.
        poll_interval_s: Least seconds between polls.
        timeout_s: Replies that come later are not waited for.
        read: Turns a reply message into what is handed out.
        follow_up: May answer a reply with another message, whose reply is then waited for in its place.
        newcomers: Messages for nodes that have connected since; asked at most once a second while replies are awaited.
        meanwhile: Called at every poll while replies are awaited.
        others_may_come: Whether to go on where no reply is awaited, for newcomers.

    Yields:
        Who replied, and the reply as `read` gives it.
    """
    waiting = _pushed(grid, messages)
    del messages
    looked = time.monotonic()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        asked_s = yield from _taken(grid, waiting, read, follow_up)
        if time.monotonic() > looked + _LOOK_S:
            waiting += _pushed(grid, newcomers())
            looked = time.monotonic()
        meanwhile()
        started = time.monotonic()
        if not waiting and not others_may_come():
            return
        asked_s += time.monotonic() - started
        # Asking takes no more than a tenth of the time, however many are waited for.
        time.sleep(max(poll_interval_s, min(_LONGEST_POLL_S, 10 * asked_s)))


def _taken(
    grid: Grid,
    waiting: list[str],
    read: Callable[[Message], Reply],
    follow_up: Callable[[NodeId, Reply], Message | None],
) -> Generator[tuple[NodeId, Reply], None, float]:
    """Ask once for every reply that is waited for; hands out those that have come, and strikes them from the list.

    Returns:
        Seconds spent on asking for those that have not come.
    """
    asked_s = 0.0
    for message_id in tuple(waiting):
        started = time.monotonic()
        replies = [(NodeId(reply.metadata.src_node_id), read(reply)) for reply in grid.pull_messages([message_id])]
        if replies:
            waiting.remove(message_id)
        else:
            asked_s += time.monotonic() - started
        # No variable holds a single reply: it would keep the reply in memory until the next one comes.
        while replies:
            answer = follow_up(*replies[-1])
            if answer is None:
                yield replies.pop()
            else:
                replies.pop()
                waiting += _pushed(grid, [answer])
                del answer
    return asked_s


def _pushed(grid: Grid, messages: Iterable[Message]) -> list[str]:
    """Send messages one at a time; returns Flower's names of those that it could send.

    Flower goes through what it is given twice, so a generator would be empty the second time; and a SuperLink refuses
    to be sent nothing.
    """
    names: list[str] = []
    for message in messages:
        names += [name for name in grid.push_messages([message]) if name]
        del message  # before the next one is made
    return names
