"""Where the embedded node of a run answers, written down beside its chain for those who follow the run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedward.files import parse_json, write_atomic

_MAX_BYTES = 4096


@contextmanager
def announced(ledger: Path, url: str) -> Iterator[None]:
    """Tell where the node answers, for as long as it does; a crash leaves the file, so readers ask the node who it is.

    Args:
        ledger: The folder of the embedded node.
        url: Where it answers.

    Raises:
        ResourceError: the disk is full.
    """
    path = ledger / "node.json"
    write_atomic(path, json.dumps({"url": url}).encode(), 0o600)  # it holds the secret that opens the node
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def announced_url(ledger: Path) -> str | None:
    """Where the node of a folder says that it answers, now or before a crash; None where it does not say."""
    try:
        with (ledger / "node.json").open("rb") as file:
            url = parse_json(file.read(_MAX_BYTES))["url"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return url if isinstance(url, str) else None
