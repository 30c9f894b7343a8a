"""What the key exchange sends: cards (hospitals' signed sealing keys), and keys that the dealer sealed and signed.

Both are public. A sealed key is encrypted to one hospital (`fedward.ciphertexts.sealing`) and signed by the dealer with
its Ethereum key. Ledger, epoch, roster, key, dealer and recipient are bound to it twice: inside the seal and by the
signature.
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

MAX_PACKAGE_BYTES = 4096  # a sealed channel key has a tenth of that

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
    """What a sealed key is bound to: ledger, key epoch, roster, key, dealer and recipient.

    Attributes:
        chain_id: Below 2^256.
        contract: The ledger.
        key_epoch: From 1, below 2^32.
        roster_digest: 32 bytes; of the roster that the dealer agreed to.
        context_fingerprint: 32 bytes; identifies the key.
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
        """The 160 bytes that stand at the start of a package and inside its seal."""
        contract, dealer, recipient = map(to_canonical_address, (self.contract, self.dealer, self.recipient))
        chain_id = self.chain_id.to_bytes(WORD_BYTES, "big")
        digests = (self.roster_digest, self.context_fingerprint)
        return _TERMS.pack(chain_id, contract, self.key_epoch, *digests, dealer, recipient)

    @classmethod
    def from_bytes(cls, content: bytes) -> "Terms":
        """Read what `to_bytes` wrote: exactly that many bytes, whatever their values."""
        chain_id, contract, epoch, roster, fingerprint, dealer, recipient = _TERMS.unpack(content)
        places = (Address(to_checksum_address(raw)) for raw in (contract, dealer, recipient))
        contract, dealer, recipient = places
        return cls(int.from_bytes(chain_id, "big"), contract, epoch, roster, fingerprint, dealer, recipient)

    def check(self, expected: "Terms") -> None:
        """Check that these terms are the ones that the ledger and the hospital's own folder call for.

        Raises:
            VerificationError: a term differs; the message names the term.
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
    """A consortium key that the dealer sealed for one hospital and signed.

    Attributes:
        terms: What the package claims to be bound to; `open` checks it.
        sealed: The encrypted key.
        signature: 65 bytes r, s, v; the dealer's, over the terms and the encrypted key.
    """

    terms: Terms
    sealed: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """The package as bytes."""
        return _MAGIC + self.terms.to_bytes() + self.sealed + self.signature

    @classmethod
    def from_bytes(cls, content: bytes) -> "SealedKey":
        """Read what `to_bytes` wrote; only the format is checked.

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
        """Check terms and signature, then decrypt the key.

        Args:
            expected: The terms that the ledger and the hospital's own folder call for.
            key: The recipient's.

        Returns:
            The key as it was sealed, in the clear; the caller checks that its fingerprint is the one of the terms.

        Raises:
            VerificationError: a term differs from the expected one, or the signature is not the dealer's.
            EncryptionError: the seal does not open.
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
    """Encrypt a key to one hospital and sign the package.

    Args:
        secret: The key in the clear.
        terms: What the key is bound to; their dealer is the one who signs.
        recipient_key: 32 bytes; the hospital's X25519 public key, from its card.
        dealer: Who signs.

    Raises:
        EncryptionError: nothing can be sealed to that key.
    """
    sealed = seal(secret, recipient_key, _MAGIC + terms.to_bytes())
    return SealedKey(terms, sealed, dealer.sign_message(_sealed_message(terms, sealed)))


def make_card(identity: Identity, chain_id: int, contract: Address) -> bytes:
    """A card: a hospital's sealing key, signed by the hospital, so that no registrar can put another in its place."""
    message = _card_message(chain_id, contract, identity.address, identity.x25519_public_key)
    account = to_canonical_address(identity.address)
    return _CARD.pack(_CARD_MAGIC, account, identity.x25519_public_key, identity.sign_message(message))


def read_card(content: bytes, chain_id: int, contract: Address, hospital: Address) -> bytes:
    """Check a card's signature, and return the hospital's sealing key: 32 bytes.

    Raises:
        VerificationError: the content is no card, or not signed by this hospital for this ledger.
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
