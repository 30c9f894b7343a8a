"""Runs that are made once a session, whichever test or process of it asks first, and that tests read or copy.

To found a consortium and lead its rounds takes seconds, and most tests want the same: a run as it is before anything is
done to it. `SharedRuns.folder` gives such a folder to read, `SharedRuns.federation` a copy to go on with. A folder
that a test changed all the same fails the session.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from federation import PRIVATE_SCATTER, Federation, founded, going_on

from blockchain.audit.sources.bundle import write_bundle
from blockchain.audit.sources.run_evidence import RunEvidence
from commands.simulate.conclusion import conclude
from fedward.tables import Scalar
from fedward.timing import Stopwatch

# Marks a test whose fixture `federation` has led one honest round already.
AFTER_A_ROUND = pytest.mark.parametrize("federation", [1], indirect=True, ids=["after a round"])


def rounds_before(request: pytest.FixtureRequest) -> int:
    """How many rounds a test wants to be led before it begins."""
    return int(getattr(request, "param", 0))


class SharedRuns:
    """What the processes of one session share.

    Args:
        place: A folder of the session's, the same in all of its processes.

    Guarantees:
        1. Each run is made once a session; whoever asks meanwhile waits.
        2. `check` finds a folder that was changed after it was made.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._given: dict[str, Path] = {}

    def folder(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of a name, which `make` fills the first time: for reading; to change it, copy it."""
        place = self._place / name
        if name in self._given:
            return self._given[name]
        self._place.mkdir(parents=True, exist_ok=True)
        with (self._place / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made = self._place / f"{name}.made"
            if not made.exists():
                shutil.rmtree(place, ignore_errors=True)  # of a process that failed or was stopped
                place.mkdir()
                make(place)
                made.write_text(json.dumps(_contents(place)))
        self._given[name] = place
        return place

    @contextmanager
    def federation(self, path: Path, *overrides: tuple[str, Scalar], rounds: int = 0) -> Iterator[Federation]:
        """A copy of a federation that was founded, and led some honest rounds, all accepted; its node runs.

        As `founded`, but that federations of the same settings have the same parties and the same contract.

        Args:
            path: Where the copy goes.
            overrides: As for `founded`.
            rounds: How many rounds were led already.
        """

        def make(place: Path) -> None:
            with founded(place / "run", *overrides) as made:
                for _ in range(rounds):
                    assert made.lead_round()["phase"] == "accepted"

        name = sha256(repr((overrides, rounds)).encode()).hexdigest()[:16]
        shutil.copytree(self.folder(name, make) / "run", path)
        with going_on(path, *overrides) as federation:
            yield federation

    def concluded(self) -> Path:
        """A folder with a finished run of two private rounds, `run`, and its bundle with ciphertexts, `bundle`."""

        def make(place: Path) -> None:
            with self.federation(place / "run", *PRIVATE_SCATTER, rounds=2) as federation:
                conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())
            write_bundle(RunEvidence(place / "run"), place / "bundle", with_ciphertexts=True)

        return self.folder("concluded", make)

    def check(self) -> list[str]:
        """Names of files that were changed, removed or added since they were made."""
        found = []
        for name, place in self._given.items():
            before = json.loads((self._place / f"{name}.made").read_text())
            now = _contents(place)
            found += [f"{name}/{file}" for file in sorted({*before, *now}) if before.get(file) != now.get(file)]
        return found


def _contents(place: Path) -> dict[str, str]:
    """The digest of each file."""
    files = (path for path in place.rglob("*") if path.is_file())
    return {path.relative_to(place).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}
