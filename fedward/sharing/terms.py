"""What sealed shares and releases are bound to: ledger, round, and from whom to whom; as canonical bytes.

Whoever opens one writes the terms down from the ledger and its own folder. What was sealed under other terms does not
open: a share of another round, one that was meant for another hospital, a release for another set.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from fedward.types import Address

_SHARE_MAGIC = b"fedward share 1\n"
_RELEASE_MAGIC = b"fedward release 1\n"
# Chain id, contract, round, head of the opening, dealer, recipient.
_SHARE = struct.Struct(">32s20sI32s20s20s")
# Chain id, contract, round, hospital, purpose, ledger head, included mask, hash of the sum.
_RELEASE = struct.Struct(">32s20sI20sB32s32s32s")


class Purpose(IntEnum):
    """What is summed under keys of its own, and opened by a release of its own."""

    UPDATES = 0
    COUNTS = 1

    @property
    def label(self) -> str:
        """What is summed, in words."""
        return ("updates", "validation counts")[self]


def default_threshold(hospitals: int) -> int:
    """How many of a roster open a sum, where no rule says otherwise: more than two thirds."""
    return 2 * hospitals // 3 + 1


def purposes(encrypted_counts: bool) -> tuple[Purpose, ...]:
    """What a round's hospitals deal keys for, in the order in which these are joined in a share."""
    return tuple(Purpose) if encrypted_counts else (Purpose.UPDATES,)


@dataclass(frozen=True)
class ShareTerms:
    """What a sealed share is bound to.

    Attributes:
        chain_id: Below 2^256.
        contract: The ledger.
        round_index: From 1, below 2^32.
        opening_head: 32 bytes; the ledger's head right after the round was opened.
        dealer: Who dealt the key, and sealed the share.
        recipient: Who opens it.
    """

    chain_id: int
    contract: Address
    round_index: int
    opening_head: bytes
    dealer: Address
    recipient: Address

    def to_bytes(self) -> bytes:
        """The same bytes for the same terms, and other bytes for any others."""
        return _SHARE_MAGIC + _SHARE.pack(
            self.chain_id.to_bytes(32, "big"),
            account_bytes(self.contract),
            self.round_index,
            self.opening_head,
            account_bytes(self.dealer),
            account_bytes(self.recipient),
        )


@dataclass(frozen=True)
class ReleaseTerms:
    """What a release is bound to.

    Attributes:
        chain_id: Below 2^256.
        contract: The ledger.
        round_index: From 1, below 2^32.
        hospital: Who releases.
        purpose: Which of the round's sums the release opens.
        ledger_head: 32 bytes; the ledger's head right after the event that fixed the set.
        included_mask: The set: bit i for the i-th hospital on the round's roster, from 0; below 2^256.
        sum_hash: 32 bytes; names the ciphertexts of the sum.
    """

    chain_id: int
    contract: Address
    round_index: int
    hospital: Address
    purpose: Purpose
    ledger_head: bytes
    included_mask: int
    sum_hash: bytes

    def to_bytes(self) -> bytes:
        """The same bytes for the same terms, and other bytes for any others."""
        return _RELEASE_MAGIC + _RELEASE.pack(
            self.chain_id.to_bytes(32, "big"),
            account_bytes(self.contract),
            self.round_index,
            account_bytes(self.hospital),
            self.purpose,
            self.ledger_head,
            self.included_mask.to_bytes(32, "big"),
            self.sum_hash,
        )


def account_bytes(address: Address) -> bytes:
    """The 20 bytes of an address."""
    return bytes.fromhex(address.removeprefix("0x"))
