"""Commitments for tests that never check who signed them."""

from fedward.types import Address, Commitment, PrivacyEvent, SignedCommitment

_EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)


def signed_commitment(hospital: Address, weight: int = 1) -> SignedCommitment:
    """A well-formed commitment with bytes in place of a signature."""
    words = (b"h" * 32, b"b" * 32, b"f" * 32, b"r" * 32)
    return SignedCommitment(Commitment(1, hospital, 1, hospital, *words, 9, b"d" * 32, weight, _EVENT), b"s" * 65)
