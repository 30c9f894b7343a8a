"""Sign off what an earlier SuperNode of this hospital left connected when it was killed, so that the next gets in.

The server takes a SuperNode for connected until its heartbeat is overdue, about a minute, and refuses another one with
the same key meanwhile. The number under which it connected is kept in a file until it has signed off by itself.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supercore.error import FlowerError
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedward.files import write_atomic
from fedward.hosts.approved_code import Connect, Connection

NODE_ID = 0  # its place in what Flower's connection gives to its loop
PRIVATE = 0o600

_MOST_DIGITS = 20
logger = logging.getLogger("flwr")


def signing_off(connect: Connect, kept: Path) -> Connect:
    """Flower's function that connects; before it does, what was left connected is signed off.

    Args:
        connect: Flower's.
        kept: The file for the number under which it connects.
    """

    @contextmanager
    def connected(*arguments: Any, **options: Any) -> Iterator[Connection]:
        left = kept.read_text() if kept.exists() else ""
        if left.isdecimal() and len(left) <= _MOST_DIGITS:
            _sign_off(int(left), **options)
        with connect(*arguments, **options) as connection:
            write_atomic(kept, str(connection[NODE_ID]).encode(), PRIVATE)
            yield connection
        kept.unlink(missing_ok=True)

    return connected


def _sign_off(
    node_id: int, *, server_address: str, insecure: bool, root_certificates: Any, authentication_keys: Any, **_: Any
) -> None:
    """Tell the server that a SuperNode of this key is gone; if that fails, the server will find out by itself."""
    interceptors: Sequence[Any] = [
        RuntimeVersionHttpInterceptor(component_name="SuperNode"),
        NodeAuthHttpInterceptor(*authentication_keys),
    ]
    with contextlib.suppress(httpx.HTTPError, FlowerError, OSError):
        with FleetHttpClient.from_server_address(
            server_address, insecure, root_certificates, interceptors=interceptors
        ) as client:
            client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))
        logger.info("Signed off SuperNode %s, which had ended without doing so", node_id)
