"""Script that `server_processes.py` starts: Flower's SuperLink, with a secret that opens its Control API.

Flower's Control API starts runs of any code and registers nodes, and asks nobody who he is. On loopback, every user of
the machine could call it. Here it answers only requests that bear a secret. The Fleet API has Flower's own
authentication, and the Runtime API answers only who has a task's token or the launcher's secret.

It imports nothing of Fedward: a ServerApp finds Fedward's modules in the bundle and nowhere else.
"""

import contextlib
import hmac
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flwr.superlink.main as flower
import psutil
from fastapi import FastAPI
from flwr.superlink.cli.flower_superlink import flower_superlink
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

CONTROL_HEADER = b"fedward-control"
OPEN = ("/v1/fleet/", "/v1/runtime/")  # which have authentication of their own
HEALTH = "/health"


class Guard:
    """Lets a request through if its route has authentication of its own, or if it bears the secret."""

    def __init__(self, app: ASGIApp, secret: bytes) -> None:
        self._app = app
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan" or self._may(scope):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse("There is nothing here for you.\n", 404)(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        given = dict(scope["headers"]).get(CONTROL_HEADER, b"")
        path: str = scope["path"]
        return path == HEALTH or path.startswith(OPEN) or hmac.compare_digest(given, self._secret)


def main(secret: bytes, arguments: list[str]) -> None:
    """Run Flower's SuperLink until asked to end.

    Args:
        secret: What opens the Control API.
        arguments: Flower's own.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    flower.create_app = _guarded(flower.create_app, secret)
    sys.argv = ["flower-superlink", *arguments]
    flower_superlink()


def _guarded(create_app: Callable[..., FastAPI], secret: bytes) -> Callable[..., FastAPI]:
    """Flower's function that makes the SuperLink's app, with the guard around that app."""

    def create(*arguments: Any, **options: Any) -> FastAPI:
        app = create_app(*arguments, **options)
        app.add_middleware(Guard, secret=secret)  # what is added last is outermost
        return app

    return create


def _end_with_parent() -> None:
    """End this process with all its children when standard input ends: its parent has ended, however."""
    while os.read(sys.stdin.fileno(), 1):  # by no buffer, which the interpreter would want to lock when it ends
        pass
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_bytes(), sys.argv[2:])
