"""The consortium's keys that one hospital has taken: it encrypts under the latest, and opens sums under any of them."""

import numpy as np
from numpy.typing import NDArray

from blockchain.closed_sums import ClosedSum
from encryption import PublicContext, SecretContext, decrypt
from fedward.ciphertexts.plan import PackingPlan
from fedward.errors import VerificationError
from fedward.folders.hospital import HospitalFolder


class HeldKeys:
    """A `SumOpener` over a hospital's folder; a key is read when it is first needed.

    Guarantees:
        1. A sum is opened with the key that the ledger names for its round, and with no other.
        2. No key leaves: callers get numbers, and the public half.
    """

    def __init__(self, folder: HospitalFolder) -> None:
        self._folder = folder
        self._read: dict[bytes | None, SecretContext] = {}

    @property
    def public(self) -> PublicContext:
        """The public half of the latest key: what this hospital encrypts under.

        Raises:
            EvidenceError: it has taken no key.
            EncryptionError: the file of the key is damaged.
        """
        held = self._folder.held_keys()
        return self._key(held[-1].fingerprint if held else None).public

    def open(self, closed: ClosedSum, plan: PackingPlan) -> NDArray[np.int64]:
        """See `SumOpener`: with the key of the round's epoch."""
        wanted = closed.opening.context_fingerprint
        secret = self._key(wanted)
        if secret.public.fingerprint != wanted:
            raise VerificationError(
                f"The {closed.purpose.value} of round {closed.opening.round_index} are under key {wanted.hex()}; "
                f"what {self._folder.keys} has by that name is {secret.public.fingerprint.hex()}.",
                "Restore that file from a backup, or take the key of that epoch from the dealer.",
            )
        return decrypt(closed.chunks, plan, secret, len(closed.included))

    def _key(self, fingerprint: bytes | None) -> SecretContext:
        """The key that is filed under a fingerprint; None: the latest, of which there must be one."""
        if fingerprint not in self._read:
            self._read[fingerprint] = SecretContext.from_bytes(self._folder.load_secret_key(fingerprint))
        return self._read[fingerprint]

    def __repr__(self) -> str:
        return f"HeldKeys({self._folder.keys})"
