"""The embedded node: serves the chain over HTTP JSON-RPC on loopback, so that web3 talks to it as to any other node.

On loopback, a request from outside this machine can come only from a web page in one of its browsers. Two checks refuse
it. Such a page can send JSON only if the node allows it on being asked first (CORS), and the node never does. And where
a page makes its own name resolve to loopback ("DNS rebinding"), the request's Host header still has that name, and is
refused. When the node listens on another address, clients may reach it by any name, and it answers everybody who
reaches it: it has neither TLS nor authentication.
"""

import errno
import hmac
import ipaddress
import logging
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from blockchain.node.chain import Clock, EmbeddedChain
from blockchain.node.host import HOST, IpAddress, parse_host
from blockchain.node.rpc import RpcService
from fedward.errors import ResourceError
from fedward.types import Address

MAX_BODY_BYTES = 4 * 1024 * 1024
MOST_DIGITS = 15  # of a Content-Length; Python refuses to parse numbers of thousands of digits
MAX_CONNECTIONS = 512
IDLE_TIMEOUT_S = 120

_log = logging.getLogger(__name__)


class RunningNode:
    """A node that answers at `url` until it is stopped; also a context manager.

    Attributes:
        url: Where JSON-RPC is answered.
        port: The TCP port.
    """

    def __init__(self, chain: EmbeddedChain, host: IpAddress, port: int, secret: str = "") -> None:
        self._chain = chain
        shown = f"[{host}]" if host.version == 6 else str(host)
        try:
            self._server = _Server(host, port, RpcService(chain), secret)
        except OSError as error:
            chain.close()
            foreign = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
            raise ResourceError(
                f"The node could not listen on {shown}:{port}: {error.strerror or error}.",
                "Name an address of this machine." if foreign else "Choose another port, or 0 for any free one.",
            ) from error
        self.port = int(self._server.server_address[1])
        self.url = f"http://{shown}:{self.port}" + (f"/{secret}" if secret else "")
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="node", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Block until another thread stops the node, or an exception such as Ctrl-C arrives here."""
        self._thread.join()

    def stop(self) -> None:
        """Stop listening, end the open connections and close the store; harmless when repeated."""
        self._server.shutdown()
        self._server.server_close()
        self._server.end_connections()
        self._thread.join()
        self._chain.close()

    def __enter__(self) -> "RunningNode":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def start_node(
    folder: Path,
    chain_id: int,
    funded: Sequence[Address],
    port: int = 0,
    clock: Clock = time.time,
    host: str = HOST,
    private: bool = False,
    secret: str = "",
    existing: bool = False,
) -> RunningNode:
    """Serve the chain in a folder; a folder without one gets a new chain.

    Args:
        folder: Where the chain's store lies; made where missing.
        chain_id: The chain's id; an existing chain must have the same.
        funded: Accounts that can pay for transactions on a new chain; an existing chain keeps its own.
        port: TCP port; 0 takes a free one.
        clock: Seconds since 1970; the timestamps of new blocks follow it.
        host: IP address to listen on. If it is not loopback, everybody who reaches it may read the ledger and send
            transactions.
        private: Answer only those who know the node's `url`, which then holds a secret: all users of a machine share
            its loopback.
        secret: Which secret, for a node that is to answer at the same URL as before; empty: one that is drawn now.
        existing: Whether the folder must hold a chain already: a new one would know nothing of a run that began.

    Raises:
        UsageError: the host is no IP address.
        LedgerError: the folder holds another chain, something that is no chain, or none where one must be.
        ResourceError: the port is taken, the address is another machine's, or the folder is in use or cannot be
            written.

    Guarantees:
        1. A transaction that was acknowledged is on the disk: killing the process at any point does not lose it.
        2. Whatever a request's body holds, the answer is a JSON-RPC answer and the node goes on.
        3. On loopback, a request by another name than `localhost` or an IP address is refused.
        4. No call and no transaction takes more than a few seconds of processor time, and calls do not hold up blocks.
    """
    address = parse_host(host)
    kept = (secret or secrets.token_urlsafe(32)) if private else ""
    return RunningNode(EmbeddedChain(folder, chain_id, funded, clock, existing), address, port, kept)


class _Server(ThreadingHTTPServer):
    """Serves each connection in a thread; it knows the open connections, so that stopping can end them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: IpAddress, port: int, service: RpcService, secret: str) -> None:
        self.service = service
        self.secret = secret
        self.loopback = host.is_loopback
        self.address_family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
        self._connections: dict[socket.socket, bool] = {}  # oldest first; whether an accepted request came
        self._connections_lock = threading.Lock()
        super().__init__((str(host), port), _Handler)

    def server_bind(self) -> None:
        """Bind without the look-up of the address's name that HTTPServer makes."""
        socketserver.TCPServer.server_bind(self)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  socketserver's signature
        """With too many connections, end the oldest that has sent no accepted request yet, or refuse the new one."""
        with self._connections_lock:
            if len(self._connections) >= MAX_CONNECTIONS:
                idle = next((connection for connection, trusted in self._connections.items() if not trusted), None)
                if idle is None:
                    return False
                del self._connections[idle]
                _end(idle)
            self._connections[request] = False
        return True

    def trust(self, connection: socket.socket) -> None:
        """Keep a connection even when there are too many, because a request for this node came over it."""
        with self._connections_lock:
            if connection in self._connections:
                self._connections[connection] = True

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection and close it."""
        with self._connections_lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """End the connections that clients keep open; their threads then finish by themselves."""
        with self._connections_lock:
            connections = list(self._connections)
        for connection in connections:
            _end(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  socketserver's signature
        """Only log a broken connection: nothing is wrong with the node."""
        _log.debug("A connection from %s broke.", client_address, exc_info=True)


def _end(connection: socket.socket) -> None:
    """Shut a connection down, so that its thread reads the end of its data."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        _log.debug("A client closed its connection first.")


class _Handler(BaseHTTPRequestHandler):
    """Reads one body of bounded length, and writes one buffered answer."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_TIMEOUT_S

    def do_POST(self) -> None:
        """Answer JSON-RPC."""
        length = self.headers.get("Content-Length", "")
        if self.server.secret and not hmac.compare_digest(self.path.encode(), f"/{self.server.secret}".encode()):
            self._refuse(404, "There is nothing here: a run's node answers only at the address that it tells the run.")
        elif self.server.loopback and not _is_local(self.headers.get("Host", "localhost")):
            self._refuse(403, "The Host header bears a name: use localhost or an IP address (a proxy in front too).")
        elif not length.isdecimal():
            self._refuse(411, "The request has no Content-Length.")
        elif len(length) > MOST_DIGITS or int(length) > MAX_BODY_BYTES:
            self._refuse(413, f"The request is longer than {MAX_BODY_BYTES} bytes.")
        elif self.headers.get_content_type() != "application/json":
            self._refuse(415, "The request is not application/json.")  # a web page can send other types without asking
        else:
            self.server.trust(self.connection)
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                self.close_connection = True
                return
            self._respond(200, self.server.service.answer(body), "application/json")

    def do_GET(self) -> None:
        """Refuse: only POST is answered."""
        self._refuse(405, "This is a JSON-RPC endpoint: POST requests to it.")

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer with a sentence and close the connection, because the body was not read."""
        self.close_connection = True
        self._respond(status, sentence.encode() + b"\n", "text/plain")

    def _respond(self, status: int, content: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep requests out of stderr."""
        _log.debug(format, *args)


def _is_local(host: str) -> bool:
    """Whether a Host header is `localhost` or an IP address, with or without a port: names that nobody can redirect."""
    try:
        name = urlsplit(f"//{host}").hostname
        return name == "localhost" or bool(ipaddress.ip_address(name or ""))
    except ValueError:
        return False
