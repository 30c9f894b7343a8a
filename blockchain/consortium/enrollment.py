"""A hospital's enrollment request: one public file, with proof that the hospital has the keys that are named in it.

The hospital signs the same bytes with its account's key and with its transport key, so nobody enrolls keys of others.
The request also holds the hospital's card (`blockchain.consortium.sealed_keys`), which vouches for its sealing key.
"""

import json
from dataclasses import dataclass
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from eth_account.messages import encode_defunct

from blockchain.consortium.sealed_keys import make_card, read_card
from blockchain.identity import Identity
from blockchain.signing.signatures import SIGNATURE_BYTES, recover
from fedward.checked_json import Length, Matching, checked_json, to_json
from fedward.errors import UsageError, VerificationError
from fedward.files import sha256
from fedward.hosts.project import ADDRESS, DIGEST, NAME, Deployed
from fedward.tables import Between
from fedward.types import Address, HospitalId

MAX_BYTES = 16 * 1024

_PURPOSE = b"fedward enrollment 1\n"
_AGAIN = "Ask the hospital for a new request: `main.py enroll` writes one."
_OTHER_KEY = "The hospital must sign with the keys that it enrolls: ask it for a new request."


@dataclass(frozen=True)
class Enrollment:
    """What a hospital asks for.

    Attributes:
        chain_id, contract: The ledger that it wants to join.
        hospital: Its name.
        address: Its account.
        weight: Its number of training images.
        card: Its signed sealing key, as it goes onto the key board.
        transport_key: The public half of its SuperNode's P-384 key, one line in OpenSSH's form.
        token_hash: Hexadecimal SHA-256 of its token for the server's gateway.
    """

    chain_id: Annotated[int, Between(1, 2**31 - 1)]
    contract: Annotated[Address, ADDRESS]
    hospital: Annotated[HospitalId, NAME]
    address: Annotated[Address, ADDRESS]
    weight: Annotated[int, Between(1, 2**31 - 1)]
    card: bytes
    transport_key: Annotated[str, Matching(r"ecdsa-sha2-nistp384 [A-Za-z0-9+/=]{100,300}", "a P-384 key of OpenSSH")]
    token_hash: Annotated[str, DIGEST]

    def signed_bytes(self) -> bytes:
        """What both keys sign."""
        content = json.dumps(to_json(self), sort_keys=True, separators=(",", ":")).encode()
        return _PURPOSE + sha256(content)


@dataclass(frozen=True)
class SignedEnrollment:
    """An enrollment with both signatures.

    Attributes:
        enrollment: What the hospital asks for.
        signature: 65 bytes r, s, v; the account's, over `signed_bytes` as a personal message (EIP-191).
        transport_signature: DER; the transport key's, by ECDSA with SHA-384 over `signed_bytes`.
    """

    enrollment: Enrollment
    signature: Annotated[bytes, Length(SIGNATURE_BYTES)]
    transport_signature: bytes

    def to_bytes(self) -> bytes:
        """The request as JSON, for a file."""
        return (json.dumps(to_json(self), indent=2) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes, what: str) -> "SignedEnrollment":
        """Read what `to_bytes` wrote; only the format is checked.

        Raises:
            UsageError: it is no request.
        """
        if len(content) > MAX_BYTES:
            raise UsageError(f"{what} is longer than {MAX_BYTES:,} bytes.", _AGAIN)
        return checked_json(cls, content, what, UsageError, _AGAIN)


def sign_enrollment(enrollment: Enrollment, identity: Identity, transport: ec.EllipticCurvePrivateKey) -> bytes:
    """A request with both signatures, as bytes for a file."""
    content = enrollment.signed_bytes()
    signature = identity.sign_message(encode_defunct(primitive=content))
    return SignedEnrollment(enrollment, signature, transport.sign(content, ec.ECDSA(hashes.SHA384()))).to_bytes()


def own_card(identity: Identity, deployed: Deployed) -> bytes:
    """The card that a hospital encloses."""
    return make_card(identity, deployed.chain_id, deployed.contract)


def check_enrollment(signed: SignedEnrollment, deployed: Deployed) -> None:
    """Check that a request is for this study's ledger, and signed by the keys that it names.

    Raises:
        VerificationError: it is for another ledger, or a signature, or the card's, is not by the key that it must be.
    """
    asked = signed.enrollment
    if (asked.chain_id, asked.contract) != (deployed.chain_id, deployed.contract):
        raise VerificationError(
            f"The request of {asked.hospital} is for contract {asked.contract} on chain {asked.chain_id}, not for "
            f"this study's, {deployed.contract} on chain {deployed.chain_id}.",
            "Send the hospital this server's project.toml, and let it enroll with that.",
        )
    sealing_key(signed)


def sealing_key(signed: SignedEnrollment) -> bytes:
    """The X25519 key that others seal to: 32 bytes, after both signatures of the request and the card's were checked.

    Raises:
        VerificationError: a signature is not by the key that it must be.
    """
    asked = signed.enrollment
    content = asked.signed_bytes()
    if recover(encode_defunct(primitive=content), signed.signature) != asked.address:
        raise VerificationError(f"{asked.hospital} did not sign its request with account {asked.address}.", _OTHER_KEY)
    if not _signed_by(asked.transport_key, signed.transport_signature, content):
        raise VerificationError(f"{asked.hospital} did not sign its request with its transport key.", _OTHER_KEY)
    return read_card(asked.card, asked.chain_id, asked.contract, asked.address)


def _signed_by(public_line: str, signature: bytes, content: bytes) -> bool:
    """Whether a P-384 key, as OpenSSH writes it, made a signature."""
    try:
        public = serialization.load_ssh_public_key(public_line.encode())
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, content, ec.ECDSA(hashes.SHA384()))
            return True
    except (InvalidSignature, ValueError):
        return False
    return False
