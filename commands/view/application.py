"""The pages' addresses, and who answers each."""

import hmac
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from commands.view import pages
from commands.view.chain import Chain
from commands.view.dropped import MOST_BYTES, told_of
from commands.view.following import Ledgers, StillReadingError
from commands.view.guard import WITH_SCRIPTS, Guard
from commands.view.hospitals_page import hospitals_page
from commands.view.ledger_source import State, store_state
from commands.view.model_page import Wish, model_page
from commands.view.shelf import Run, Shelf
from commands.view.verifying import Verifier, verification_page
from fedward.errors import FedwardError
from fedward.figures.plots import as_png, learning_curves
from fedward.files import read_file

_INLINE = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_PNG, _MOST_PICTURE_BYTES = "image/png", 8 * 2**20
_IN_USE = "Its ledger is in use. Run: main.py audit RUN --follow, which audits round by round."
_SCRIPTS = frozenset({"threshold.js", "drop.js"})
_SCRIPTED = {"Content-Security-Policy": WITH_SCRIPTS}


def application(shelf: Shelf, token: str, port: int) -> Starlette:
    """The application that serves the pages.

    Args:
        shelf: The runs.
        token: Without it nothing is shown.
        port: Where it is served.
    """
    site = _Site(shelf)
    routes = [
        Route("/", site.shelf),
        Route("/style.css", site.style),
        Route("/icon.svg", site.icon),
        Route("/favicon.ico", site.icon),  # browsers ask for it where a page names none
        Route("/scripts/{name}", site.script),
        Route("/runs/{key}", site.run),
        Route("/runs/{key}/model", site.model),
        Route("/runs/{key}/model/image", site.dropped, methods=["POST"]),
        Route("/runs/{key}/model/images/{name}", site.heat_map),
        Route("/runs/{key}/hospitals", site.hospitals),
        Route("/runs/{key}/curves.png", site.curves),
        Route("/runs/{key}/pictures/{name}", site.picture),
        Route("/runs/{key}/rounds/{index:int}", site.round),
        Route("/runs/{key}/rounds/{index:int}/verification", site.verification, methods=["GET", "POST"]),
        Route("/runs/{key}/rounds/{index:int}/ciphertexts/{name}", site.ciphertext),
        Route("/runs/{key}/ledger", site.ledger),
        Route("/runs/{key}/blocks/{number:int}", site.block),
        Route("/runs/{key}/transactions/{hash}", site.transaction),
        Route("/runs/{key}/search", site.search),
        Route("/runs/{key}/audit", site.audit),
        Route("/runs/{key}/report", site.report),
    ]
    handlers = {HTTPException: _missing, FedwardError: _failed, StillReadingError: _reading, Exception: _broken}
    guard = Middleware(BaseHTTPMiddleware, dispatch=Guard(token, port))
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers)


class _Site:
    """Answers requests; Starlette runs each in a thread of its own."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._ledgers = shelf, Ledgers()
        self._reading = threading.Lock()  # one reader of stores at a time
        self._audits: dict[Path, tuple[State | None, str]] = {}
        self._verifier = Verifier(self._reading)
        self._looking = threading.Lock()  # at one image at a time
        self._heat_map = "", b""  # of the last image alone: its name in addresses, which nobody guesses, and PNG

    def shelf(self, request: Request) -> Response:  # noqa: ARG002
        runs, damaged = self._shelf.runs()
        if len(runs) == 1 and not damaged:
            return RedirectResponse(f"/runs/{runs[0].key}", 303)
        return HTMLResponse(pages.shelf_page(runs, damaged))

    def style(self, request: Request) -> Response:  # noqa: ARG002
        return Response((pages.TEMPLATES / "style.css").read_text(), media_type="text/css")

    def icon(self, request: Request) -> Response:  # noqa: ARG002
        return Response((pages.TEMPLATES / "icon.svg").read_text(), media_type="image/svg+xml")

    def script(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _SCRIPTS:
            raise HTTPException(404)
        return Response((pages.TEMPLATES / name).read_text(), media_type="text/javascript")

    def run(self, request: Request) -> Response:
        run = self._found(request)
        self._ledgers.begin(run)
        return HTMLResponse(pages.run_page(run, request.query_params))

    def model(self, request: Request) -> Response:
        run = self._found(request)
        there = tuple(name for name in pages.PICTURES if (run.path / name).is_file())
        return HTMLResponse(model_page(run, Wish.of(request.query_params), there), headers=_SCRIPTED)

    async def dropped(self, request: Request) -> Response:
        """What the model says of the image that is the request's body."""
        run, body = self._found(request), bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                sentence = f"An image's file may have {MOST_BYTES // 2**20} MiB."
                return HTMLResponse(pages.problem_page("This file is too large", sentence), 413)
        if not self._looking.acquire(blocking=False):
            sentence = "Give it another once it has told of the one before."
            return HTMLResponse(pages.problem_page("The model looks at an image", sentence), 409)
        try:
            told = await run_in_threadpool(told_of, run.path, bytes(body))
        finally:
            self._looking.release()
        name = secrets.token_urlsafe(16)
        self._heat_map = name, told.picture or b""
        picture = f"/runs/{run.key}/model/images/{name}" if told.picture else ""
        return HTMLResponse(pages.page("told", run=run, live=False, told=told, picture=picture))

    def heat_map(self, request: Request) -> Response:
        name, picture = self._heat_map
        if not hmac.compare_digest(request.path_params["name"].encode(), name.encode()) or not picture:
            raise HTTPException(404)
        return Response(picture, media_type=_PNG)

    def hospitals(self, request: Request) -> Response:
        return self._of_ledger(request, hospitals_page)

    def curves(self, request: Request) -> Response:
        run = self._found(request)
        return Response(as_png(learning_curves(list(run.rounds), run.record.findings)), media_type=_PNG)

    def picture(self, request: Request) -> Response:
        path = self._found(request).path / request.path_params["name"]
        if path.name not in pages.PICTURES or not path.is_file() or path.is_symlink():
            raise HTTPException(404)
        content = read_file(path, _MOST_PICTURE_BYTES, f"The picture {path.name}", "Restore it from a backup.")
        return Response(content, media_type=_PNG)

    def round(self, request: Request) -> Response:
        return self._of_ledger(request, lambda run, chain: pages.round_page(run, chain, request.path_params["index"]))

    def verification(self, request: Request) -> Response:
        """The audit's steps for one round of a run that has ended or stopped: begun by a POST, shown by a GET."""
        run, index = self._found(request), request.path_params["index"]
        if run.state == "runs":
            return HTMLResponse(pages.problem_page("The run has not ended", _IN_USE), 409)
        if request.method == "POST":
            with self._ledgers.reading(run) as chain:
                known = chain.has_round(index)
            if not known:
                raise HTTPException(404)
            if not self._verifier.start(run, index):
                sentence = "Wait until it has ended, and ask again."
                return HTMLResponse(pages.problem_page("Another round is being verified", sentence), 409)
            return RedirectResponse(request.url.path, 303)
        return HTMLResponse(verification_page(run, index, self._verifier.of(run, index)))

    def ledger(self, request: Request) -> Response:
        return self._of_ledger(request, lambda run, chain: pages.ledger_page(run, chain, request.query_params))

    def block(self, request: Request) -> Response:
        return self._of_ledger(request, lambda run, chain: pages.block_page(run, chain, request.path_params["number"]))

    def transaction(self, request: Request) -> Response:
        wanted = request.path_params["hash"]
        return self._of_ledger(request, lambda run, chain: pages.transaction_page(run, chain, wanted))

    def search(self, request: Request) -> Response:
        return self._of_ledger(request, lambda run, chain: pages.search_page(run, chain, request.query_params))

    def ciphertext(self, request: Request) -> Response:
        place = request.path_params
        return _page(pages.ciphertext_page(self._found(request), place["index"], place["name"]))

    def audit(self, request: Request) -> Response:
        """The page of a whole audit of a run that has ended or stopped; made once for each state of its ledger."""
        from commands.audit.examination import audited
        from commands.audit.page import render_page
        from commands.audit.trust_source import TrustSource

        run = self._found(request)
        if run.state == "runs":
            return HTMLResponse(pages.problem_page("The run has not ended", _IN_USE), 409)
        with self._reading:
            state = store_state(run)
            kept = self._audits.get(run.path)
            if kept is None or kept[0] != state:
                shown = render_page(audited(run.path, None), TrustSource.of((), run.path))
                kept = self._audits[run.path] = state, shown
        return HTMLResponse(kept[1], headers={"Content-Security-Policy": _INLINE})

    def report(self, request: Request) -> Response:
        """What `report.html` of a run that has ended holds, made anew."""
        from commands.report.writing import render_report

        run = self._found(request)
        if run.summary is None:
            raise HTTPException(404)
        with self._reading:
            shown = render_report(run.path)
        return HTMLResponse(shown, headers={"Content-Security-Policy": f"{_INLINE}; img-src data:"})

    def _of_ledger(self, request: Request, page: Callable[[Run, Chain], str | None]) -> Response:
        run = self._found(request)
        with self._ledgers.reading(run) as chain:
            return _page(page(run, chain))

    def _found(self, request: Request) -> Run:
        run = self._shelf.run(request.path_params["key"])
        if run is None:
            raise HTTPException(404)
        return run


def _page(content: str | None) -> Response:
    if content is None:
        raise HTTPException(404)
    return HTMLResponse(content)


def _missing(request: Request, error: Exception) -> Response:  # noqa: ARG001
    status = error.status_code if isinstance(error, HTTPException) else 500
    return HTMLResponse(pages.problem_page("Not here", "There is no such page. Begin with the list of runs."), status)


def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return HTMLResponse(pages.problem_page("This cannot be shown", str(error)), 500)


def _reading(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """A page that needs more of a ledger than was read yet; it asks again by itself."""
    if not isinstance(error, StillReadingError):
        raise error
    content = pages.reading_page(error.run, error.done, error.of)
    return HTMLResponse(content, 503, {"Retry-After": "5"})


def _broken(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """What nobody has thought of; the terminal shows where."""
    sentence = "This is a mistake in Fedward: the terminal says where. Please report it."
    return HTMLResponse(pages.problem_page("This page broke", sentence), 500)
