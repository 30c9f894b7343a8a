"""EIP-712 digests of structs in contract calls, and recovery of their signers, exactly as the contract does both.

`blockchain.signing.signatures` is for what a hospital is about to sign. This module is for judging calls by anybody,
whose structs may have values that no hospital would sign.
"""

import functools
from collections.abc import Sequence
from typing import Any

from eth_abi.abi import encode
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from blockchain.ledger.artifact import AbiEntry, load_artifact
from blockchain.signing.signatures import DOMAIN_NAME, DOMAIN_VERSION, FIRST_V, SIGNATURE_BYTES
from fedward.types import Address

DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def domain_separator(chain_id: int, contract: Address) -> bytes:
    """What binds a signature to one contract of one chain: 32 bytes."""
    kinds = ["bytes32", "bytes32", "bytes32", "uint256", "address"]
    names = [keccak(text=text) for text in (DOMAIN_TYPE, DOMAIN_NAME, DOMAIN_VERSION)]
    return keccak(encode(kinds, [*names, chain_id, contract]))


def commitment_digest(domain: bytes, commitment: Sequence[Any]) -> bytes:
    """What a hospital signs over a commitment, given as the contract's struct: 32 bytes."""
    kinds, type_hash, privacy_kinds, privacy_hash = _commitment_types()
    privacy = keccak(privacy_hash + encode(privacy_kinds, commitment[-1]))
    return _digest(domain, keccak(type_hash + encode([*kinds, "bytes32"], [*commitment[:-1], privacy])))


def vote_digest(domain: bytes, vote: Sequence[Any]) -> bytes:
    """What a hospital signs over a vote, given as the contract's struct: 32 bytes."""
    kinds, type_hash = _vote_types()
    return _digest(domain, keccak(type_hash + encode(kinds, vote)))


def recover_signer(digest: bytes, signature: bytes) -> Address | None:
    """Who signed a digest, exactly as OpenZeppelin's ECDSA has it.

    Args:
        digest: 32 bytes.
        signature: 65 bytes r, s, v; any other bytes are no signature.

    Returns:
        None where it is no signature: another length, v not 27 or 28, s in the upper half, no point on the curve.
    """
    if len(signature) != SIGNATURE_BYTES:
        return None
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    if v not in (FIRST_V, FIRST_V + 1) or not 0 < r < SECPK1_N or not 0 < s <= SECPK1_N // 2:
        return None
    try:
        signer = Signature(vrs=(v - FIRST_V, r, s)).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError):
        return None
    return Address(to_checksum_address(signer.to_canonical_address()))


def _digest(domain: bytes, struct_hash: bytes) -> bytes:
    """The digest of EIP-712."""
    return keccak(b"\x19\x01" + domain + struct_hash)


@functools.cache
def _commitment_types() -> tuple[list[str], bytes, list[str], bytes]:
    """ABI types of all members but the privacy event, and the struct type's hash; then both for the privacy event."""
    fields = _struct("submitUpdate")
    privacy = fields[-1]["components"]
    privacy_type = _type("PrivacyEvent", privacy)
    named = [*fields[:-1], {"type": "PrivacyEvent", "name": fields[-1]["name"]}]
    type_hash = keccak(text=_type("Commitment", named) + privacy_type)
    return _kinds(fields[:-1]), type_hash, _kinds(privacy), keccak(text=privacy_type)


@functools.cache
def _vote_types() -> tuple[list[str], bytes]:
    """ABI types of the members, and the struct type's hash."""
    fields = _struct("castVote")
    return _kinds(fields), keccak(text=_type("Vote", fields))


def _struct(function: str) -> list[AbiEntry]:
    """Members of the struct that a function takes."""
    entry = next(entry for entry in load_artifact().abi if entry.get("name") == function)
    fields: list[AbiEntry] = entry["inputs"][0]["components"]
    return fields


def _type(name: str, fields: Sequence[AbiEntry]) -> str:
    """A struct's type as EIP-712 writes it."""
    return f"{name}({','.join(field['type'] + ' ' + field['name'] for field in fields)})"


def _kinds(fields: Sequence[AbiEntry]) -> list[str]:
    """The members' ABI types."""
    return [field["type"] for field in fields]
