"""How a hospital sits a round out without making the others wait: it commits to having no update.

The contract closes a round before its deadline only if everybody on the roster has committed. A hospital whose privacy
budget is spent therefore signs a commitment to a few bytes that name the hospital and the round's opening, and no
ciphertext. The server relays it and excludes it by reason, so the ledger tells in public who gave nothing, and when.
The hospital stays on the roster: it votes, takes over accepted models, and needs no new key.
"""

from eth_utils.address import to_canonical_address

from blockchain.identity import Identity
from blockchain.ledger.records import RoundOpening
from blockchain.signing.signatures import LedgerPlace, sign_commitment
from fedward.files import merkle_root, sha256
from fedward.types import Address, Commitment, PrivacyEvent, SignedCommitment

NOTHING_SPENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
_MAGIC = b"fedward has no update\n"
ABSTENTION_BYTES = len(_MAGIC) + 32 + 20  # far less than a ciphertext: nothing else can be in it


def sign_abstention(opening: RoundOpening, weight: int, ledger: LedgerPlace, identity: Identity) -> SignedCommitment:
    """Sign that this hospital gives nothing in this round; the same bytes however often it is asked.

    Args:
        opening: The open round.
        weight: The hospital's enrolled weight.
        ledger: Where the round is.
        identity: Whose word it is.
    """
    commitment = Commitment(
        chain_id=ledger.chain_id,
        contract=ledger.contract,
        round_index=opening.round_index,
        hospital=identity.address,
        ledger_head=opening.ledger_head,
        base_id=opening.base_id,
        context_fingerprint=opening.context_fingerprint,
        update_root=_root(identity.address, opening.ledger_head),
        update_bytes=ABSTENTION_BYTES,
        weight=weight,
        event=NOTHING_SPENT,
    )
    return sign_commitment(commitment, identity)


def is_abstention(commitment: Commitment, roster: frozenset[Address]) -> bool:
    """Whether a commitment is one to no update, of somebody on the roster."""
    return (
        commitment.hospital in roster
        and (commitment.update_bytes, commitment.event) == (ABSTENTION_BYTES, NOTHING_SPENT)
        and commitment.update_root == _root(commitment.hospital, commitment.ledger_head)
    )


def _root(hospital: Address, ledger_head: bytes) -> bytes:
    """What stands in place of the ciphertexts' Merkle root: another one in each round, for each hospital."""
    return merkle_root([sha256(_MAGIC + ledger_head + to_canonical_address(hospital))])
