"""Answers as hospitals sign them: what a hospital says of the shares that it was dealt, so that a lie has a name."""

from dataclasses import dataclass
from typing import Annotated

from eth_account.messages import SignableMessage, encode_typed_data

from blockchain.identity import Identity
from blockchain.signing.signatures import SIGNATURE_BYTES, domain, members, recover
from fedward.checked_json import Length
from fedward.tables import Between
from fedward.types import Address

_Word = Annotated[bytes, Length(32)]
_ANSWERS_FIELDS = {
    "round": "uint32",
    "hospital": "address",
    "ledgerHead": "bytes32",
    "answersHash": "bytes32",
}


@dataclass(frozen=True)
class Answers:
    """What a hospital signs of its answers; the answer sheet itself travels beside it.

    Attributes:
        chain_id, contract: Which ledger.
        round_index: From 1.
        hospital: Who answers, and signs.
        ledger_head: 32 bytes; the head that the challenge was drawn from.
        answers_hash: 32 bytes; SHA-256 of the answer sheet (`fedward.sharing.answer_sheets`).
    """

    chain_id: Annotated[int, Between(0, 2**63 - 1)]
    contract: Address
    round_index: Annotated[int, Between(0, 2**32 - 1)]
    hospital: Address
    ledger_head: _Word
    answers_hash: _Word


@dataclass(frozen=True)
class SignedAnswers:
    """Answers with their signature: 65 bytes r, s, v."""

    answers: Answers
    signature: Annotated[bytes, Length(SIGNATURE_BYTES)]


def sign_answers(answers: Answers, identity: Identity) -> SignedAnswers:
    """Sign answers as they stand."""
    return SignedAnswers(answers, identity.sign_message(answers_message(answers)))


def recover_answers_signer(signed: SignedAnswers) -> Address | None:
    """Who signed answers; None where the signature is malformed."""
    return recover(answers_message(signed.answers), signed.signature)


def answers_message(answers: Answers) -> SignableMessage:
    """The typed data (EIP-712) of answers; the domain is the ledger's own."""
    content = {
        "round": answers.round_index,
        "hospital": answers.hospital,
        "ledgerHead": answers.ledger_head,
        "answersHash": answers.answers_hash,
    }
    return encode_typed_data(domain(answers.chain_id, answers.contract), {"Answers": members(_ANSWERS_FIELDS)}, content)
