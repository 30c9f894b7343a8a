"""Script that `launcher_process.py` starts for each message: Flower's `flwr-clientapp`, with silent errors.

Where an app ends by an error that it did not foresee, Flower sends the error's own text to the server. Such a text may
quote a file's name or content. It stays in the SuperNode's log, and a fixed sentence leaves in its place.

It imports nothing of Fedward: the app that it loads finds Fedward's modules in the approved bundle and nowhere else.
"""

from flwr.app.error import Error
from flwr.supernode.cli.flwr_clientapp import flwr_clientapp
from flwr.supernode.runtime import run_clientapp as flower

SILENT = "The hospital's program ended by an error that it did not foresee; the hospital's log says which."


def silent(original: type[Error]) -> type[Error]:
    """Flower's class of errors in messages, which keeps the code and leaves the reason at home."""

    class SilentError(original):  # type: ignore[misc,valid-type]
        def __init__(self, code: int, reason: str | None = None) -> None:  # noqa: ARG002 - it stays here
            super().__init__(code=code, reason=SILENT)

    return SilentError


if __name__ == "__main__":
    flower.Error = silent(flower.Error)  # type: ignore[attr-defined]
    flwr_clientapp()
