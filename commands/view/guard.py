"""Who may see a page: a browser on this machine that has the token; and what a page may do there: show itself.

Every page shows texts from outside: names of hospitals, of classes, of files, reasons on a ledger. Templates escape
them; the policy below keeps a mistake there from mattering, as no page has anything from elsewhere, and those that have
scripts have files of ours: what stands in a page is never run.
"""

import hmac
from collections.abc import Awaitable, Callable

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

Handler = Callable[[Request], Awaitable[Response]]

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
WITH_SCRIPTS = POLICY + "; script-src 'self'; connect-src 'self'"  # of the pages that say so themselves
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none at all, forms of these pages would come from nowhere
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


_READING = ("GET", "HEAD")  # methods that change nothing


class Guard:
    """Middleware: lets through who has the token and asks for this machine, and sets every answer's headers.

    Args:
        token: What the printed address carries.
        port: Where the pages are served.
    """

    def __init__(self, token: str, port: int) -> None:
        self._token = token
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._origins = {f"http://{host}" for host in self._hosts}
        self._cookie = f"fedward-view-{port}"  # cookies are shared by all ports of a host

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Answer a request, or say why not."""
        response = self._refusal(request) or self._entrance(request) or await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _refusal(self, request: Request) -> Response | None:
        """The answer to whoever may not see the page; None to others."""
        if request.headers.get("host") not in self._hosts:  # a page elsewhere whose name was made to mean this machine
            return PlainTextResponse("This server answers to its own address only.\n", 421)
        if request.method not in _READING and request.headers.get("origin") not in self._origins:
            return PlainTextResponse("Only pages of this server may send something here.\n", 403)
        shown = request.query_params.get("token") or request.cookies.get(self._cookie, "")
        if not hmac.compare_digest(shown.encode(), self._token.encode()):
            return PlainTextResponse("Open the whole address that `main.py view` printed.\n", 403)
        return None

    def _entrance(self, request: Request) -> Response | None:
        """The answer to who comes with the token in the address: a cookie in its place."""
        if "token" not in request.query_params:
            return None
        response = RedirectResponse(str(URL(path=request.url.path)), 303)
        response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        return response
