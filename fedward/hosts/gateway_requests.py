"""What every answer of the gateway has in common: refusals in one sentence, bounded bodies, and a line in the log."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedward.hosts.members import Admitted
from fedward.timing import utc_now

CHUNK_TIMEOUT_S = 30.0  # for the next bytes of a body
BODY_TIMEOUT_S = 600.0  # for all of them
MOST_AT_ONCE = 48  # requests of one hospital that are answered at the same time

HOSPITAL = "fedward.hospital"  # in ASGI's scope: who asks, once that is known

_MOST_DIGITS = 15  # of a Content-Length; Python refuses to parse numbers of thousands of digits
# Asked all the time: their successes are not logged.
_ROUTINE = frozenset({"/v1/fleet/pull-messages", "/v1/fleet/send-node-heartbeat", "/health"})


class RefusalError(Exception):
    """The gateway does not do what was asked.

    Args:
        status: HTTP's.
        sentence: Why, for the hospital.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def refusal(_request: Request, error: Exception) -> Response:
    """The answer to a request that is refused."""
    if isinstance(error, RefusalError):
        return refused(error.status, error.sentence)
    return refused(500, "The server failed; its log says why.")


def refused(status: int, sentence: str) -> Response:
    """An answer that is one sentence. Flower reads `detail`."""
    headers = {"retry-after": "1"} if status == 503 else None
    return JSONResponse({"error": sentence, "detail": sentence}, status, headers)


def declared_length(request: Request, most: int) -> int | None:
    """The length that a request says its body has; None where it says none.

    Raises:
        RefusalError: it is no length, or is longer than allowed.
    """
    said = request.headers.get("content-length")
    if said is None:
        return None
    if not (said.isascii() and said.isdecimal()):
        raise RefusalError(400, "The Content-Length is no number.")
    if len(said) > _MOST_DIGITS or int(said) > most:
        raise RefusalError(413, f"The request is longer than {most:,} bytes.")
    return int(said)


async def body_chunks(request: Request, most: int) -> AsyncIterator[bytes]:
    """The parts of a request's body, as they come.

    Raises:
        RefusalError: it is longer than allowed, or too slow.
    """
    declared_length(request, most)
    size, deadline, stream = 0, time.monotonic() + BODY_TIMEOUT_S, request.stream()
    while True:
        try:
            async with asyncio.timeout(min(CHUNK_TIMEOUT_S, deadline - time.monotonic())):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise RefusalError(408, "The request's body came too slowly.") from error
        if chunk is None:
            return
        size += len(chunk)
        if size > most:
            raise RefusalError(413, f"The request is longer than {most:,} bytes.")
        yield chunk


async def whole_body(request: Request, most: int) -> bytes:
    """A request's body; raises as `body_chunks` does."""
    return b"".join([chunk async for chunk in body_chunks(request, most)])


class Busy:
    """Bounds how many requests of one hospital are answered at the same time, so that it cannot crowd others out."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._now: dict[str, int] = {}

    def enter(self, member: Admitted) -> None:
        """Begin to answer a request.

        Raises:
            RefusalError: too many of this hospital are being answered.
        """
        if self._now.get(member.hospital, 0) >= self._most:
            raise RefusalError(503, "This hospital sends too many requests at the same time.")
        self._now[member.hospital] = self._now.get(member.hospital, 0) + 1

    def leave(self, member: Admitted) -> None:
        """End what `enter` began."""
        self._now[member.hospital] -= 1


class Until:
    """A response after which something is done, however it ends."""

    def __init__(self, response: Response, finish: Callable[[], None]) -> None:
        self._response = response
        self._finish = finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await self._response(scope, receive, send)
        finally:
            self._finish()


class AccessLog:
    """Writes a line of JSON for each request: who, what, how it ended, how much, how long. No header is in it."""

    def __init__(self, app: ASGIApp, write: Callable[[str], None] = print) -> None:
        self._app = app
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, seen = time.monotonic(), {"status": 500, "in": 0, "out": 0}

        async def counted_receive() -> Message:
            message = await receive()
            seen["in"] += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            seen["status"] = message.get("status", seen["status"])
            seen["out"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        except ClientDisconnect:
            seen["status"] = 499
        finally:
            if seen["status"] != 200 or scope["path"] not in _ROUTINE:
                self._write(json.dumps(_line(scope, seen, time.monotonic() - began)))


def _line(scope: Scope, seen: dict[str, int], seconds: float) -> dict[str, Any]:
    member: Admitted | None = scope.get(HOSPITAL)
    client = scope.get("client") or ("",)
    return {
        "time": utc_now(),
        "hospital": member.hospital if member else None,
        "from": client[0],
        "method": scope["method"],
        "route": scope["path"][:200],
        "status": seen["status"],
        "in": seen["in"],
        "out": seen["out"],
        "seconds": round(seconds, 3),
    }
