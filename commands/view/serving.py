"""Serves the pages on loopback until Ctrl-C."""

import contextlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from commands import console
from commands.view.application import application
from commands.view.shelf import Shelf
from fedward.errors import ResourceError, UsageError

HOST = "127.0.0.1"
_TOKEN_BYTES = 16


def serve(paths: tuple[Path, ...], port: int) -> None:
    """Print the address of the pages, and serve them.

    Raises:
        UsageError: a folder is missing.
        ResourceError: the port is taken.
    """
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"There is no folder {path}.", "Name a run's folder, or one that has runs in it.")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with listening(port) as listener:
        bound = listener.getsockname()[1]
        config = uvicorn.Config(
            application(Shelf(paths), token, bound),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="off",
        )
        console.out.print(f"http://{HOST}:{bound}/?token={token}", soft_wrap=True, markup=False)
        console.note(
            "Open this address in a browser on this machine; Ctrl-C ends it. It is yours alone: do not share it."
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket on loopback.

    Raises:
        ResourceError: the port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise ResourceError(f"Port {port} cannot be used ({error.strerror}).", "Choose another --port.") from error
        listener.listen()
        yield listener
