"""A witness's request: one public file with its account and token's hash, signed by that account.

The administrator names it when the study is provisioned, before there is a ledger, so it is of no ledger in particular.
"""

import json
from dataclasses import dataclass
from typing import Annotated

from eth_account.messages import encode_defunct

from blockchain.identity import Identity
from blockchain.signing.signatures import SIGNATURE_BYTES, recover
from fedward.checked_json import Length, checked_json, to_json
from fedward.errors import UsageError, VerificationError
from fedward.files import sha256
from fedward.hosts.project import ADDRESS, DIGEST
from fedward.types import Address

MAX_BYTES = 4096

_PURPOSE = b"fedward witness 1\n"
_AGAIN = "Ask the witness for a new one: `main.py enroll-witness` writes it."


@dataclass(frozen=True)
class WitnessRequest:
    """What a witness asks for.

    Attributes:
        address: Its account, which may attest to aggregates.
        token_hash: Hexadecimal SHA-256 of its token for the server's gateway.
        signature: 65 bytes r, s, v; the account's, over both as a personal message (EIP-191).
    """

    address: Annotated[Address, ADDRESS]
    token_hash: Annotated[str, DIGEST]
    signature: Annotated[bytes, Length(SIGNATURE_BYTES)]

    def to_bytes(self) -> bytes:
        """The request as JSON, for a file."""
        return (json.dumps(to_json(self), indent=2) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes, what: str) -> "WitnessRequest":
        """Read what `to_bytes` wrote.

        Raises:
            UsageError: it is no request.
            VerificationError: the account that it names has not signed it.
        """
        if len(content) > MAX_BYTES:
            raise UsageError(f"{what} is longer than {MAX_BYTES:,} bytes.", _AGAIN)
        found = checked_json(cls, content, what, UsageError, _AGAIN)
        if (
            recover(encode_defunct(primitive=_signed(found.address, found.token_hash)), found.signature)
            != found.address
        ):
            raise VerificationError(f"{what} is not signed by the account {found.address} that it names.", _AGAIN)
        return found


def sign_witness_request(identity: Identity, token: str) -> bytes:
    """A witness's request, as bytes for a file."""
    token_hash = sha256(token.encode()).hex()
    signature = identity.sign_message(encode_defunct(primitive=_signed(identity.address, token_hash)))
    return WitnessRequest(identity.address, token_hash, signature).to_bytes()


def _signed(address: Address, token_hash: str) -> bytes:
    """What the account signs."""
    return _PURPOSE + sha256(f"{address} {token_hash}".encode())
