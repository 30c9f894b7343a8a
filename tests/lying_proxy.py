"""A proxy before a node that changes answers, or gives its own, as a test tells it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

Lie = Callable[[str, list[Any], Any], Any]  # (method, params, honest result) -> what is answered; bytes: the whole body


@contextmanager
def lying_proxy(target: str, lie: Lie) -> Iterator[str]:
    """The proxy's URL, on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = requests.post(target, json=asked, timeout=30).json()
            if isinstance(asked, list):
                for one, found in zip(asked, answer, strict=True):
                    if "result" in found:
                        found["result"] = lie(one["method"], one["params"], found["result"])
                body = json.dumps(answer).encode()
            elif "result" in answer:
                told = lie(asked["method"], asked["params"], answer["result"])
                body = told if isinstance(told, bytes) else json.dumps(answer | {"result": told}).encode()
            else:
                body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
