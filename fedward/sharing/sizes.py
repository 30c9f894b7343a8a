"""How large shares and releases are, so that also those who cannot open them know what they must be given."""

from fedward.ciphertexts.serialized import RING_DEGREE
from fedward.sharing.dealing import MASKS
from fedward.sharing.modular import RESIDUE_BYTES

SEALING_BYTES = 48  # what `fedward.ciphertexts.sealing` adds, without its library: `info` is quick
NONCE_BYTES = 12  # of ChaCha20-Poly1305, which encrypts releases
TAG_BYTES = 16


def share_width(keys: int) -> int:
    """How many residues a share has: those of so many keys, dealt together, and the masks."""
    return RING_DEGREE * keys + MASKS


def sealed_share_bytes(width: int) -> int:
    """The exact size of a sealed share of so many residues."""
    return RESIDUE_BYTES * width + SEALING_BYTES


def dealing_bytes(hospitals: int, keys: int) -> int:
    """Bytes of sealed shares that each hospital sends in a round.

    Args:
        hospitals: On the round's roster.
        keys: How many each deals: one for the update, and one for the counts where these are encrypted.
    """
    return hospitals * sealed_share_bytes(share_width(keys))


def release_bytes(entries: int) -> int:
    """The exact size of an encrypted release of so many residues."""
    return NONCE_BYTES + RESIDUE_BYTES * entries + TAG_BYTES
