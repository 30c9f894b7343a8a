"""The gateway as a process of its own: TLS, and bounds on connections, so that nobody holds it up."""

import asyncio
import resource
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fedward import entry
from fedward.hosts.gateway import Gateway
from fedward.hosts.server_kit import ServerKit

MOST_CONNECTIONS = 1024
IDLE_TIMEOUT_S = 60.0  # for the next request, head and all
STOP_TIMEOUT_S = 3

_LOOK_S = 5.0
_BACKLOG = 256


class Connections:
    """The open connections, oldest first, and on which of them an admitted hospital has shown itself."""

    def __init__(self, most: int = MOST_CONNECTIONS) -> None:
        self._most = most
        self._open: dict[tuple[str, int], BoundedProtocol] = {}
        self._trusted: set[tuple[str, int]] = set()

    def opened(self, connection: "BoundedProtocol") -> None:
        """Count a connection; where there are too many, close the oldest of a stranger, or this one."""
        if len(self._open) >= self._most:
            stranger = next((each for each in self._open if each not in self._trusted), None)
            victim = self._open[stranger] if stranger else connection
            victim.transport.abort()
            if victim is connection:
                return
            self.closed(victim)
        if connection.client:
            self._open[connection.client] = connection

    def closed(self, connection: "BoundedProtocol") -> None:
        """Forget a connection."""
        if connection.client and self._open.get(connection.client) is connection:
            del self._open[connection.client]
            self._trusted.discard(connection.client)

    def trust(self, client: tuple[str, int]) -> None:
        """Keep a connection even where there are too many."""
        if client in self._open:
            self._trusted.add(client)


CONNECTIONS = Connections()


class BoundedProtocol(H11Protocol):
    """Uvicorn's, but a connection on which no request is under way for long is closed: not only between requests."""

    bounded = CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See uvicorn."""
        super().connection_made(transport)
        self._idle_since = time.monotonic()
        self._timer = self.loop.call_later(_LOOK_S, self._look)
        self.bounded.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See uvicorn."""
        self._timer.cancel()
        self.bounded.closed(self)
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > IDLE_TIMEOUT_S:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(_LOOK_S, self._look)


def main(kit: ServerKit, bind: str) -> None:
    """Answer hospitals until asked to end.

    Args:
        kit: The server's.
        bind: IP address to listen on.

    Raises:
        UsageError: the kit is not complete.
    """
    port = kit.load_project().server.port
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    gateway = Gateway(kit, CONNECTIONS.trust)
    config = uvicorn.Config(
        gateway.app(lambda line: print(line, flush=True)),
        host=bind,
        port=port,
        http=BoundedProtocol,
        ws="none",
        loop="asyncio",
        backlog=_BACKLOG,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        forwarded_allow_ips="",
        timeout_keep_alive=int(IDLE_TIMEOUT_S),
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
        ssl_certfile=kit.certificate,
        ssl_keyfile=str(kit.certificate_key),
        ssl_context_factory=_tls,
    )
    uvicorn.Server(config).run()


def _tls(_config: uvicorn.Config, make: Any) -> ssl.SSLContext:
    """The server's TLS: 1.2 or later."""
    context: ssl.SSLContext = make()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


if __name__ == "__main__":
    entry.end_with_parent()
    entry.run(
        lambda: main(ServerKit(Path(sys.argv[1])), sys.argv[2]), lambda line: print(line, file=sys.stderr, flush=True)
    )
