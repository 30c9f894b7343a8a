"""A hospital's SuperNode, as a process of its own that `supernode.py` starts: Flower's, with `ApprovedCode` in between.

It runs nothing of what the server sends: a message is answered by a process of its own (`launcher_process.py`).
"""

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flwr.supernode.start_client_internal as flower
from flwr.supercore.utils import get_flwr_home
from flwr.supernode.cli.flower_supernode import flower_supernode

from fedward import entry
from fedward.hosts.approvals import Approvals
from fedward.hosts.approved_code import Connect, Connection, wrapping
from fedward.hosts.signing_off import signing_off

CONNECTION_LOST = 1
CONNECTED = "connected"  # in Flower's folder: the number under which this SuperNode is connected
RECEIVE = 1  # the place of this function in what Flower's connection gives to its loop

_LOOK_S, _LOOKS = 0.5, 240


def main(approvals: Path, arguments: list[str]) -> None:
    """Run Flower's SuperNode until it loses its connection for good or is asked to end.

    Args:
        approvals: The folder of the hospital's approvals.
        arguments: Flower's own.
    """
    entry.end_with_parent()
    # Where Flower has no such function, this raises; where it uses another one, it finds no signature, and refuses.
    approved = wrapping(flower._init_connection, Approvals(approvals))
    flower._init_connection = signing_off(_attentive(approved), get_flwr_home() / CONNECTED)  # type: ignore
    sys.argv = ["flower-supernode", *arguments]
    flower_supernode()
    # It returned because its connection raised an error; a thread of Flower's would keep the process for ever.
    os._exit(CONNECTION_LOST)


def _attentive(connect: Connect) -> Connect:
    """Flower's function that connects, so that a message is found soon: Flower's loop looks every three seconds."""

    def receive(look: Callable[[], Any]) -> Any:
        for _ in range(_LOOKS):
            if (message := look()) is not None:
                return message
            time.sleep(_LOOK_S)
        return None

    @contextmanager
    def connected(*arguments: Any, **options: Any) -> Iterator[Connection]:
        with connect(*arguments, **options) as connection:
            functions = list(connection)
            functions[RECEIVE] = functools.partial(receive, connection[RECEIVE])
            yield tuple(functions)

    return connected


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
