"""What travels when a consortium's key is handed out: hospitals' signed sealing keys, and the dealer's sealed keys.

Both are public. A sealed key is closed to one hospital (`fedward.ciphertexts.sealing`) and signed by the dealer with
its Ethereum key; ledger, epoch, roster, key and parties are bound twice, inside the seal and by the signature.
"""

import struct
from dataclasses import dataclass, fields

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_account.messages import SignableMessage, encode_typed_data
from eth_utils.address import to_canonical_address, to_checksum_address

from blockchain.identity import Identity
from blockchain.ledger.encoding import WORD_BYTES
from blockchain.signing.signatures import SIGNATURE_BYTES, domain, members, recover
from fedward.ciphertexts.sealing import OVERHEAD_BYTES, PUBLIC_KEY_BYTES, seal, unseal
from fedward.errors import EncryptionError, VerificationError
from fedward.files import sha256
from fedward.types import Address

MAX_PACKAGE_BYTES = 8 * 1024 * 1024  # the largest key of 128 bits of security that SEAL knows has less than 6 MB

_MAGIC = b"fedward sealed key 1\n"
_CARD_MAGIC = b"fedward sealing key 1\n"
# Chain id, contract, key epoch, roster digest, context fingerprint, dealer, recipient.
_TERMS = struct.Struct(">32s20sI32s32s20s20s")
_CARD = struct.Struct(f">{len(_CARD_MAGIC)}s20s{PUBLIC_KEY_BYTES}s{SIGNATURE_BYTES}s")
_HEADER_BYTES = len(_MAGIC) + _TERMS.size

_SEALED_FIELDS = {
    "keyEpoch": "uint32",
    "rosterDigest": "bytes32",
    "contextFingerprint": "bytes32",
    "dealer": "address",
    "recipient": "address",
    "sealedHash": "bytes32",
}
_CARD_FIELDS = {"hospital": "address", "x25519Key": "bytes32"}


@dataclass(frozen=True)
class Terms:
    """What a sealed key is, where it holds, from whom and for whom.

    Attributes:
        chain_id: Below 2^256.
        contract: The ledger.
        key_epoch: From 1, below 2^32.
        roster_digest: 32 bytes; who takes part, as the dealer agreed to.
        context_fingerprint: 32 bytes; names the key.
        dealer: Who made and sealed it.
        recipient: Who opens it.
    """

    chain_id: int
    contract: Address
    key_epoch: int
    roster_digest: bytes
    context_fingerprint: bytes
    dealer: Address
    recipient: Address

    def to_bytes(self) -> bytes:
        """As they stand in front of a package and inside its seal: 160 bytes."""
        contract, dealer, recipient = map(to_canonical_address, (self.contract, self.dealer, self.recipient))
        chain_id = self.chain_id.to_bytes(WORD_BYTES, "big")
        digests = (self.roster_digest, self.context_fingerprint)
        return _TERMS.pack(chain_id, contract, self.key_epoch, *digests, dealer, recipient)

    @classmethod
    def from_bytes(cls, content: bytes) -> "Terms":
        """What `to_bytes` wrote: exactly that many bytes, and any of them are terms."""
        chain_id, contract, epoch, roster, fingerprint, dealer, recipient = _TERMS.unpack(content)
        places = (Address(to_checksum_address(raw)) for raw in (contract, dealer, recipient))
        contract, dealer, recipient = places
        return cls(int.from_bytes(chain_id, "big"), contract, epoch, roster, fingerprint, dealer, recipient)

    def check(self, expected: "Terms") -> None:
        """Make sure that these are the terms that the ledger and one's own folder call for.

        Raises:
            VerificationError: one of them is another; it is named.
        """
        for name in (field.name for field in fields(self)):
            found, wanted = getattr(self, name), getattr(expected, name)
            if found != wanted:
                raise VerificationError(
                    f"A sealed key has another {name.replace('_', ' ')} ({_shown(found)}) than it must have "
                    f"({_shown(wanted)}).",
                    "Do not use it; ask the dealer what it sealed.",
                )


@dataclass(frozen=True)
class SealedKey:
    """A key on its way to one hospital.

    Attributes:
        terms: What it says to be.
        sealed: The closed key.
        signature: 65 bytes r, s, v; the dealer's, over all before.
    """

    terms: Terms
    sealed: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """As it travels."""
        return _MAGIC + self.terms.to_bytes() + self.sealed + self.signature

    @classmethod
    def from_bytes(cls, content: bytes) -> "SealedKey":
        """Read what `to_bytes` wrote; nothing is checked but the form.

        Raises:
            EncryptionError: these bytes are no sealed key; nothing else, whatever they are.
        """
        smallest = _HEADER_BYTES + OVERHEAD_BYTES + SIGNATURE_BYTES
        if not smallest <= len(content) <= MAX_PACKAGE_BYTES or not content.startswith(_MAGIC):
            raise EncryptionError(
                f"{len(content)} bytes are not a sealed key.", "Ask the dealer to seal the key again."
            )
        terms = Terms.from_bytes(content[len(_MAGIC) : _HEADER_BYTES])
        return cls(terms, content[_HEADER_BYTES:-SIGNATURE_BYTES], content[-SIGNATURE_BYTES:])

    def open(self, expected: Terms, key: X25519PrivateKey) -> bytes:
        """Check everything, then open.

        Args:
            expected: The terms that the ledger and the hospital's own folder call for.
            key: The recipient's.

        Returns:
            The key as it was sealed, in the clear; the caller checks that its fingerprint is the one of the terms.

        Raises:
            VerificationError: the terms are others, or the signature is not the dealer's.
            EncryptionError: it does not open.
        """
        self.terms.check(expected)
        signer = recover(_sealed_message(self.terms, self.sealed), self.signature)
        if signer != expected.dealer:
            raise VerificationError(
                f"A sealed key is signed by {signer or 'nobody'}, not by the dealer {expected.dealer}.",
                "Do not use it; find out who put it there.",
            )
        return unseal(self.sealed, key, _MAGIC + self.terms.to_bytes())


def seal_key(secret: bytes, terms: Terms, recipient_key: bytes, dealer: Identity) -> SealedKey:
    """Close a key to one hospital and sign the package.

    Args:
        secret: The key in the clear.
        terms: What it is; the dealer is the one who signs.
        recipient_key: 32 bytes; the hospital's X25519 public key, from its card.
        dealer: Who signs.

    Raises:
        EncryptionError: nothing can be sealed to that key.
    """
    sealed = seal(secret, recipient_key, _MAGIC + terms.to_bytes())
    return SealedKey(terms, sealed, dealer.sign_message(_sealed_message(terms, sealed)))


def make_card(identity: Identity, chain_id: int, contract: Address) -> bytes:
    """A hospital's own word on its sealing key, so that no registrar can put another in its place."""
    message = _card_message(chain_id, contract, identity.address, identity.x25519_public_key)
    account = to_canonical_address(identity.address)
    return _CARD.pack(_CARD_MAGIC, account, identity.x25519_public_key, identity.sign_message(message))


def read_card(content: bytes, chain_id: int, contract: Address, hospital: Address) -> bytes:
    """The sealing key on a hospital's card: 32 bytes.

    Raises:
        VerificationError: it is no card, or not signed by this hospital for this ledger.
    """
    if len(content) == _CARD.size:
        magic, account, key, signature = _CARD.unpack(content)
        signer = recover(_card_message(chain_id, contract, hospital, key), signature)
        if (magic, account, signer) == (_CARD_MAGIC, to_canonical_address(hospital), hospital):
            return bytes(key)
    raise VerificationError(
        f"The sealing key of {hospital} is not signed by that hospital for this ledger.",
        "Seal nothing to it; ask that hospital for its card.",
    )


def _sealed_message(terms: Terms, sealed: bytes) -> SignableMessage:
    """The typed data (EIP-712) of a package; the domain is the ledger's own."""
    content = {
        "keyEpoch": terms.key_epoch,
        "rosterDigest": terms.roster_digest,
        "contextFingerprint": terms.context_fingerprint,
        "dealer": terms.dealer,
        "recipient": terms.recipient,
        "sealedHash": sha256(sealed),
    }
    return encode_typed_data(domain(terms.chain_id, terms.contract), {"SealedKey": members(_SEALED_FIELDS)}, content)


def _card_message(chain_id: int, contract: Address, hospital: Address, key: bytes) -> SignableMessage:
    """The typed data (EIP-712) of a card."""
    content = {"hospital": hospital, "x25519Key": key}
    return encode_typed_data(domain(chain_id, contract), {"SealingKey": members(_CARD_FIELDS)}, content)


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
