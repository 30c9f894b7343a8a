"""Whatever lies where a sealed key or a card should: only our errors, and nothing comes out that was not sealed."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blockchain.consortium.sealed_keys import MAX_PACKAGE_BYTES, SealedKey, Terms, make_card, read_card, seal_key
from blockchain.identity import Identity
from fedward.ciphertexts.sealing import OVERHEAD_BYTES, seal, unseal
from fedward.errors import EncryptionError, EvidenceError, VerificationError
from fedward.folders.key_board import MAX_FILE_BYTES, KeyBoardFolder
from fedward.types import Address

SECRET = b"the consortium's key, as far as this test is concerned"
CONTRACT = Address("0x" + "11" * 20)


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> tuple[Identity, Identity]:
    """Dealer and recipient."""
    folder = tmp_path_factory.mktemp("identities")
    return Identity.create(folder / "dealer"), Identity.create(folder / "recipient")


@pytest.fixture(scope="module")
def terms(parties: tuple[Identity, Identity]) -> Terms:
    dealer, recipient = parties
    return Terms(190826, CONTRACT, 3, b"r" * 32, b"f" * 32, dealer.address, recipient.address)


@pytest.fixture(scope="module")
def package(parties: tuple[Identity, Identity], terms: Terms) -> bytes:
    dealer, recipient = parties
    return seal_key(SECRET, terms, recipient.x25519_public_key, dealer).to_bytes()


def test_what_was_sealed_opens(parties: tuple[Identity, Identity], terms: Terms, package: bytes) -> None:
    parsed = SealedKey.from_bytes(package)
    assert parsed.terms == terms
    assert parsed.to_bytes() == package
    assert parsed.open(terms, parties[1].sealing_key) == SECRET
    assert SECRET not in package


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=600))
@example(content=b"")
@example(content=b"fedward sealed key 1\n")
@example(content=b"fedward sealed key 1\n" + bytes(400))
def test_any_bytes_are_refused(parties: tuple[Identity, Identity], terms: Terms, content: bytes) -> None:
    for guess in (content, b"fedward sealed key 1\n" + content, b"fedward sealed key 1\n" + terms.to_bytes() + content):
        with pytest.raises((EncryptionError, VerificationError)):
            SealedKey.from_bytes(guess).open(terms, parties[1].sealing_key)
    with pytest.raises(VerificationError):
        read_card(content, terms.chain_id, CONTRACT, terms.recipient)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(["bit", "cut", "gap", "more"]), place=st.integers(0, 10_000), value=st.integers(1, 255))
@example(kind="bit", place=138, value=5)  # the last byte of a card: eth-account takes 27 + 32 for a v of 27
def test_any_change_is_refused(
    parties: tuple[Identity, Identity], terms: Terms, package: bytes, kind: str, place: int, value: int
) -> None:
    card = make_card(parties[1], terms.chain_id, CONTRACT)
    for whole, read in (
        (package, lambda changed: SealedKey.from_bytes(changed).open(terms, parties[1].sealing_key)),
        (card, lambda changed: read_card(changed, terms.chain_id, CONTRACT, terms.recipient)),
    ):
        changed, at = bytearray(whole), place % len(whole)
        if kind == "bit":
            changed[at] ^= 1 << value % 8
        elif kind == "cut":
            del changed[at:]
        elif kind == "gap":
            del changed[at : at + value]
        else:
            changed[at:at] = bytes(value)
        with pytest.raises((EncryptionError, VerificationError)):
            read(bytes(changed))


@pytest.mark.parametrize("name", [field.name for field in fields(Terms)])
def test_each_term_counts_by_itself_in_the_check_the_signature_and_the_seal(
    parties: tuple[Identity, Identity], terms: Terms, package: bytes, name: str
) -> None:
    dealer, recipient = parties
    value = getattr(terms, name)
    if isinstance(value, int):
        other: object = value + 1
    else:
        other = bytes(32) if isinstance(value, bytes) else Address("0x" + "22" * 20)
    changed = replace(terms, **{name: other})
    parsed = SealedKey.from_bytes(package)
    with pytest.raises(VerificationError, match=name.replace("_", " ")):
        parsed.open(changed, recipient.sealing_key)
    # Where somebody writes the wanted terms in front, the signature is of others.
    with pytest.raises(VerificationError, match="signed by"):
        replace(parsed, terms=changed).open(changed, recipient.sealing_key)
    # And where the dealer itself signs a seal under other terms, it does not open.
    if name != "dealer":
        resigned = seal_key(SECRET, changed, recipient.x25519_public_key, dealer)
        moved = replace(resigned, sealed=parsed.sealed)
        with pytest.raises((VerificationError, EncryptionError)):
            moved.open(changed, recipient.sealing_key)
    with pytest.raises(EncryptionError):
        unseal(parsed.sealed, recipient.sealing_key, b"fedward sealed key 1\n" + changed.to_bytes())


def test_size_is_bounded_before_anything_is_read(terms: Terms, tmp_path: Path) -> None:
    with pytest.raises(EncryptionError, match="not a sealed key"):
        SealedKey.from_bytes(b"fedward sealed key 1\n" + bytes(MAX_PACKAGE_BYTES))
    board, hospital = KeyBoardFolder(tmp_path / "keys"), terms.recipient
    with pytest.raises(EvidenceError, match=r"key of epoch 1 for .* could not be read"):
        board.load_sealed_key(1, hospital)
    board.save_sealed_key(1, hospital, b"")
    file = next(board.path.rglob("*.sealed"))
    with file.open("wb") as sparse:
        sparse.truncate(100 * MAX_FILE_BYTES)
    with pytest.raises(VerificationError, match="longer than"):
        board.load_sealed_key(1, hospital)
    file.unlink()
    file.mkdir()
    with pytest.raises(EvidenceError, match="Is a directory"):
        board.load_sealed_key(1, hospital)


@settings(max_examples=50, deadline=None)
@given(plaintext=st.binary(max_size=300), purpose=st.binary(max_size=100), other=st.binary(max_size=100))
def test_a_seal_opens_for_its_key_and_purpose_only(plaintext: bytes, purpose: bytes, other: bytes) -> None:
    key, stranger = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    sealed = seal(plaintext, public, purpose)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert sealed != seal(plaintext, public, purpose)
    assert unseal(sealed, key, purpose) == plaintext
    with pytest.raises(EncryptionError):
        unseal(sealed, stranger, purpose)
    if other != purpose:
        with pytest.raises(EncryptionError):
            unseal(sealed, key, other)


@pytest.mark.parametrize("weak", [bytes(32), bytes([1]) + bytes(31), bytes(31), b""])
def test_nothing_is_sealed_to_a_key_that_anybody_could_open(weak: bytes) -> None:
    with pytest.raises(EncryptionError, match="X25519"):
        seal(SECRET, weak, b"")
    with pytest.raises(EncryptionError):
        unseal(weak + bytes(64), X25519PrivateKey.generate(), b"")
