"""Answers as hospitals sign them: what a hospital says of the shares that it was dealt, so that a lie has a name."""

from collections.abc import Collection

from eth_account.messages import SignableMessage, encode_typed_data

from blockchain.identity import Identity
from blockchain.signing.signatures import domain, members, recover
from fedward.errors import EncryptionError
from fedward.files import sha256
from fedward.sharing.answer_sheets import AnswerSheet
from fedward.sharing.signed import Answers, SentAnswers, SignedAnswers
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


def sheet_of(
    sent: SentAnswers, ledger: tuple[int, Address], round_index: int, ledger_head: bytes, roster: Collection[Address]
) -> AnswerSheet | None:
    """What a hospital answered, if one on the roster signed exactly this for this challenge of this round.

    Args:
        sent: From outside.
        ledger: Chain id and contract.
        round_index: The round.
        ledger_head: 32 bytes; gives the challenge.
        roster: Of the round.
    """
    said = sent.signed.answers
    wanted = Answers(*ledger, round_index, said.hospital, ledger_head, sha256(sent.content))
    if said != wanted or said.hospital not in roster or recover_answers_signer(sent.signed) != said.hospital:
        return None
    try:
        return AnswerSheet.from_bytes(sent.content)
    except EncryptionError:
        return None


def answers_message(answers: Answers) -> SignableMessage:
    """The typed data (EIP-712) of answers; the domain is the ledger's own."""
    content = {
        "round": answers.round_index,
        "hospital": answers.hospital,
        "ledgerHead": answers.ledger_head,
        "answersHash": answers.answers_hash,
    }
    return encode_typed_data(domain(answers.chain_id, answers.contract), {"Answers": members(_ANSWERS_FIELDS)}, content)
