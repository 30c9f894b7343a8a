"""Encrypted sums (`ClosedSum`), and the one interface through which hospitals decrypt them (`SumOpener`).

Code that needs the numbers in a sum builds a `ClosedSum` and hands it to a `SumOpener`. The opener alone decides which
key decrypts the sum, who holds that key, and whether other parties must help. No other code asks for a key that
decrypts.
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
    """What the hospitals of a round encrypted; the ciphertexts of each purpose are summed and opened separately."""

    UPDATE = "updates"
    COUNTS = "validation counts"


@dataclass(frozen=True)
class ClosedSum:
    """A sum of ciphertexts, with the round, purpose and hospitals that identify it.

    Attributes:
        opening: How the ledger opened the sum's round: number, roster, key and ledger head.
        purpose: What was added.
        included: Places on the roster of the hospitals whose ciphertexts were added, ascending, each once.
        chunks: The sum's ciphertexts, in order.
    """

    opening: RoundOpening
    purpose: Purpose
    included: tuple[int, ...]
    chunks: Sequence[bytes] = field(repr=False)

    def root(self) -> bytes:
        """32 bytes; Merkle root of the ciphertexts' hashes. Of updates, the ledger records it as the aggregate hash."""
        return merkle_root([sha256(chunk) for chunk in self.chunks])


class SumOpener(Protocol):
    """Opens sums, that is decrypts them, for one hospital.

    The opener checks that it uses the right key. Whether the sum may be opened at all, its caller has checked before.
    """

    def open(self, closed: ClosedSum, plan: PackingPlan) -> NDArray[np.int64]:
        """Decrypt a sum to its exact whole numbers.

        Args:
            closed: The sum.
            plan: The packing plan that each of its summands was encrypted with.

        Returns:
            int64, shape (plan.parameters,).

        Raises:
            EvidenceError: this hospital has no key for sums of that round.
            VerificationError: the key that it has in that place is for another round.
            EncryptionError: the sum does not decode to what so many honest hospitals can have encrypted.
        """
