"""Checkpoints: a hospital signs where the ledger stood, so that cutting or rewriting the ledger is noticed."""

import functools
from dataclasses import dataclass

from eth_account.messages import SignableMessage, encode_typed_data

from blockchain.identity import Identity
from blockchain.ledger.json_fields import Account
from blockchain.signing.signatures import MOST_REMEMBERED, domain, members, recover
from fedward.types import Address, Signature, Whole, Word

_CHECKPOINT_FIELDS = {
    "hospital": "address",
    "round": "uint32",
    "height": "uint64",
    "blockHash": "bytes32",
    "ledgerHead": "bytes32",
}


@dataclass(frozen=True)
class Checkpoint:
    """One moment of the ledger as one hospital saw it.

    Attributes:
        chain_id, contract: Which ledger.
        hospital: The hospital that saw it, and signs.
        round_index: The latest round then; 0 before the first.
        height: Number of the last block.
        block_hash: 32 bytes; that block's hash.
        ledger_head: 32 bytes; the running hash over all events up to that block.
    """

    chain_id: Whole
    contract: Account
    hospital: Account
    round_index: Whole
    height: Whole
    block_hash: Word
    ledger_head: Word


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint with its signature: 65 bytes r, s, v."""

    checkpoint: Checkpoint
    signature: Signature


def sign_checkpoint(checkpoint: Checkpoint, identity: Identity) -> SignedCheckpoint:
    """Sign a checkpoint as it stands."""
    return SignedCheckpoint(checkpoint, identity.sign_message(checkpoint_message(checkpoint)))


@functools.lru_cache(MOST_REMEMBERED)
def recover_checkpoint_signer(signed: SignedCheckpoint) -> Address | None:
    """Who signed a checkpoint; None where the signature is malformed.

    Remembered, for it follows from the argument alone, and a hospital checks its last one again with each message.
    """
    return recover(checkpoint_message(signed.checkpoint), signed.signature)


def checkpoint_message(checkpoint: Checkpoint) -> SignableMessage:
    """The typed data (EIP-712) of a checkpoint; the domain is the ledger's own."""
    content = {
        "hospital": checkpoint.hospital,
        "round": checkpoint.round_index,
        "height": checkpoint.height,
        "blockHash": checkpoint.block_hash,
        "ledgerHead": checkpoint.ledger_head,
    }
    types = {"Checkpoint": members(_CHECKPOINT_FIELDS)}
    return encode_typed_data(domain(checkpoint.chain_id, checkpoint.contract), types, content)
