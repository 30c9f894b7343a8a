"""A proxy before a node that loses what a test tells it to lose: the request, or the answer to it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

SEND = "eth_sendRawTransaction"


class LossyProxy:
    """Passes requests on to a node.

    Attributes:
        url: Where it listens.
        requests_to_lose: Requests with transactions, one or many, that the node will not see.
        answers_to_lose: Requests with transactions that the node will see, and whose answer does not come back.
        raw: The transactions that came by, repetitions included.
        on_loss: Called each time that something is lost.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.requests_to_lose = 0
        self.answers_to_lose = 0
        self.raw: list[str] = []
        self.on_loss: Callable[[], None] = lambda: None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805  `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked = json.loads(body)
                sent = [
                    one["params"][0] for one in (asked if isinstance(asked, list) else [asked]) if one["method"] == SEND
                ]
                sending = bool(sent)
                proxy.raw.extend(sent)
                if sending and proxy.requests_to_lose > 0:
                    proxy.requests_to_lose -= 1
                    proxy.on_loss()
                    return  # the connection ends without an answer
                answer = requests.post(
                    proxy.target, body, headers={"Content-Type": "application/json"}, timeout=30
                ).content
                if sending and proxy.answers_to_lose > 0:
                    proxy.answers_to_lose -= 1
                    proxy.on_loss()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def lossy_proxy(target: str) -> Iterator[LossyProxy]:
    """A proxy on a free port of loopback."""
    proxy = LossyProxy(target)
    thread = threading.Thread(target=proxy.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()
