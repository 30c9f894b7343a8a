"""`Standing`: what a hospital checks of the ledger before it works on a round, as it is after one block."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from blockchain.ledger.records import LedgerRules, RoundOpening, RoundRecord
from fedward.types import Address


class Chain(Protocol):
    """What shows that a ledger is the one that a hospital joined and last saw."""

    @property
    def chain_id(self) -> int:
        """The chain's id."""

    @property
    def contract(self) -> Address:
        """The contract's address."""

    def genesis_hash(self) -> bytes:
        """32 bytes; hash of block 0."""

    def block_hash(self, height: int) -> bytes | None:
        """32 bytes; hash of the block at a height, or None where the chain does not reach so far."""

    def witnesses(self) -> tuple[Address, ...]:
        """The accounts that may attest to aggregates."""


@dataclass(frozen=True)
class Standing:
    """A `Chain` that was read together with a round, in two requests: one for blocks, one for what the contract holds.

    Attributes:
        chain_id, contract: Which ledger.
        chain: Tells of what was not read along.
        hashes: Of the blocks that were read along, by height; block 0 is among them.
        rules: Of every round.
        latest_round: Number of the last opened round.
        opening_and_round: What the contract holds of the round that was asked about; raises `LedgerError` where it was
            not opened, so that whoever checks the ledger first can name a rewritten one.
    """

    chain_id: int
    contract: Address
    chain: Chain
    hashes: dict[int, bytes | None]
    rules: LedgerRules
    latest_round: int
    opening_and_round: Callable[[], tuple[RoundOpening, RoundRecord]]

    def genesis_hash(self) -> bytes:
        """32 bytes; hash of block 0."""
        return self.hashes[0] or self.chain.genesis_hash()

    def block_hash(self, height: int) -> bytes | None:
        """32 bytes; hash of the block at a height, or None where the chain does not reach so far."""
        return self.hashes[height] if height in self.hashes else self.chain.block_hash(height)

    def witnesses(self) -> tuple[Address, ...]:
        """The accounts that may attest to aggregates."""
        return self.chain.witnesses()
