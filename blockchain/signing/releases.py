"""Releases as hospitals sign them: which sum a hospital helps to open, so that a wrong release has a name."""

import functools

from eth_account.messages import SignableMessage, encode_typed_data

from blockchain.identity import Identity
from blockchain.signing.signatures import MOST_REMEMBERED, domain, members, recover
from fedward.files import sha256
from fedward.sharing.signed import Release, SignedRelease
from fedward.sharing.terms import ReleaseTerms
from fedward.types import Address

_RELEASE_FIELDS = {
    "round": "uint32",
    "hospital": "address",
    "purpose": "uint8",
    "ledgerHead": "bytes32",
    "includedMask": "uint256",
    "sumHash": "bytes32",
    "contentHash": "bytes32",
}


def release_of(terms: ReleaseTerms, content: bytes) -> Release:
    """What is signed of an encrypted release.

    Args:
        terms: What it is for.
        content: The encrypted release.
    """
    return Release(
        chain_id=terms.chain_id,
        contract=terms.contract,
        round_index=terms.round_index,
        hospital=terms.hospital,
        purpose=int(terms.purpose),
        ledger_head=terms.ledger_head,
        included_mask=terms.included_mask.to_bytes(32, "big"),
        sum_hash=terms.sum_hash,
        content_hash=sha256(content),
    )


def sign_release(terms: ReleaseTerms, content: bytes, identity: Identity) -> SignedRelease:
    """Sign an encrypted release.

    Args:
        terms: What it is for; their hospital is the one who signs.
        content: The encrypted release.
        identity: The hospital's keys.
    """
    release = release_of(terms, content)
    return SignedRelease(release, identity.sign_message(release_message(release)))


@functools.lru_cache(MOST_REMEMBERED)
def recover_release_signer(signed: SignedRelease) -> Address | None:
    """Who signed a release; None where the signature is malformed.

    Remembered, for it follows from the argument alone, and where one process plays many hospitals each of them asks.
    """
    return recover(release_message(signed.release), signed.signature)


def is_release(signed: SignedRelease, terms: ReleaseTerms, content: bytes) -> bool:
    """Whether a hospital signed exactly this content for exactly these terms."""
    return signed.release == release_of(terms, content) and recover_release_signer(signed) == terms.hospital


def release_message(release: Release) -> SignableMessage:
    """The typed data (EIP-712) of a release; the domain is the ledger's own."""
    content = {
        "round": release.round_index,
        "hospital": release.hospital,
        "purpose": release.purpose,
        "ledgerHead": release.ledger_head,
        "includedMask": int.from_bytes(release.included_mask, "big"),
        "sumHash": release.sum_hash,
        "contentHash": release.content_hash,
    }
    return encode_typed_data(domain(release.chain_id, release.contract), {"Release": members(_RELEASE_FIELDS)}, content)
