"""Where a node of the ledger listens: the file beside an embedded node's chain, and how others reach it by TLS."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from requests import PreparedRequest
from requests.auth import AuthBase

from fedward.checked_json import read_json, to_json
from fedward.errors import EvidenceError, VerificationError
from fedward.files import read_private, write_atomic

_MOST_BYTES = 64 * 1024
_RESTORE = "Restore it from a backup, or enroll anew."


@dataclass(frozen=True)
class NodeAddress:
    """Where a node of the ledger listens, as a file says it.

    Attributes:
        url: Of its JSON-RPC.
        certificate: Path of a certificate authority, PEM, which alone is trusted for https; empty: those that this
            system trusts.
        token_file: Path of a file, readable by its owner only, with the token that opens the node; empty: none does.
    """

    url: str
    certificate: str = ""
    token_file: str = ""

    def bearer(self) -> "Bearer | None":
        """What opens the node; None where nothing is needed.

        Raises:
            UsageError: the file is missing, or other users may read it.
        """
        if not self.token_file:
            return None
        content = read_private(Path(self.token_file), _MOST_BYTES, f"The token in {self.token_file}", _RESTORE)
        return Bearer(content.decode(errors="replace").strip())


class Bearer(AuthBase):
    """Adds a token to requests. As nothing else shows it, it comes into no message of an error."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """See `requests`."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@contextmanager
def announced(ledger: Path, url: str) -> Iterator[None]:
    """Keep a file with the node's URL while the node answers. A crash leaves the file: readers ask the node who it is.

    Args:
        ledger: The folder of the embedded node.
        url: Where it answers.

    Raises:
        ResourceError: the disk is full.
    """
    path = ledger / "node.json"
    write_atomic(path, json.dumps(to_json(NodeAddress(url))).encode(), 0o600)  # it holds the secret that opens the node
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def announced_url(ledger: Path) -> str | None:
    """Where the node of a folder says that it answers, now or before a crash; None where it does not say."""
    try:
        return read_json(NodeAddress, ledger / "node.json", "The node's address", "Start the node.").url
    except (EvidenceError, VerificationError):
        return None
