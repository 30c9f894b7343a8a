"""Where a running run's node answers, written down in the run folder for those who follow it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from fedward.files import parse_json, write_atomic
from fedward.folders.run import RunFolder

_MAX_BYTES = 4096


@contextmanager
def announced(run: RunFolder, url: str) -> Iterator[None]:
    """Tell where the node answers, for as long as it does; a crash leaves the file, so readers ask the node who it is.

    Raises:
        ResourceError: the disk is full.
    """
    path = run.ledger / "node.json"
    write_atomic(path, json.dumps({"url": url}).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def announced_url(run: RunFolder) -> str | None:
    """Where the run's node says that it answers, now or before a crash; None where it does not say."""
    try:
        with (run.ledger / "node.json").open("rb") as file:
            url = parse_json(file.read(_MAX_BYTES))["url"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return url if isinstance(url, str) else None
