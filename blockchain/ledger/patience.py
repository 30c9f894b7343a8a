"""Patience with a node that is away for a moment: being restarted, or with too much to do."""

import time
from collections.abc import Callable
from typing import TypeVar

import requests
from web3.exceptions import Web3RPCError

SEND_PATIENCE_S = 30.0  # for a node that is being restarted
RETRY_S = 0.2
TEMPORARY_HTTP = (429, 502, 503, 504)

_TEMPORARY = ("being stopped", "txpool is full")
_T = TypeVar("_T")


def patiently(action: Callable[[], _T]) -> _T:
    """Repeat an action for a while where the node cannot be reached, or says that it is starting."""
    deadline = time.monotonic() + SEND_PATIENCE_S
    while True:
        try:
            return action()
        except (requests.RequestException, Web3RPCError) as error:
            if not _is_temporary(error) or time.monotonic() >= deadline:
                raise
        time.sleep(RETRY_S)


def _is_temporary(error: Exception) -> bool:
    """Whether a failure is one that passes when a node has started."""
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in TEMPORARY_HTTP
    if isinstance(error, Web3RPCError):
        return any(words in str(error).lower() for words in _TEMPORARY)
    return isinstance(error, requests.ConnectionError)
