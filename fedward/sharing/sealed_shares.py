"""Seal the shares of a dealt key, each to the hospital it is for, and open the one that was sealed to this hospital.

The dealer sends all sealed shares with its submission, and the server hands them on. A Merkle root in the signed
commitment says which they were. So the server can neither read nor change a share, nor send one of another round.
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedward.ciphertexts.sealing import seal, unseal
from fedward.errors import EncryptionError
from fedward.files import merkle_root
from fedward.sharing.dealing import Complaint
from fedward.sharing.modular import Residues, from_bytes, to_bytes
from fedward.sharing.sizes import sealed_share_bytes
from fedward.sharing.terms import ShareTerms


class UnfitShareError(Exception):
    """A share that was sent to this hospital is none. It ends nothing: the hospital complains, and the round goes on.

    Args:
        what: One sentence: whose share, and what is wrong with it.
        complaint: What the hospital answers about the dealer.
    """

    def __init__(self, what: str, complaint: Complaint) -> None:
        super().__init__(what)
        self.complaint = complaint


def seal_shares(shares: Residues, keys: Sequence[bytes], terms: Sequence[ShareTerms]) -> tuple[bytes, ...]:
    """Seal each share to its recipient.

    Args:
        shares: uint64, shape (holders, width), as `dealing.deal_key` makes them.
        keys: Each holder's X25519 public key, 32 bytes, in roster order.
        terms: What each share is bound to, in roster order.

    Returns:
        One sealed share for each holder, in roster order, each of `sealed_share_bytes(width)` bytes.

    Guarantees:
        1. A hospital whose key nobody can seal to (it is no point, or makes the secret public) stops nobody else: it
           gets zeros, which it cannot open and will complain about.
    """
    return tuple(_sealed(share, key, each) for share, key, each in zip(shares, keys, terms, strict=True))


def open_share(sealed: bytes, terms: ShareTerms, key: X25519PrivateKey, width: int) -> Residues:
    """Open the share that a dealer sealed for this hospital.

    Args:
        sealed: From outside; anything.
        terms: What it must be bound to, from the ledger.
        key: This hospital's.
        width: How many residues a share of this round has.

    Returns:
        uint64, shape (width,), each below q.

    Raises:
        UnfitShareError: it has another size, does not open, or a number in it is not below q; nothing else, whatever
            the bytes.
    """
    if len(sealed) != sealed_share_bytes(width):
        raise UnfitShareError(
            f"The sealed share of {terms.dealer} has {len(sealed):,} bytes where {sealed_share_bytes(width):,} belong.",
            Complaint.WRONG_SIZE,
        )
    try:
        content = unseal(sealed, key, terms.to_bytes())
    except EncryptionError as error:
        raise UnfitShareError(
            f"The sealed share of {terms.dealer} does not open: it is not sealed to this hospital for this round.",
            Complaint.DOES_NOT_OPEN,
        ) from error
    try:
        return from_bytes(content)
    except EncryptionError as error:
        raise UnfitShareError(
            f"A number in the share of {terms.dealer} is not below the prime.", Complaint.OUT_OF_RANGE
        ) from error


def shares_root(hashes: Sequence[bytes]) -> bytes:
    """The root that a commitment signs: of the SHA-256 of each sealed share, in roster order; 32 bytes."""
    return merkle_root(list(hashes))


def _sealed(share: Residues, key: bytes, terms: ShareTerms) -> bytes:
    """One sealed share; zeros where nothing can be sealed to the key."""
    try:
        return seal(to_bytes(share), key, terms.to_bytes())
    except EncryptionError:
        return bytes(sealed_share_bytes(share.size))
