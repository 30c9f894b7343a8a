"""The file that says where the embedded node of a run listens, beside its chain, for those who follow the run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedward.checked_json import read_json, to_json
from fedward.errors import EvidenceError, VerificationError
from fedward.files import write_atomic


@dataclass(frozen=True)
class NodeAddress:
    """Where a node of the ledger listens, as a file says it."""

    url: str


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
