"""Sums that are still encrypted, and the one door through which hospitals open them.

Whoever wants the numbers inside builds a `ClosedSum` and hands it to a `SumOpener`. Which key opens it, who has that
key, and whom it takes besides, is the opener's affair: nothing else in the program asks for a key that decrypts.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from blockchain.ledger.records import RoundOpening
from fedward.ciphertexts.plan import PackingPlan
from fedward.files import merkle_root, sha256


class Purpose(enum.Enum):
    """What the hospitals of a round encrypted: each purpose is summed, and opened, by itself."""

    UPDATE = "updates"
    COUNTS = "validation counts"


@dataclass(frozen=True)
class ClosedSum:
    """A sum of ciphertexts, with all that tells which one it is.

    Attributes:
        opening: How the ledger opened the round that it belongs to: number, roster, key and ledger head.
        purpose: What was added.
        included: Places on the roster of those whose ciphertexts are inside, ascending, each once.
        chunks: The sum's ciphertexts, in order.
    """

    opening: RoundOpening
    purpose: Purpose
    included: tuple[int, ...]
    chunks: Sequence[bytes] = field(repr=False)

    def root(self) -> bytes:
        """32 bytes; Merkle root of the ciphertexts' hashes: of updates, what the ledger records as aggregate hash."""
        return merkle_root([sha256(chunk) for chunk in self.chunks])


class SumOpener(Protocol):
    """What a hospital opens sums with. It checks the key; whether the sum may be opened, its caller has checked."""

    def open(self, closed: ClosedSum, plan: PackingPlan) -> NDArray[np.int64]:
        """The exact whole numbers in a sum.

        Args:
            closed: The sum.
            plan: The layout that each of its summands was encrypted in.

        Returns:
            int64, shape (plan.parameters,).

        Raises:
            EvidenceError: this hospital has not what opens sums of that round.
            VerificationError: what it has in its place is for another round.
            EncryptionError: the sum does not decode to what so many honest hospitals can have encrypted.
        """
