"""Which runs there are, and what is known of each without its ledger."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockchain.node.store_lock import is_in_use
from commands.view.damage import check_record, check_rounds
from fedward.checked_json import checked_json
from fedward.errors import FedwardError, VerificationError
from fedward.files import read_file, resolved
from fedward.folders.places import chain_file, record_file, summary_file
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder

_SUMMARY_BYTES = 64 * 1024**2
_KEY_DIGITS = 10


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it.

    Attributes:
        key: Names it in addresses.
        path: Its folder.
        record: What was fixed before its first round.
        state: "runs", "finished" or "stopped".
        rounds: Its finished rounds, oldest first.
        summary: What came of it; None before it has ended.
    """

    key: str
    path: Path
    record: RunRecord
    state: str
    rounds: tuple[dict[str, Any], ...]
    summary: dict[str, Any] | None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.record.run_id

    @property
    def wanted(self) -> int:
        """How many rounds it is to have."""
        return int(self.record.settings["training"]["rounds"])


@dataclass(frozen=True)
class Damaged:
    """A run whose folder cannot be read.

    Attributes:
        path: Its folder.
        problem: Why.
    """

    path: Path
    problem: str


class Shelf:
    """Finds runs in folders, and reads them anew each time.

    Args:
        paths: Run folders, or folders that have runs in them.
    """

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = tuple(resolved(path) for path in paths)

    def runs(self) -> tuple[tuple[Run, ...], tuple[Damaged, ...]]:
        """All runs, newest first, and those that cannot be read."""
        found, damaged = [], []
        for path in dict.fromkeys(self._folders()):
            try:
                found.append(read_run(path))
            except FedwardError as error:
                damaged.append(Damaged(path, str(error)))
        return tuple(sorted(found, key=lambda run: run.record.created, reverse=True)), tuple(damaged)

    def run(self, key: str) -> Run | None:
        """The run of a key; None where there is none.

        Raises:
            FedwardError: its folder cannot be read.
        """
        path = next((path for path in self._folders() if _key(path) == key), None)
        return None if path is None else read_run(path)

    def _folders(self) -> Iterator[Path]:
        for path in self._paths:
            if record_file(path).is_file():
                yield path
            else:
                yield from sorted(each for each in path.iterdir() if each.is_dir() and record_file(each).is_file())


def read_run(path: Path) -> Run:
    """Read what a run's folder tells.

    Raises:
        FedwardError: something in it is missing or damaged.
    """
    folder = SimulationFolder(path)
    record, summary = folder.server.load_record(), _summary(path)
    check_record(record, record_file(path))
    rounds = folder.server.rounds()
    check_rounds(rounds, folder.server.metrics)
    state = "finished" if summary is not None else "runs" if is_in_use(chain_file(path)) else "stopped"
    return Run(_key(path), path, record, state, tuple(rounds), summary)


def _summary(path: Path) -> dict[str, Any] | None:
    """What `summary.json` says; None before there is one."""
    place = summary_file(path)
    if not place.exists() and not place.is_symlink():
        return None
    content = read_file(place, _SUMMARY_BYTES, "The run's summary", "Restore it from a backup.")
    return checked_json(dict[str, Any], content, f"The run's summary in {place}", VerificationError, "Restore it.")


def _key(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:_KEY_DIGITS]
