"""What hospitals sign about a round's shared keys, and how it is sent: answers about shares, and releases.

Making and checking signatures is the business of `blockchain.signing`.
"""

from dataclasses import dataclass, field
from typing import Annotated

from fedward.tables import Between
from fedward.types import Signature, Signer, Whole, Word

Round = Annotated[int, Between(0, 2**32 - 1)]  # what can be signed of it


@dataclass(frozen=True)
class Answers:
    """What a hospital signs (EIP-712) about the shares that others dealt to it in a round.

    Attributes:
        chain_id, contract, round_index, hospital: As in `Commitment`.
        ledger_head: 32 bytes; where the ledger stood after the last of the tested dealings.
        answers_hash: 32 bytes; sha256 of the numbers that it answers, by dealer (`fedward.sharing.answer_sheets`).
    """

    chain_id: Whole
    contract: Signer
    round_index: Round
    hospital: Signer
    ledger_head: Word
    answers_hash: Word


@dataclass(frozen=True)
class SignedAnswers:
    """Answers with their signature: 65 bytes r, s, v."""

    answers: Answers
    signature: Signature


@dataclass(frozen=True)
class SentAnswers:
    """Signed answers with the numbers themselves, serialized."""

    signed: SignedAnswers
    content: bytes


@dataclass(frozen=True)
class Release:
    """What a hospital signs (EIP-712) when it releases its part of the key of one sum.

    Attributes:
        chain_id, contract, round_index, hospital: As in `Commitment`.
        purpose: What is summed: 0 updates, 1 validation counts.
        ledger_head: 32 bytes; the ledger's running hash right after the round's submissions were closed.
        included_mask: Whose ciphertexts are in the sum: bit i for the i-th hospital on the round's roster, from 0; 32
            bytes, big-endian.
        sum_hash: 32 bytes; Merkle root of the sum's ciphertexts.
        content_hash: 32 bytes; sha256 of the released shares under the channel key.
    """

    chain_id: Whole
    contract: Signer
    round_index: Round
    hospital: Signer
    purpose: Annotated[int, Between(0, 1)]
    ledger_head: Word
    included_mask: Word
    sum_hash: Word
    content_hash: Word


@dataclass(frozen=True)
class SignedRelease:
    """A release with its signature: 65 bytes r, s, v."""

    release: Release
    signature: Signature


@dataclass(frozen=True)
class SentRelease:
    """A signed release with the released shares, encrypted under the channel key."""

    signed: SignedRelease
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class SentSum:
    """A sum of ciphertexts with what hospitals released for it: all that hospitals need to open it.

    Attributes:
        chunks: The sum's ciphertexts, in order; to be checked against the ledger.
        releases: Of different hospitals; to be checked by whoever opens.
    """

    chunks: tuple[bytes, ...] = field(repr=False)
    releases: tuple[SentRelease, ...] = field(repr=False)
