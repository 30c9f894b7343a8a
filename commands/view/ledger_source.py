"""Where a ledger's blocks come from: the run's own store, or the node that holds it while the run goes on."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from blockchain.audit.blocks import DecodedBlock, decode_block, decode_header, decode_receipts
from blockchain.audit.history import ExecutedBlock
from blockchain.audit.sources.evidence import RawBlock
from blockchain.audit.sources.node_evidence import MAX_BLOCKS
from blockchain.audit.sources.node_fetching import NodeFetcher
from blockchain.audit.sources.node_rpc import NodeRpc
from blockchain.node.store_lock import is_in_use
from blockchain.node.stored_chain import StoredChain
from commands.view.shelf import Run
from fedward.errors import EvidenceError
from fedward.folders.places import chain_file
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import announced_url

State = tuple[tuple[int, int, int], ...]  # of a store's files: inode, nanoseconds of the last change, bytes


class Source(Protocol):
    """Blocks after block 0; its methods raise `EvidenceError` and `VerificationError`."""

    def height(self) -> int:
        """Number of the last block."""

    def block_hash(self, number: int) -> bytes | None:
        """A block's hash (32 bytes); None where there is none."""

    def block(self, number: int) -> tuple[ExecutedBlock, bytes]:
        """A block, and the hash (32 bytes) of the one before it, as its header has it."""


class _Store:
    """The store of a run whose node is stopped."""

    def __init__(self, chain: StoredChain) -> None:
        self._chain = chain

    def height(self) -> int:
        return self._chain.height()

    def block_hash(self, number: int) -> bytes | None:
        return decode_header(self._chain.header(number))[1] if number <= self.height() else None

    def block(self, number: int) -> tuple[ExecutedBlock, bytes]:
        block = decode_block(RawBlock(number, self._chain.block(number)))
        return _told(block, self._chain.receipts(number))


class _Node:
    """The node of a run that goes on."""

    def __init__(self, fetcher: NodeFetcher) -> None:
        self._fetcher = fetcher

    def height(self) -> int:
        height = self._fetcher.height()
        if height > MAX_BLOCKS:
            raise EvidenceError(f"The node's chain has {height:,} blocks.", f"Pages show {MAX_BLOCKS:,} at most.")
        return height

    def block_hash(self, number: int) -> bytes | None:
        return self._fetcher.block_hash(number)

    def block(self, number: int) -> tuple[ExecutedBlock, bytes]:
        raw = self._fetcher.block(number)
        return _told(decode_block(raw, any_fork=True), raw.receipts or ())


def _told(block: DecodedBlock, receipts: tuple[bytes, ...]) -> tuple[ExecutedBlock, bytes]:
    return block.executed(decode_receipts(receipts)), bytes(block.header.parent_hash)


def store_state(run: Run) -> State | None:
    """What changes when somebody writes to the run's store; None while a node that tells its address holds it."""
    path = chain_file(run.path)
    return None if _node_url(run) else tuple(_stat(file) for file in (path, path.with_name(f"{path.name}-wal")))


@contextmanager
def ledger_source(run: Run) -> Iterator[Source]:
    """A run's ledger: from its node while that runs, else from its store.

    Raises:
        FedwardError: it is missing or damaged, or the node does not answer.
    """
    url = _node_url(run)
    if url:
        with contextlib.closing(NodeRpc(url)) as rpc:
            yield _Node(NodeFetcher(rpc))
    else:
        with StoredChain.open(chain_file(run.path)) as chain:
            yield _Store(chain)


def _node_url(run: Run) -> str | None:
    return announced_url(SimulationFolder(run.path).ledger) if is_in_use(chain_file(run.path)) else None


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.lstat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size
