"""Encrypted sums (`ClosedSum`), and the one interface through which hospitals decrypt them (`SumOpener`).

Code that needs the numbers in a sum builds a `ClosedSum` and hands it to a `SumOpener`. The opener alone restores the
key that decrypts the sum, from what a threshold of hospitals released for it. No other code asks for such a key.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from blockchain.ledger.records import RoundOpening
from fedward.ciphertexts.plan import PackingPlan
from fedward.errors import VerificationError
from fedward.files import merkle_root, sha256
from fedward.settings import Settings
from fedward.sharing.signed import SentRelease
from fedward.sharing.terms import Purpose, default_threshold


def check_opening(opening: RoundOpening, settings: Settings) -> None:
    """Check what a node says that a round's opening resolved, against the roster that the hospital has agreed to.

    A node that tells another total weight would have the others' updates vanish in the sum; one that tells a smaller
    threshold would have a key dealt so that few shares restore it.

    Raises:
        VerificationError: the total weight is not the roster's, or the threshold is not what the settings make of it.
    """
    total = sum(entry.weight for entry in opening.roster)
    threshold = settings.ledger.release_threshold or default_threshold(len(opening.roster))
    if (opening.enrolled_total, opening.threshold) != (total, threshold):
        raise VerificationError(
            f"The node says that round {opening.round_index} has a total weight of {opening.enrolled_total} and a "
            f"threshold of {opening.threshold}; its roster and the settings make that {total} and {threshold}.",
            "Do not take part; point this hospital at another node of the ledger.",
        )


def least_included(opening: RoundOpening, settings: Settings) -> int:
    """How many hospitals a sum must be of before anybody helps to open it.

    At least as many as open it: in a smaller set, fewer hospitals than that could know all summands but one.
    """
    return max(settings.ledger.min_included, opening.threshold)


@dataclass(frozen=True)
class ClosedSum:
    """A sum of ciphertexts, with the round, purpose and hospitals that identify it.

    Attributes:
        opening: How the ledger opened the sum's round: number, roster, channel key, threshold and ledger head.
        purpose: What was added.
        included: Places on the roster of the hospitals whose ciphertexts were added, ascending, each once.
        chunks: The sum's ciphertexts, in order.
        releases: What hospitals released for it, as it came from the server.
    """

    opening: RoundOpening
    purpose: Purpose
    included: tuple[int, ...]
    chunks: Sequence[bytes] = field(repr=False)
    releases: Sequence[SentRelease] = field(repr=False)

    def root(self) -> bytes:
        """32 bytes; Merkle root of the ciphertexts' hashes. Of updates, the ledger records it as the aggregate hash."""
        return merkle_root([sha256(chunk) for chunk in self.chunks])


@dataclass(frozen=True)
class OpenedSum:
    """The numbers in a sum, and which hospitals' releases were wrong.

    Attributes:
        sums: int64, shape (plan.parameters,).
        wrong: Places on the roster of the hospitals that released something else than the key's shares, ascending.
    """

    sums: NDArray[np.int64]
    wrong: tuple[int, ...]


class SumOpener(Protocol):
    """Opens sums, that is decrypts them, for one hospital.

    The opener checks that what was released is for this sum. Whether the sum may be opened at all, its caller has
    checked before.
    """

    def open(self, closed: ClosedSum, plan: PackingPlan) -> OpenedSum:
        """Decrypt a sum to its exact whole numbers.

        Args:
            closed: The sum.
            plan: The packing plan that each of its summands was encrypted with.

        Raises:
            EvidenceError: this hospital has no channel key of that round's epoch.
            VerificationError: the key that it has in that place is another.
            EncryptionError: too few hospitals released their part, or the sum does not decode to what so many honest
                hospitals can have encrypted.
        """
