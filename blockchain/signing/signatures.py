"""EIP-712 signatures of commitments and votes: readable in any wallet, bound to one chain and one contract."""

import functools
from dataclasses import dataclass
from typing import Any, Protocol

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from blockchain.identity import Identity
from blockchain.ledger.encoding import MAX_UINT32, MAX_UINT64, encode_event
from blockchain.ledger.records import RoundOpening, RoundRecord
from fedward.errors import LedgerError
from fedward.files import merkle_root, sha256
from fedward.types import Address, Commitment, EncryptedUpdate, SignedCommitment, SignedVote, Vote

DOMAIN_NAME = "Fedward UpdateLedger"
DOMAIN_VERSION = "1"
SIGNATURE_BYTES = 65
FIRST_V = 27  # Ethereum's two recovery ids are 27 and 28
MOST_REMEMBERED = 4096  # signers of messages that are checked again and again

_PRIVACY_FIELDS = {
    "mode": "uint8",
    "unit": "uint8",
    "samplingRate": "uint128",
    "noiseMultiplier": "uint128",
    "steps": "uint32",
    "clipNorm": "uint128",
    "delta": "uint128",
}
_COMMITMENT_FIELDS = {
    "round": "uint32",
    "hospital": "address",
    "ledgerHead": "bytes32",
    "baseId": "bytes32",
    "contextFingerprint": "bytes32",
    "updateRoot": "bytes32",
    "updateBytes": "uint64",
    "sharesRoot": "bytes32",
    "weight": "uint32",
    "privacy": "PrivacyEvent",
}
_VOTE_FIELDS = {
    "round": "uint32",
    "hospital": "address",
    "aggregateHash": "bytes32",
    "accept": "bool",
    "candidateDigest": "bytes32",
    "countsHash": "bytes32",
    "evidenceHash": "bytes32",
}


class LedgerPlace(Protocol):
    """The chain and contract that a signature is bound to."""

    @property
    def chain_id(self) -> int:
        """The chain's id."""

    @property
    def contract(self) -> Address:
        """The contract's address."""


@dataclass(frozen=True)
class Verdict:
    """A hospital's judgment of a candidate.

    Attributes:
        accept: Whether the hospital accepts the candidate.
        candidate_digest: 32 bytes; digest of the candidate's weights, which the hospital decrypted.
        counts_hash: 32 bytes; hash of the hospital's counts on its own images, zeros where it gives none.
        evidence_hash: 32 bytes; hash of the reports behind the verdict.
    """

    accept: bool
    candidate_digest: bytes
    counts_hash: bytes
    evidence_hash: bytes


def commit(
    encrypted: EncryptedUpdate, shares_root: bytes, opening: RoundOpening, ledger: LedgerPlace, identity: Identity
) -> SignedCommitment:
    """Stage 5, commit: sign what is about to leave the hospital, for this round of this ledger only.

    Args:
        encrypted: The update.
        shares_root: 32 bytes, not all zeros; Merkle root of the hashes of the sealed key shares, in roster order.
        opening: The open round.
        ledger: The chain and contract of the round.
        identity: The hospital's keys.

    Raises:
        LedgerError: a value of the privacy event cannot be recorded.
    """
    commitment = Commitment(
        chain_id=ledger.chain_id,
        contract=ledger.contract,
        round_index=opening.round_index,
        hospital=identity.address,
        ledger_head=opening.ledger_head,
        base_id=opening.base_id,
        context_fingerprint=opening.context_fingerprint,
        update_root=merkle_root([sha256(chunk) for chunk in encrypted.chunks]),
        update_bytes=sum(map(len, encrypted.chunks)),
        shares_root=shares_root,
        weight=encrypted.weight,
        event=encrypted.event,
    )
    return sign_commitment(commitment, identity)


def sign_vote(verdict: Verdict, record: RoundRecord, ledger: LedgerPlace, identity: Identity) -> SignedVote:
    """Stage 11: sign a verdict on the aggregate that a round recorded."""
    vote = Vote(
        chain_id=ledger.chain_id,
        contract=ledger.contract,
        round_index=record.round_index,
        hospital=identity.address,
        aggregate_hash=record.aggregate_hash,
        accept=verdict.accept,
        candidate_digest=verdict.candidate_digest,
        counts_hash=verdict.counts_hash,
        evidence_hash=verdict.evidence_hash,
    )
    return SignedVote(vote, identity.sign_message(vote_message(vote)))


def sign_commitment(commitment: Commitment, identity: Identity) -> SignedCommitment:
    """Sign a commitment as it stands."""
    return SignedCommitment(commitment, identity.sign_message(commitment_message(commitment)))


def commitment_message(commitment: Commitment) -> SignableMessage:
    """The typed data of a commitment."""
    content = {
        "round": commitment.round_index,
        "hospital": commitment.hospital,
        "ledgerHead": commitment.ledger_head,
        "baseId": commitment.base_id,
        "contextFingerprint": commitment.context_fingerprint,
        "updateRoot": commitment.update_root,
        "updateBytes": commitment.update_bytes,
        "sharesRoot": commitment.shares_root,
        "weight": commitment.weight,
        "privacy": dict(zip(_PRIVACY_FIELDS, encode_event(commitment.event), strict=True)),
    }
    types = {"Commitment": members(_COMMITMENT_FIELDS), "PrivacyEvent": members(_PRIVACY_FIELDS)}
    return encode_typed_data(domain(commitment.chain_id, commitment.contract), types, content)


@functools.lru_cache(MOST_REMEMBERED)
def recover_commitment_signer(signed: SignedCommitment) -> Address | None:
    """Who signed a commitment; None where the signature is malformed, or a value is one that no commitment can have.

    Remembered, for it follows from the argument alone, and where one process plays many hospitals each of them asks.
    """
    said = signed.commitment
    if said.round_index > MAX_UINT32 or said.weight > MAX_UINT32 or said.update_bytes > MAX_UINT64:
        return None
    try:
        return recover(commitment_message(said), signed.signature)
    except LedgerError:  # of a privacy event that has no encoding
        return None


def vote_message(vote: Vote) -> SignableMessage:
    """The typed data of a vote."""
    content = {
        "round": vote.round_index,
        "hospital": vote.hospital,
        "aggregateHash": vote.aggregate_hash,
        "accept": vote.accept,
        "candidateDigest": vote.candidate_digest,
        "countsHash": vote.counts_hash,
        "evidenceHash": vote.evidence_hash,
    }
    return encode_typed_data(domain(vote.chain_id, vote.contract), {"Vote": members(_VOTE_FIELDS)}, content)


@functools.lru_cache(MOST_REMEMBERED)
def recover_vote_signer(signed: SignedVote) -> Address | None:
    """Who signed a vote; None where the signature is malformed. Remembered, as of commitments."""
    return recover(vote_message(signed.vote), signed.signature)


def domain(chain_id: int, contract: Address) -> dict[str, Any]:
    """The ledger that a signature is bound to."""
    return {"name": DOMAIN_NAME, "version": DOMAIN_VERSION, "chainId": chain_id, "verifyingContract": contract}


def members(fields: dict[str, str]) -> list[dict[str, str]]:
    """A struct's members as EIP-712 lists them."""
    return [{"name": name, "type": kind} for name, kind in fields.items()]


def recover(message: SignableMessage, signature: bytes) -> Address | None:
    """The signer's address; None where it is no signature.

    v is 27 or 28, as the contract has it: eth-account reads others as well, so one signature would have several forms.
    """
    if len(signature) != SIGNATURE_BYTES or signature[-1] not in (FIRST_V, FIRST_V + 1):
        return None
    try:
        return Address(Account.recover_message(message, signature=signature))
    except (BadSignature, ValidationError, ValueError):
        return None
