"""Answers and releases are signed by whom and for what they say, and by nobody and for nothing else."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from eth_account.messages import SignableMessage, _hash_eip191_message

from blockchain.identity import Identity
from blockchain.signing.answers import answers_message, recover_answers_signer, sign_answers
from blockchain.signing.releases import (
    is_release,
    recover_release_signer,
    release_message,
    release_of,
    sign_release,
)
from fedward.checked_json import checked_json, to_json
from fedward.errors import VerificationError
from fedward.sharing.signed import Answers, Release, SignedAnswers, SignedRelease
from fedward.sharing.terms import Purpose, ReleaseTerms
from fedward.types import Address

LEDGER, OTHER = Address("0x" + "11" * 20), Address("0x" + "22" * 20)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.create(tmp_path_factory.mktemp("identity"))


def terms_for(hospital: Identity) -> ReleaseTerms:
    return ReleaseTerms(190826, LEDGER, 3, hospital.address, Purpose.COUNTS, b"h" * 32, 2**127 + 5, b"s" * 32)


def changed(struct: Any, name: str) -> Any:
    value = getattr(struct, name)
    if isinstance(value, int):
        return replace(struct, **{name: value - 1})
    return replace(struct, **{name: bytes(32) if isinstance(value, bytes) else OTHER})


def digest(message: SignableMessage) -> bytes:
    return _hash_eip191_message(message)


def test_a_signed_release_is_one_for_its_terms_and_content(hospital: Identity) -> None:
    terms = terms_for(hospital)
    signed = sign_release(terms, b"encrypted", hospital)
    assert recover_release_signer(signed) == hospital.address
    assert is_release(signed, terms, b"encrypted")
    assert not is_release(signed, terms, b"encrypteD")
    for field in fields(ReleaseTerms):
        other = replace(terms, **{field.name: getattr(changed(terms, field.name), field.name)})
        assert not is_release(signed, other, b"encrypted"), field.name
    # Where somebody writes the wanted terms in front, the signature is of others.
    moved = replace(terms, ledger_head=bytes(32))
    assert not is_release(SignedRelease(release_of(moved, b"encrypted"), signed.signature), moved, b"encrypted")
    assert not is_release(replace(signed, signature=bytes(65)), terms, b"encrypted")
    assert not is_release(replace(signed, signature=b""), terms, b"encrypted")


@pytest.mark.parametrize("name", [field.name for field in fields(Release)])
def test_every_member_of_a_release_is_signed(hospital: Identity, name: str) -> None:
    release = release_of(terms_for(hospital), b"encrypted")
    assert digest(release_message(release)) != digest(release_message(changed(release, name)))


@pytest.mark.parametrize("name", [field.name for field in fields(Answers)])
def test_every_member_of_answers_is_signed(hospital: Identity, name: str) -> None:
    answers = Answers(190826, LEDGER, 3, hospital.address, b"h" * 32, b"a" * 32)
    signed = sign_answers(answers, hospital)
    assert recover_answers_signer(signed) == hospital.address
    moved = changed(answers, name)
    assert digest(answers_message(answers)) != digest(answers_message(moved))
    assert recover_answers_signer(SignedAnswers(moved, signed.signature)) != hospital.address
    assert recover_answers_signer(SignedAnswers(answers, bytes(64))) is None


def test_a_release_and_answers_are_never_the_same_signature(hospital: Identity) -> None:
    release = release_of(terms_for(hospital), b"encrypted")
    answers = Answers(190826, LEDGER, 3, hospital.address, b"h" * 32, b"a" * 32)
    assert digest(release_message(release)) != digest(answers_message(answers))


def test_both_travel_as_json(hospital: Identity) -> None:
    release = sign_release(terms_for(hospital), b"encrypted", hospital)
    answers = sign_answers(Answers(190826, LEDGER, 3, hospital.address, b"h" * 32, b"a" * 32), hospital)
    for signed in (release, answers):
        content = json.dumps(to_json(signed)).encode()
        assert checked_json(type(signed), content, "It", VerificationError, "Send it again.") == signed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("purpose", 2),
        ("included_mask", "00"),
        ("ledger_head", "00" * 33),
        ("round_index", 2**32),
        ("round_index", -1),
        ("content_hash", ""),
    ],
)
def test_json_that_could_not_be_signed_is_refused(hospital: Identity, name: str, value: object) -> None:
    content = to_json(sign_release(terms_for(hospital), b"encrypted", hospital))
    content["release"][name] = value
    with pytest.raises(VerificationError, match=name):
        checked_json(SignedRelease, json.dumps(content).encode(), "It", VerificationError, "Send it again.")
