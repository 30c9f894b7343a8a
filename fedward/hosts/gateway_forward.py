"""Pass requests of admitted hospitals on to the server's own processes, and their answers back."""

from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from fedward.errors import ResourceError
from fedward.folders.whereabouts import announced_url
from fedward.hosts.gateway_requests import RefusalError, body_chunks, declared_length, whole_body
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.superlink_access import SuperLinkAccess

MOST_FLEET_BYTES = 64 * 1024 * 1024  # Flower cuts arrays into objects of 5 MiB; everything else is one object
MOST_LEDGER_BYTES = 4 * 1024 * 1024  # what the node takes
# What a SuperNode calls. Every other route of Flower's is the administrator's, or a ServerApp's.
FLEET_ROUTES = frozenset(
    {
        "activate-node",
        "confirm-message-received",
        "deactivate-node",
        "get-fab",
        "get-run",
        "pull-messages",
        "pull-object",
        "push-messages",
        "push-object",
        "send-node-heartbeat",
    }
)

_FLOWER = "flwr-"  # how the names of Flower's headers begin
_PASSED_ON = frozenset({"accept", "content-type"})
_PASSED_BACK = frozenset({"content-type", "content-length"})
_IDLE_S = 2.0  # the SuperLink closes a connection that was idle for 5 s
_CONNECT_S, _FLEET_S, _LEDGER_S = 5.0, 60.0, 90.0
_CONNECTIONS = 256
_AWAY = "The server's {} is not running at the moment; it starts again by itself."


@dataclass
class Forwarding:
    """The server's own processes, as the gateway reaches them.

    Attributes:
        kit: The server's.
        superlink: Client of the SuperLink.
        ledger: Client of the ledger's node.
    """

    kit: ServerKit
    superlink: httpx.AsyncClient
    ledger: httpx.AsyncClient

    @classmethod
    def open(cls, kit: ServerKit) -> "Forwarding":
        """Make the clients; nothing is connected yet."""
        access = SuperLinkAccess(kit)
        limits = httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_IDLE_S)
        fleet = httpx.Timeout(_FLEET_S, connect=_CONNECT_S)
        node = httpx.Timeout(_LEDGER_S, connect=_CONNECT_S)
        return cls(
            kit,
            httpx.AsyncClient(verify=access.tls(), trust_env=False, limits=limits, timeout=fleet),
            httpx.AsyncClient(verify=False, trust_env=False, limits=limits, timeout=node),  # noqa: S501 - http only
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.superlink.aclose()
        await self.ledger.aclose()

    async def fleet(self, request: Request) -> Response:
        """Pass a SuperNode's request on to the SuperLink.

        Raises:
            RefusalError: the SuperLink does not answer; Flower then tries again.
        """
        length = declared_length(request, MOST_FLEET_BYTES)
        try:
            base = SuperLinkAccess(self.kit).base_url()
        except ResourceError as error:
            raise RefusalError(503, _AWAY.format("SuperLink")) from error
        headers = _chosen(request.headers.items(), _PASSED_ON)
        if length is not None:
            headers["content-length"] = str(length)
        target = f"{base}{request.url.path}"
        return await _passed(self.superlink, target, headers, body_chunks(request, MOST_FLEET_BYTES), "SuperLink")

    async def rpc(self, request: Request) -> Response:
        """Pass a request on to the ledger's node.

        Raises:
            RefusalError: it is no JSON or too long, or the node does not answer.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RefusalError(415, "The request is not application/json.")
        body = await whole_body(request, MOST_LEDGER_BYTES)
        url = announced_url(self.kit.ledger)
        if url is None:
            raise RefusalError(503, _AWAY.format("ledger node"))
        return await _passed(self.ledger, url, {"content-type": "application/json"}, body, "ledger node")


async def _passed(
    client: httpx.AsyncClient, url: str, headers: dict[str, str], content: AsyncIterable[bytes] | bytes, name: str
) -> Response:
    """Send a request and hand its answer back as it comes."""
    request = client.build_request("POST", url, headers=headers, content=content)
    try:
        answer = await client.send(request, stream=True, follow_redirects=False)
    except (httpx.TimeoutException, httpx.TransportError) as error:
        raise RefusalError(503, _AWAY.format(name)) from error
    return _Passed(answer)


class _Passed(StreamingResponse):
    """An answer of one of the server's processes, handed back as it comes."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        super().__init__(answer.aiter_raw(), answer.status_code, _chosen(answer.headers.items(), _PASSED_BACK))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI; the connection is given back, however this ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()


def _chosen(headers: Iterable[tuple[str, str]], wanted: frozenset[str]) -> dict[str, str]:
    """Flower's headers and the wanted ones; no other is passed on."""
    found: Mapping[str, str] = {name.lower(): value for name, value in headers}
    return {name: value for name, value in found.items() if name in wanted or name.startswith(_FLOWER)}
