"""Seal bytes to one recipient's X25519 key, and open sealed bytes: HPKE (RFC 9180), base mode, of `cryptography`.

Sealing does not say who sealed. Whoever knows a public key can seal to it; the signature around a sealed key
(`blockchain.consortium.sealed_keys`) is what names the sender.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from fedward.errors import EncryptionError

PUBLIC_KEY_BYTES = 32
OVERHEAD_BYTES = 32 + 16  # the one-time public key in front, the authentication tag at the end

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def seal(plaintext: bytes, recipient: bytes, purpose: bytes) -> bytes:
    """Encrypt bytes so that only the holder of the recipient's private key can open them.

    Args:
        plaintext: Any bytes.
        recipient: 32 bytes; an X25519 public key.
        purpose: What the bytes are, for whom and where. It is not in the sealed bytes; `unseal` needs the same purpose.

    Returns:
        `OVERHEAD_BYTES` more than the plaintext; other bytes each time.

    Raises:
        EncryptionError: nothing can be sealed to this key.
    """
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(recipient), purpose)
    except ValueError as error:  # another length, or a point of small order, which would make the secret public
        raise EncryptionError(
            f"Nothing can be sealed to the X25519 key {recipient[:PUBLIC_KEY_BYTES].hex()}.",
            "Ask the hospital to register a key that it made itself.",
        ) from error


def unseal(sealed: bytes, key: X25519PrivateKey, purpose: bytes) -> bytes:
    """Open what `seal` sealed.

    Raises:
        EncryptionError: the bytes were sealed to another key, for another purpose, or changed on the way.
    """
    try:
        return _SUITE.decrypt(sealed, key, purpose)
    except (InvalidTag, ValueError) as error:
        raise EncryptionError(
            "A sealed key does not open: it is not sealed to this hospital's key, or not as it says.",
            "Ask the dealer to seal it again; if the sealing key was lost, register a new one first.",
        ) from error
