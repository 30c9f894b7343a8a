"""Abstention: how a hospital without an update signs that it gives none, so that the others need not wait for it.

The contract closes a round before its deadline only if everybody on the roster has committed. A hospital whose privacy
budget is spent therefore signs a commitment to a few bytes that name the hospital and the round's opening, to no
ciphertext and to no share of a key. The server relays this commitment and then excludes it with its reason, so the
ledger shows in public who gave no update, and when. The hospital stays on the roster: it votes, releases sums, catches
up to accepted models, and needs no new key.
"""

from eth_utils.address import to_canonical_address

from blockchain.identity import Identity
from blockchain.ledger.records import RoundOpening
from blockchain.signing.signatures import LedgerPlace, sign_commitment
from fedward.files import merkle_root, sha256
from fedward.types import Address, Commitment, PrivacyEvent, SignedCommitment

NOTHING_SPENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
_NO_UPDATE, _NO_SHARES = b"fedward has no update\n", b"fedward has no shares\n"
ABSTENTION_BYTES = len(_NO_UPDATE) + 32 + 20  # too short for a ciphertext


def sign_abstention(opening: RoundOpening, weight: int, ledger: LedgerPlace, identity: Identity) -> SignedCommitment:
    """Sign that this hospital gives no update in this round; the same bytes however often it is called.

    Args:
        opening: The open round.
        weight: The hospital's enrolled weight.
        ledger: The chain and contract of the round.
        identity: The hospital's keys.
    """
    commitment = Commitment(
        chain_id=ledger.chain_id,
        contract=ledger.contract,
        round_index=opening.round_index,
        hospital=identity.address,
        ledger_head=opening.ledger_head,
        base_id=opening.base_id,
        context_fingerprint=opening.context_fingerprint,
        update_root=_root(_NO_UPDATE, identity.address, opening.ledger_head),
        update_bytes=ABSTENTION_BYTES,
        shares_root=_root(_NO_SHARES, identity.address, opening.ledger_head),
        weight=weight,
        event=NOTHING_SPENT,
    )
    return sign_commitment(commitment, identity)


def is_abstention(commitment: Commitment, roster: frozenset[Address]) -> bool:
    """Whether a commitment is the abstention of a hospital on this roster."""
    return (
        commitment.hospital in roster
        and (commitment.update_bytes, commitment.event) == (ABSTENTION_BYTES, NOTHING_SPENT)
        and commitment.update_root == _root(_NO_UPDATE, commitment.hospital, commitment.ledger_head)
        and commitment.shares_root == _root(_NO_SHARES, commitment.hospital, commitment.ledger_head)
    )


def _root(what: bytes, hospital: Address, ledger_head: bytes) -> bytes:
    """Stands in place of a Merkle root, of ciphertexts or of sealed shares; different for each round and hospital."""
    return merkle_root([sha256(what + ledger_head + to_canonical_address(hospital))])
