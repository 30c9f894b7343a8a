"""The gateway: the one port of the server that hospitals reach, by HTTPS, and who may ask for what there.

    POST /v1/fleet/...   Flower's messages, signed by an admitted hospital's SuperNode; on to the SuperLink
    POST /ledger         JSON-RPC, with a hospital's or the witness's token; on to the ledger's node
    GET, PUT /board/...  the key board, with a hospital's token
    GET /witness/...     rounds' lists of ciphertexts, and ciphertexts by their hash, with the witness's token
    GET /members         the admitted hospitals, with a hospital's token
    GET /health          whether the gateway answers

Flower's SuperLink answers everything on one port, and asks nobody who he is when he starts runs or registers nodes.
Therefore it listens on loopback, and here only those of its routes lead to it that a SuperNode uses.
"""

import contextlib
import functools
import re
from collections.abc import AsyncIterator, Awaitable, Callable

from flwr.supercore.error import ApiErrorCode
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fedward.checked_json import to_json
from fedward.errors import EvidenceError, FedwardError
from fedward.hosts.admission import Admission
from fedward.hosts.gateway_forward import FLEET_ROUTES, Forwarding
from fedward.hosts.gateway_requests import HOSPITAL, AccessLog, Busy, RefusalError, Until, refusal, refused, whole_body
from fedward.hosts.members import Admitted, Members
from fedward.hosts.server_board import (
    MOST_CARD_BYTES,
    MOST_EPOCH,
    MOST_KEY_BYTES,
    BoardRefusalError,
    ServerBoard,
)
from fedward.hosts.server_kit import ServerKit
from fedward.types import Address

Answer = Callable[[Request], Awaitable[Response]]

_NOT_ADMITTED = int(ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED)
_NOTHING = "There is nothing here."
_MOST_ROUND_DIGITS = 9
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MODELS_AT_ONCE = 2  # each is held in memory while it is written


class Gateway:
    """Answers requests for one server's kit.

    Args:
        kit: The server's.
        trust: Called with a connection's other end, (host, port), when an admitted hospital has shown itself there.
    """

    def __init__(self, kit: ServerKit, trust: Callable[[tuple[str, int]], None] = lambda _: None) -> None:
        self._admission = Admission(Members(kit.members), kit.witness)
        self._ciphertexts = kit.study.ciphertexts
        self._board = ServerBoard(kit.study)
        self._forwarding = Forwarding.open(kit)
        self._trust = trust
        self._busy = Busy()
        self._busy_models = Busy(_MODELS_AT_ONCE)

    def app(self, write: Callable[[str], None] = print) -> Starlette:
        """The gateway as an ASGI app.

        Args:
            write: Takes a line of the access log.
        """
        fleet = [Route(f"/v1/fleet/{name}", self._by_signature, methods=["POST"]) for name in sorted(FLEET_ROUTES)]
        ways = ["GET", "PUT"]
        routes = [
            *fleet,
            Route("/ledger", self._by_token(self._forwarding.rpc, witness=True), methods=["POST"]),
            Route("/board/cards/{address}", self._by_token(self._card), methods=ways),
            Route("/board/checkpoints/{address}", self._by_token(self._checkpoint), methods=ways),
            Route("/board/epochs/{epoch}/{address}", self._by_token(self._sealed_key), methods=ways),
            Route("/board/models/{address}", self._by_token(self._model), methods=ways),
            Route(
                "/witness/rounds/{index}", self._by_token(self._round, hospitals=False, witness=True), methods=["GET"]
            ),
            Route(
                "/witness/ciphertexts/{name}",
                self._by_token(self._ciphertext, hospitals=False, witness=True),
                methods=["GET"],
            ),
            Route("/members", self._by_token(self._members), methods=["GET"]),
            Route("/health", _health, methods=["GET"]),
        ]
        handlers = {RefusalError: refusal, HTTPException: _no_route, FedwardError: _failed, Exception: refusal}
        log = Middleware(AccessLog, write=write)
        app = Starlette(routes=routes, middleware=[log], exception_handlers=handlers, lifespan=self._lifespan)
        app.router.redirect_slashes = False
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        await self._forwarding.close()

    async def _by_signature(self, request: Request) -> Response | Until:
        """Answer a SuperNode of an admitted hospital, before anything of its body is read."""
        member, reason = self._admission.by_signature(request.headers)
        if member is None:
            # What Flower's SuperLink answers a node that was not registered: its SuperNode then says so, and ends.
            return JSONResponse({"code": _NOT_ADMITTED, "detail": reason, "error": reason}, 412)
        return await self._answer(member, self._forwarding.fleet, request)

    def _by_token(
        self, answer: Answer, *, hospitals: bool = True, witness: bool = False
    ) -> Callable[[Request], Awaitable[Until]]:
        """An answer to admitted hospitals only, or to the witness, or to both."""

        async def checked(request: Request) -> Until:
            said = request.headers.get("authorization", "")
            member = self._admission.by_token(said) if hospitals else None
            member = member or (self._admission.witness_by_token(said) if witness else None)
            if member is None:
                whose = "an admitted hospital" if hospitals else "the study's witness"
                raise RefusalError(401, f"The request bears no token of {whose}.")
            return await self._answer(member, answer, request)

        return checked

    async def _answer(self, member: Admitted, answer: Answer, request: Request) -> Until:
        request.scope[HOSPITAL] = member
        if request.client:
            self._trust((request.client.host, request.client.port))
        self._busy.enter(member)
        leave = functools.partial(self._busy.leave, member)
        try:
            return Until(await answer(request), leave)
        except BaseException:
            leave()
            raise

    async def _card(self, request: Request) -> Response:
        return await self._own(request, self._board.load_card, self._board.save_card)

    async def _checkpoint(self, request: Request) -> Response:
        return await self._own(request, self._board.load_checkpoint, self._board.save_checkpoint)

    async def _own(
        self,
        request: Request,
        load: Callable[[Address], bytes | None],
        save: Callable[[Admitted, Address, bytes], None],
    ) -> Response:
        """What each hospital leaves of its own."""
        owner = self._address(request)
        if request.method == "GET":
            return _found(await run_in_threadpool(load, owner))
        content = await whole_body(request, MOST_CARD_BYTES)
        return await _left(save, request.scope[HOSPITAL], owner, content)

    async def _sealed_key(self, request: Request) -> Response:
        recipient, said = self._address(request), request.path_params["epoch"]
        if not (said.isascii() and said.isdecimal() and len(said) <= len(str(MOST_EPOCH)) and int(said) > 0):
            raise RefusalError(404, _NOTHING)
        if request.method == "GET":
            return _found(await run_in_threadpool(self._board.load_sealed_key, int(said), recipient))
        content = await whole_body(request, MOST_KEY_BYTES)
        return await _left(self._board.save_sealed_key, request.scope[HOSPITAL], int(said), recipient, content)

    async def _model(self, request: Request) -> Response:
        recipient, member = self._address(request), request.scope[HOSPITAL]
        if request.method == "GET":
            return _found(await run_in_threadpool(self._board.load_model, recipient))
        self._busy_models.enter(member)
        try:
            content = await whole_body(request, await run_in_threadpool(self._board.most_model_bytes))
            return await _left(self._board.save_model, member, recipient, content)
        finally:
            self._busy_models.leave(member)

    async def _members(self, _request: Request) -> Response:
        return JSONResponse(
            [
                {"hospital": member.hospital, "address": member.address, "weight": member.weight}
                for member in self._admission.admitted()
            ]
        )

    async def _round(self, request: Request) -> Response:
        said = request.path_params["index"]
        if not (said.isascii() and said.isdecimal() and len(said) <= _MOST_ROUND_DIGITS):
            raise RefusalError(404, _NOTHING)
        try:
            files = await run_in_threadpool(self._ciphertexts.round_files, int(said))
        except EvidenceError as error:
            raise RefusalError(404, "There is no list of that round's ciphertexts yet.") from error
        return JSONResponse(to_json(files))

    async def _ciphertext(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not _HASH.fullmatch(name):
            raise RefusalError(404, _NOTHING)
        try:
            content = await run_in_threadpool(self._ciphertexts.chunk, name)
        except EvidenceError as error:
            raise RefusalError(404, "There is no such ciphertext here.") from error
        return Response(content, media_type="application/octet-stream")

    def _address(self, request: Request) -> Address:
        """The hospital's account that a path names, as the list of hospitals writes it."""
        named = request.path_params["address"].lower()
        for member in self._admission.every():
            if member.address.lower() == named:
                return member.address
        raise RefusalError(404, "No hospital of that address was admitted.")


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _found(content: bytes | None) -> Response:
    if content is None:
        raise RefusalError(404, "Nothing was left here.")
    return Response(content, media_type="application/octet-stream")


async def _left(save: Callable[..., None], *arguments: object) -> Response:
    """Leave something on the board."""
    try:
        await run_in_threadpool(functools.partial(save, *arguments))
    except BoardRefusalError as error:
        raise RefusalError(error.status, error.sentence) from error
    return Response(status_code=204)


def _no_route(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return refused(status, _NOTHING if status == 404 else "This is not answered here.")


def _failed(_request: Request, error: Exception) -> Response:
    """The answer where the server lacks something: its disk is full, or a file is damaged. Paths stay here."""
    print(error, flush=True)
    return refused(503 if isinstance(error, EvidenceError) else 507, "The server cannot do that now; its log says why.")
