"""`HeldKeys`: the consortium's keys that one hospital has taken, to encrypt updates and to open sums."""

import numpy as np
from numpy.typing import NDArray

from blockchain.closed_sums import ClosedSum
from encryption import PublicContext, SecretContext, decrypt
from fedward.ciphertexts.plan import PackingPlan
from fedward.errors import VerificationError
from fedward.folders.hospital import HospitalFolder


class HeldKeys:
    """A `SumOpener` over the keys in one hospital's folder.

    Updates are encrypted under the latest key. A sum is opened with the key of its round. A key is read when it is
    first needed.

    Guarantees:
        1. A sum is opened with the key that the ledger names for its round, and with no other.
        2. No secret key leaves this object: callers get numbers and public contexts.
    """

    def __init__(self, folder: HospitalFolder) -> None:
        self._folder = folder
        self._read: dict[bytes | None, SecretContext] = {}

    @property
    def public(self) -> PublicContext:
        """The public half of the latest key, under which this hospital encrypts.

        Raises:
            EvidenceError: the hospital has taken no key.
            EncryptionError: the key's file is damaged.
        """
        held = self._folder.held_keys()
        return self._key(held[-1].fingerprint if held else None).public

    def open(self, closed: ClosedSum, plan: PackingPlan) -> NDArray[np.int64]:
        """Decrypt a sum with the key of its round's epoch; see `SumOpener.open`."""
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
        """The key that is filed under a fingerprint; for None the latest, which must be there."""
        if fingerprint not in self._read:
            self._read[fingerprint] = SecretContext.from_bytes(self._folder.load_secret_key(fingerprint))
        return self._read[fingerprint]

    def __repr__(self) -> str:
        return f"HeldKeys({self._folder.keys})"
