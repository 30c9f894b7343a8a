"""`HeldKeys`: the consortium's channel keys that one hospital has taken, with which it opens sums."""

from collections.abc import Mapping

from blockchain.closed_sums import ClosedSum, OpenedSum
from blockchain.ledger.records import encode_set
from blockchain.signing.releases import is_release
from encryption import RoundKey, decrypt, opens
from fedward.ciphertexts.plan import PackingPlan
from fedward.ciphertexts.public_polynomials import round_seed
from fedward.ciphertexts.serialized import RING_DEGREE
from fedward.errors import EncryptionError, EvidenceError, VerificationError
from fedward.folders.hospital import HospitalFolder
from fedward.sharing.modular import Residues
from fedward.sharing.releases import restore_sum_key
from fedward.sharing.sealed_releases import ChannelKey, decrypt_release, encrypt_release
from fedward.sharing.terms import ReleaseTerms
from fedward.types import Address


class HeldKeys:
    """A `SumOpener` over the channel keys in one hospital's folder.

    What other hospitals released for a sum is decrypted with the channel key of the round's epoch. From enough of it
    the key of the sum is restored, used once, and overwritten.

    Guarantees:
        1. What was released for another sum, round, purpose or set, or by nobody on the roster, is not used.
        2. No key leaves this object: callers get numbers and fingerprints.
    """

    def __init__(self, folder: HospitalFolder) -> None:
        self._folder = folder
        self._read: dict[bytes | None, ChannelKey] = {}

    @property
    def fingerprint(self) -> bytes:
        """32 bytes; names the latest channel key.

        Raises:
            EvidenceError: the hospital has taken no key.
            EncryptionError: the key's file is damaged.
        """
        held = self._folder.held_keys()
        return self._key(held[-1].fingerprint if held else None).fingerprint

    def encrypt_release(self, residues: Residues, terms: ReleaseTerms, fingerprint: bytes) -> bytes:
        """Encrypt this hospital's part of a sum's key, so that other hospitals open it and nobody else.

        Args:
            residues: The sum of the shares that the hospital holds; uint64, shape (RING_DEGREE,).
            terms: Which sum they are for.
            fingerprint: Of the channel key that the ledger names for the round; no other is used.

        Raises:
            EvidenceError: the hospital never took the key of that epoch.
            VerificationError: the file of that name holds another key.
            EncryptionError: the key's file is damaged.
        """
        return encrypt_release(residues, terms, self._channel(fingerprint))

    def _channel(self, fingerprint: bytes) -> ChannelKey:
        """The channel key that the ledger names for a round, and no other."""
        key = self._key(fingerprint)
        if key.fingerprint != fingerprint:
            raise VerificationError(
                f"What {self._folder.keys} has as channel key {fingerprint.hex()} is {key.fingerprint.hex()}.",
                "Restore that file from a backup, or take the key of that epoch from the dealer.",
            )
        return key

    def open(self, closed: ClosedSum, plan: PackingPlan) -> OpenedSum:
        """Restore the key of a sum and decrypt the sum with it; see `SumOpener.open`."""
        opening, membership = closed.opening, self._folder.membership()
        channel = self._channel(opening.context_fingerprint)
        place = (membership.chain_id, membership.contract, opening.round_index)
        seed = round_seed(*place, opening.ledger_head, closed.purpose.name)
        released, unusable = self._released(closed, channel, place)
        chunks, summands = list(closed.chunks), len(closed.included)

        def works(residues: Residues) -> bool:
            key = RoundKey(residues)
            try:
                return opens(chunks, plan, key, seed, summands)
            finally:
                key.forget()

        if len(released) < opening.threshold:
            # No word on the sum: whoever carries the releases may have kept them back.
            raise EvidenceError(
                f"{len(released)} usable releases came with the {closed.purpose.label} of round {opening.round_index}, "
                f"{opening.threshold} are needed.",
                "Ask the server for all of them.",
            )
        restored = restore_sum_key(released, opening.threshold, works)
        key = RoundKey(restored.key)
        restored.key[:] = 0
        try:
            sums = decrypt(chunks, plan, key, seed, summands)
        finally:
            key.forget()
        places = [entry.index for entry in opening.roster]
        wrong = {places[holder - 1] for holder in restored.wrong} | unusable
        return OpenedSum(sums, tuple(sorted(wrong)))

    def _released(
        self, closed: ClosedSum, channel: ChannelKey, place: tuple[int, Address, int]
    ) -> tuple[Mapping[int, Residues], set[int]]:
        """What hospitals released for this sum, by holder from 1; and the places of those whose release is unusable.

        A release that its hospital did not sign for this very sum is dropped, and counts against nobody: the server may
        have made it up.
        """
        released, unusable = {}, set()
        holders = {entry.address: (number, entry.index) for number, entry in enumerate(closed.opening.roster, 1)}
        mask, root = encode_set(closed.opening.roster, closed.included), closed.root()
        for sent in closed.releases:
            said = sent.signed.release
            terms = ReleaseTerms(*place, said.hospital, closed.purpose, said.ledger_head, mask, root)
            if said.hospital not in holders or not is_release(sent.signed, terms, sent.content):
                continue
            number, index = holders[said.hospital]
            try:
                released[number] = decrypt_release(sent.content, terms, channel, RING_DEGREE)
            except EncryptionError:
                unusable.add(index)
        return released, unusable

    def _key(self, fingerprint: bytes | None) -> ChannelKey:
        """The key that is filed under a fingerprint; for None the latest, which must be there."""
        if fingerprint not in self._read:
            self._read[fingerprint] = ChannelKey(self._folder.load_channel_key(fingerprint))
        return self._read[fingerprint]

    def __repr__(self) -> str:
        return f"HeldKeys({self._folder.keys})"
