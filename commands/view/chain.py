"""A run's ledger as pages show it: executed blocks, the contract's events in their order, and what both contain.

What is shown is what the chain says, decoded. Whether that holds is for the audit, which runs every transaction again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blockchain.audit.blocks import decode_block, decode_receipts
from blockchain.audit.history import ExecutedBlock, ExecutedTransaction, ledger_events
from blockchain.audit.sources.evidence import RawBlock
from blockchain.audit.sources.node_evidence import NodeEvidence
from blockchain.audit.sources.node_rpc import NodeRpc
from blockchain.ledger.events import LedgerEvent, RoundEvent
from blockchain.node.store_lock import is_in_use
from blockchain.node.stored_chain import StoredChain
from commands.view.shelf import Run
from fedward.folders.places import chain_file
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import announced_url


@dataclass(frozen=True)
class Chain:
    """What a run's ledger says at one moment.

    Attributes:
        blocks: All blocks after block 0, in order.
        events: The ledger's own events, in the order of the chain.
    """

    blocks: tuple[ExecutedBlock, ...]
    events: tuple[LedgerEvent, ...]

    def block(self, number: int) -> ExecutedBlock | None:
        """A block by its number; None where there is none."""
        return self.blocks[number - 1] if 1 <= number <= len(self.blocks) else None

    def transaction(self, transaction_hash: bytes) -> ExecutedTransaction | None:
        """A transaction by its hash; None where there is none."""
        return next((each for each in self.transactions() if each.transaction_hash == transaction_hash), None)

    def transactions(self) -> Iterator[ExecutedTransaction]:
        """All transactions, in order."""
        return (transaction for block in self.blocks for transaction in block.transactions)

    def events_of(self, transaction_hash: bytes) -> tuple[LedgerEvent, ...]:
        """The events that a transaction made."""
        return tuple(event for event in self.events if event.transaction_hash == transaction_hash)

    def round(self, index: int) -> tuple[RoundEvent, ...]:
        """The events of a round, in order."""
        return tuple(event for event in self.events if isinstance(event, RoundEvent) and event.round_index == index)

    def rounds(self) -> tuple[int, ...]:
        """The rounds that were opened, in order."""
        return tuple(dict.fromkeys(event.round_index for event in self.events if isinstance(event, RoundEvent)))


class Chains:
    """Reads chains, each anew only where it has grown."""

    def __init__(self) -> None:
        self._stored: dict[Path, tuple[tuple[int, int], Chain]] = {}
        self._nodes: dict[Path, NodeEvidence] = {}

    def of(self, run: Run) -> Chain:
        """A run's chain: from its node while that runs, else from its store.

        Raises:
            FedwardError: it is missing or damaged, or the node does not answer.
        """
        path = chain_file(run.path)
        url = announced_url(SimulationFolder(run.path).ledger) if is_in_use(path) else None
        if url is not None:
            return self._asked(run, url)
        self._nodes.pop(run.path, None)
        stat = path.stat() if path.exists() else None
        state = (stat.st_mtime_ns, stat.st_size) if stat else (0, 0)
        kept = self._stored.get(run.path)
        if kept is None or kept[0] != state:
            kept = state, _chain(_stored_blocks(path), run)
            self._stored[run.path] = kept
        return kept[1]

    def _asked(self, run: Run, url: str) -> Chain:
        evidence = self._nodes.get(run.path)
        if evidence is None:
            evidence = self._nodes[run.path] = NodeEvidence(NodeRpc(url), run.record.contract)
        evidence.refresh()
        return _chain(evidence.told(), run)


def _chain(blocks: tuple[ExecutedBlock, ...], run: Run) -> Chain:
    return Chain(blocks, tuple(ledger_events(blocks, run.record.contract)))


def _stored_blocks(path: Path) -> tuple[ExecutedBlock, ...]:
    """The blocks of a store that no node holds, with the receipts that it keeps."""
    with StoredChain.open(path) as chain:
        return tuple(
            decode_block(RawBlock(number, chain.block(number))).executed(decode_receipts(chain.receipts(number)))
            for number in range(1, chain.height() + 1)
        )
