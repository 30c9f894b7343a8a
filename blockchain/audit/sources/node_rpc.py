"""JSON-RPC client for a node that is not trusted: answers are bounded in size and time; two kinds of error."""

import itertools
import json
import time
from typing import Any

import requests
import urllib3

from blockchain.ledger.node_url import is_loopback, shown_url, without_path
from fedward.errors import EvidenceError, VerificationError
from fedward.files import parse_json

MAX_ANSWER_BYTES = 64 * 1024 * 1024  # a block's transactions as JSON take about twice their 16 MiB at most
TIMEOUT_S = 60.0  # for a whole answer
METHOD_NOT_FOUND = -32601

_PIECE_BYTES = 64 * 1024
_SHOWN = 200  # characters of what a node says
# What requests, urllib3 and the URL's parsing raise.
_UNREACHABLE = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)


class NodeRpc:
    """Sends requests to one node.

    Args:
        url: Where it answers JSON-RPC.
        max_bytes: Of one answer.
        timeout_s: For one answer, from the request to its last byte.
    """

    def __init__(self, url: str, max_bytes: int = MAX_ANSWER_BYTES, timeout_s: float = TIMEOUT_S) -> None:
        self.url = shown_url(url)
        self._asked_url = url
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._session = requests.Session()
        self._session.trust_env = not is_loopback(url)  # a proxy would look for this machine's port at its own
        self._session.headers["Accept-Encoding"] = "identity"  # else few bytes could unpack to any number

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def ask(self, method: str, *params: Any) -> Any:
        """The result of a request, in JSON's types.

        Raises:
            EvidenceError: the node cannot be reached, or answers with an error.
            VerificationError: its answer is too long, too slow, or no answer to this request.
        """
        offered, result = self.ask_if_offered(method, *params)
        if not offered:
            raise self._refused(method, "it does not have this method")
        return result

    def ask_if_offered(self, method: str, *params: Any) -> tuple[bool, Any]:
        """Whether the node has a method, and if so the result of a request; raises as `ask`."""
        number = next(self._numbers)
        content = self._post({"jsonrpc": "2.0", "id": number, "method": method, "params": params}, method)
        try:
            answer = parse_json(content)
        except (ValueError, RecursionError) as error:
            raise self._unusable(method, "is no JSON") from error
        if not isinstance(answer, dict) or answer.get("id") not in (number, None):
            raise self._unusable(method, "does not belong to the request")
        refusal = answer.get("error")
        if refusal is not None:
            fields = refusal if isinstance(refusal, dict) else {}
            if fields.get("code") == METHOD_NOT_FOUND:
                return False, None
            raise self._refused(method, " ".join(str(fields.get("message", "no reason")).split())[:_SHOWN])
        if "result" not in answer or answer.get("id") is None:
            raise self._unusable(method, "has no result")
        return True, answer["result"]

    def _post(self, request: dict[str, Any], method: str) -> bytes:
        """The bytes of the answer."""
        try:
            with self._session.post(
                self._asked_url,
                data=json.dumps(request).encode(),
                headers={"Content-Type": "application/json"},
                timeout=self._timeout_s,
                stream=True,
                allow_redirects=False,
            ) as response:
                if response.status_code != requests.codes.ok:
                    raise EvidenceError(
                        f"The node at {self.url} answered {method} with HTTP status {response.status_code}.",
                        "Check that --rpc names an Ethereum JSON-RPC endpoint.",
                    )
                return self._read(response, method)
        except _UNREACHABLE as error:
            raise EvidenceError(
                f"The node at {self.url} cannot be reached: {without_path(_shortly(error), self._asked_url)}.",
                "Start the node, or correct --rpc.",
            ) from error

    def _read(self, response: requests.Response, method: str) -> bytes:
        """The body, piece by piece: neither its length nor its pace is the node's to choose."""
        deadline, content = time.monotonic() + self._timeout_s, bytearray()
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
            content += piece
            if len(content) > self._max_bytes:
                raise self._unusable(method, f"is longer than {self._max_bytes:,} bytes")
            if time.monotonic() > deadline:
                raise self._unusable(method, f"takes longer than {self._timeout_s:g} seconds")
        return bytes(content)

    def _refused(self, method: str, said: str) -> EvidenceError:
        return EvidenceError(
            f"The node at {self.url} refused {method}: {said}.", "Use a node that keeps the whole chain."
        )

    def _unusable(self, method: str, what: str) -> VerificationError:
        return VerificationError(
            f"The answer of the node at {self.url} to {method} {what}.", "Compare with another node of this chain."
        )


def _shortly(error: Exception) -> str:
    """The first line of an error, without its full stop."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:_SHOWN].rstrip(".")
