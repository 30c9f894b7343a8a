"""Keeps an index of each ledger that pages ask for, and goes on with it as the chain grows, in a thread of its own.

Nobody waits for a long ledger: a page that needs more than the index has yet says how far it is, and asks again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands.view.chain import Chain
from commands.view.ledger_index import LedgerIndex
from commands.view.ledger_source import Source, State, ledger_source, store_state
from commands.view.shelf import Run
from fedward.errors import EvidenceError, FedwardError
from fedward.types import Address

PATIENCE_S = 1.0  # that a page waits for the index
MOST_LEDGERS = 4  # indexes that are kept
_BATCH = 50  # blocks that are added at once
_ATTEMPTS = 3


class StillReadingError(Exception):
    """The index of a ledger is not as far as its chain yet.

    Attributes:
        run: Whose ledger.
        done, of: Blocks that were read, and blocks that there are; 0 before that is known.
    """

    def __init__(self, run: Run, done: int, of: int) -> None:
        super().__init__(run, done, of)
        self.run, self.done, self.of = run, done, of


class _Reading:
    """One attempt to bring an index up to its chain."""

    def __init__(self, followed: "_Followed", run: Run) -> None:
        self.error: FedwardError | None = EvidenceError("The ledger could not be read.", "The terminal says why.")
        self.ended = threading.Event()
        self._followed, self._run = followed, run

    def start(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            self._followed.catch_up(self._run)
            self.error = None
        except FedwardError as error:  # raised again in the thread of whoever asked
            self.error = error
        finally:
            self.ended.set()


class _Followed:
    """The index of one ledger, and how far it is."""

    def __init__(self, contract: Address) -> None:
        self.index = LedgerIndex(contract)
        self.target = 0  # how many blocks there are
        self._starting = threading.Lock()
        self._reading: _Reading | None = None
        self._state: State | None = None  # of the store that the index was made of; None: of a node
        self._whole = False

    @property
    def at_work(self) -> bool:
        """Whether a thread is reading."""
        return self._reading is not None and not self._reading.ended.is_set()

    def follow(self, run: Run, patience_s: float) -> None:
        """Bring the index up to the chain.

        Raises:
            StillReadingError: it takes longer than that.
            FedwardError: the ledger cannot be read.
        """
        with self._starting:
            if not self.at_work:
                state = store_state(run)
                if self._whole and state is not None and state == self._state:
                    return
                self._reading = _Reading(self, run)
                self._reading.start()
            reading = self._reading
        if reading is None or not reading.ended.wait(patience_s):
            raise StillReadingError(run, self.index.height, self.target)
        if reading.error:
            raise reading.error

    def catch_up(self, run: Run) -> None:
        """Read what is new; all anew where the chain is another."""
        for _ in range(_ATTEMPTS):
            state = store_state(run)
            changed = self._state is not None and state is not None and state != self._state
            self._whole = False
            with ledger_source(run) as source:
                if changed or not self._continues(source):
                    self.index.clear()
                self._state = state
                if self._read_on(source, state is None):
                    self._whole = True
                    return
            self.index.clear()
        raise EvidenceError("The node's chain was replaced while it was read.", "Load this page again.")

    def _continues(self, source: Source) -> bool:
        """Whether the last block of the index is on the source's chain."""
        height = self.index.height
        return height == 0 or source.block_hash(height) == self.index.last_hash

    def _read_on(self, source: Source, live: bool) -> bool:
        """Blocks from the first one that is missing; False where a node's chain was reorganized meanwhile."""
        self.target = source.height()
        for first in range(self.index.height + 1, self.target + 1, _BATCH):
            found, before = [], self.index.last_hash
            for number in range(first, min(first + _BATCH, self.target + 1)):
                block, parent = source.block(number)
                if live and before and parent != before:
                    return False
                before = block.block_hash
                found.append(block)
            self.index.add(found)
        return not live or self._continues(source)


class Ledgers:
    """The ledgers of runs, of which a few indexes are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._followed: dict[tuple[Path, Address], _Followed] = {}

    def begin(self, run: Run) -> None:
        """Begin to read a ledger that will be asked for."""
        try:
            self._of(run).follow(run, 0)
        except (StillReadingError, FedwardError):
            return  # whoever asks for the ledger is told

    @contextmanager
    def reading(self, run: Run) -> Iterator[Chain]:
        """A run's ledger, as it is for as long as the block lasts.

        Raises:
            StillReadingError: its index is not far enough yet.
            FedwardError: it is missing or damaged, or the node does not answer.
        """
        followed = self._of(run)
        followed.follow(run, PATIENCE_S)
        with followed.index.lock:
            yield Chain(followed.index)

    def _of(self, run: Run) -> _Followed:
        """The index of a run, which is then the last that is given up; one that is being made is not."""
        key = run.path, run.record.contract
        with self._lock:
            followed = self._followed.pop(key, None) or _Followed(run.record.contract)
            self._followed[key] = followed
            for other in list(self._followed)[:-MOST_LEDGERS]:
                if not self._followed[other].at_work:
                    del self._followed[other]
            return followed


@contextmanager
def whole_ledger(run: Run) -> Iterator[Chain]:
    """A run's ledger for whoever waits until all of it is read, such as a report.

    Raises:
        FedwardError: as `Ledgers.reading`.
    """
    followed = _Followed(run.record.contract)
    try:
        followed.catch_up(run)
        yield Chain(followed.index)
    finally:
        followed.index.close()
