"""Answers as hospitals sign them: what a hospital says of the shares that it was dealt, so that a lie has a name."""

from eth_account.messages import SignableMessage, encode_typed_data

from blockchain.identity import Identity
from blockchain.signing.signatures import domain, members, recover
from fedward.sharing.signed import Answers, SignedAnswers
from fedward.types import Address

_ANSWERS_FIELDS = {
    "round": "uint32",
    "hospital": "address",
    "ledgerHead": "bytes32",
    "answersHash": "bytes32",
}


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
