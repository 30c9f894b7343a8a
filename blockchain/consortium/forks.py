"""Forks: whether another hospital, or another node, has seen other blocks than those that this hospital is shown.

A server that shows two hospitals two ledgers has two forks of one chain. Each hospital's last checkpoint names the last
block that it saw; on the other fork, that block is another one. A fork that was found is kept in the hospital's folder,
and the hospital signs nothing from then on (`remembering`), until a person has looked into it.
"""

from collections.abc import Iterable
from typing import Protocol

from blockchain.ledger.standing import Chain
from blockchain.signing.checkpoints import SignedCheckpoint, recover_checkpoint_signer
from fedward.errors import VerificationError
from fedward.messages.signed import read_signed
from fedward.types import Address


class Blocks(Protocol):
    """What tells of a chain's blocks."""

    def block_hash(self, height: int) -> bytes | None:
        """32 bytes; hash of the block at a height, or None where the chain does not reach so far."""


def read_others_checkpoint(content: bytes, hospital: Address) -> SignedCheckpoint:
    """A checkpoint that another hospital has left for the others.

    Args:
        content: As it was found; anything.
        hospital: Whose it should be.

    Raises:
        VerificationError: it is no checkpoint, or that hospital has not signed it.
    """
    what, remedy = f"The checkpoint of {hospital} at the server", "Ask that hospital and the administrator."
    signed = read_signed(SignedCheckpoint, content, what, VerificationError, remedy)
    if not signed.checkpoint.hospital == hospital == recover_checkpoint_signer(signed):
        raise VerificationError(f"{what} is not signed by that hospital.", remedy)
    return signed


def fork_seen_by(others: Iterable[SignedCheckpoint], ledger: Chain) -> str | None:
    """What shows that another hospital was shown other blocks; None where nothing does.

    A checkpoint beyond this chain's last block is passed over: the chain may be about to reach it.

    Args:
        others: The other hospitals' checkpoints, their signatures checked.
        ledger: The chain as this hospital is shown it.

    Raises:
        LedgerError: the node cannot be reached.
    """
    for signed in others:
        seen = signed.checkpoint
        if (seen.chain_id, seen.contract) != (ledger.chain_id, ledger.contract):
            return f"{seen.hospital} signed that it follows contract {seen.contract} on chain {seen.chain_id}."
        found = ledger.block_hash(seen.height)
        if found is not None and found != seen.block_hash:
            return (
                f"{seen.hospital} signed that block {seen.height} is {seen.block_hash.hex()}; here it is {found.hex()}."
            )
    return None


def fork_at_second_node(own: SignedCheckpoint, second: Blocks) -> str | None:
    """What shows that a second node has other blocks; None where nothing does, as where it is behind.

    Args:
        own: This hospital's last checkpoint.
        second: The other node.

    Raises:
        LedgerError: the node cannot be reached.
    """
    seen = own.checkpoint
    found = second.block_hash(seen.height)
    if found is None or found == seen.block_hash:
        return None
    return f"The second node has {found.hex()} as block {seen.height}; this hospital was shown {seen.block_hash.hex()}."
