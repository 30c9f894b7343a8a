"""Pages of `main.py view` as tests ask for them, and what a browser would make of them."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import requests
import uvicorn

from commands.view.application import application
from commands.view.serving import listening
from commands.view.shelf import Shelf

TOKEN = "a-token-that-nobody-guesses"
HOSTILE = "<script>alert(1)</script>"


class Links(HTMLParser):
    """What a browser would load or could follow, and the texts that it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.inline: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []  # where each comes from; "" of one that stands in the page
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.scripts += [dict(attrs).get("src") or ""] if tag == "script" else []
        self.places += [value for name, value in attrs if name in ("href", "src", "action") and value]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


class Browser:
    """Asks one server, keeps its cookies, and follows no redirection.

    Attributes:
        port: Where the server listens.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.session = requests.Session()

    def get(self, place: str, method: str = "GET", **options: Any) -> requests.Response:
        address = f"http://127.0.0.1:{self.port}{place}"
        return self.session.request(method, address, allow_redirects=False, timeout=120, **options)


@contextmanager
def served(*paths: Path, known: bool = True) -> Iterator[Browser]:
    """The pages of some runs on a free port, and a browser that has the token, or not."""
    with listening(0) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            application(Shelf(paths), TOKEN, port), log_level="error", access_log=False, ws="none", lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            browser = Browser(port)
            if known:
                assert browser.get(f"/?token={TOKEN}").status_code == 303
            yield browser
        finally:
            server.should_exit = True
            thread.join()


def rewrite(path: Path, change: Any) -> None:
    """Change a file of JSON."""
    fields = json.loads(path.read_bytes())
    change(fields)
    path.write_text(json.dumps(fields))
