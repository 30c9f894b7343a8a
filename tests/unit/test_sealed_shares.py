"""Shares and releases open for whom and for what they are meant, and for nobody and nothing else."""

import copy
import pickle
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fedward.ciphertexts.sealing import seal
from fedward.errors import EncryptionError
from fedward.files import merkle_root
from fedward.sharing.dealing import MASKS, Complaint, deal_key
from fedward.sharing.modular import MODULUS, to_bytes, uniform
from fedward.sharing.sealed_releases import ChannelKey, decrypt_release, encrypt_release
from fedward.sharing.sealed_shares import UnfitShareError, open_share, seal_shares, shares_root
from fedward.sharing.sizes import dealing_bytes, release_bytes, sealed_share_bytes, share_width
from fedward.sharing.terms import Purpose, ReleaseTerms, ShareTerms
from fedward.types import Address

LEDGER, OTHER = Address("0x" + "11" * 20), Address("0x" + "22" * 20)
HOSPITALS = [Address(f"0x{number:040x}") for number in range(1, 6)]
RELEASE = ReleaseTerms(190826, LEDGER, 3, HOSPITALS[0], Purpose.UPDATES, b"h" * 32, 0b10111, b"s" * 32)


def terms_of(dealer: Address) -> list[ShareTerms]:
    return [ShareTerms(190826, LEDGER, 3, b"h" * 32, dealer, recipient) for recipient in HOSPITALS]


def changed(terms: Any, name: str) -> Any:
    value = getattr(terms, name)
    if isinstance(value, int):
        return replace(terms, **{name: value + 1})
    return replace(terms, **{name: bytes(32) if isinstance(value, bytes) else OTHER})


@pytest.fixture(scope="module")
def keys() -> list[X25519PrivateKey]:
    return [X25519PrivateKey.generate() for _ in HOSPITALS]


def public(keys: list[X25519PrivateKey]) -> list[bytes]:
    return [key.public_key().public_bytes_raw() for key in keys]


def test_each_recipient_opens_its_own_share_and_no_other(keys: list[X25519PrivateKey]) -> None:
    shares, terms = deal_key(uniform((9,)), 4, 5), terms_of(HOSPITALS[2])
    sealed = seal_shares(shares, public(keys), terms)
    for row, key in enumerate(keys):
        assert np.array_equal(open_share(sealed[row], terms[row], key, 9 + MASKS), shares[row])
        for other in range(5):
            if other != row:
                with pytest.raises(UnfitShareError, match="does not open") as caught:
                    open_share(sealed[other], terms[other], key, 9 + MASKS)
                assert caught.value.complaint is Complaint.DOES_NOT_OPEN
        assert to_bytes(shares[row]) not in sealed[row]


@pytest.mark.parametrize("name", [field.name for field in fields(ShareTerms)])
def test_a_share_is_bound_to_each_of_its_terms(keys: list[X25519PrivateKey], name: str) -> None:
    """Among them the round: what somebody kept of another round does not open."""
    terms = terms_of(HOSPITALS[2])
    (sealed, *_) = seal_shares(deal_key(uniform((9,)), 4, 5), public(keys), terms)
    with pytest.raises(UnfitShareError, match="does not open"):
        open_share(sealed, changed(terms[0], name), keys[0], 9 + MASKS)


def test_what_is_wrong_with_a_share_is_told_apart(keys: list[X25519PrivateKey]) -> None:
    width, terms, recipient = 9 + MASKS, terms_of(HOSPITALS[2])[0], keys[0].public_key().public_bytes_raw()
    too_large = uniform((width,))
    too_large[-1] = MODULUS
    cases = [
        (seal(to_bytes(uniform((width - 1,))), recipient, terms.to_bytes()), Complaint.WRONG_SIZE),
        (seal(to_bytes(uniform((width + 1,))), recipient, terms.to_bytes()), Complaint.WRONG_SIZE),
        (b"", Complaint.WRONG_SIZE),
        (bytes(sealed_share_bytes(width)), Complaint.DOES_NOT_OPEN),
        (seal(to_bytes(too_large), recipient, terms.to_bytes()), Complaint.OUT_OF_RANGE),
    ]
    for sealed, complaint in cases:
        with pytest.raises(UnfitShareError, match=HOSPITALS[2]) as caught:
            open_share(sealed, terms, keys[0], width)
        assert caught.value.complaint is complaint
        assert str(caught.value).count(". ") == 0
    too_large[-1] = MODULUS - 1
    sealed = seal(to_bytes(too_large), recipient, terms.to_bytes())
    assert np.array_equal(open_share(sealed, terms, keys[0], width), too_large)


@pytest.mark.parametrize("weak", [bytes(32), bytes([1]) + bytes(31), b""])
def test_a_hospital_whose_key_is_no_good_stops_nobody_else(keys: list[X25519PrivateKey], weak: bytes) -> None:
    terms = terms_of(HOSPITALS[0])
    sealed = seal_shares(deal_key(uniform((9,)), 4, 5), [weak, *public(keys)[1:]], terms)
    assert sealed[0] == bytes(sealed_share_bytes(9 + MASKS))
    open_share(sealed[4], terms[4], keys[4], 9 + MASKS)
    with pytest.raises(UnfitShareError, match="does not open"):
        open_share(sealed[0], terms[0], keys[0], 9 + MASKS)


def test_the_sizes_are_what_a_plan_says(keys: list[X25519PrivateKey]) -> None:
    for count in (1, 2):
        width = share_width(count)
        sealed = seal_shares(deal_key(uniform((4096 * count,)), 4, 5), public(keys), terms_of(HOSPITALS[0]))
        assert {len(each) for each in sealed} == {sealed_share_bytes(width)}
        assert sum(map(len, sealed)) == dealing_bytes(5, count)
    assert dealing_bytes(5, 1) == 164_200
    assert dealing_bytes(128, 1) == 4_203_520


def test_the_root_is_that_of_the_hashes_in_order() -> None:
    leaves = [sha256(bytes([number])).digest() for number in range(5)]
    assert shares_root(leaves) == merkle_root(leaves) != shares_root(leaves[::-1])


def test_a_release_opens_under_its_key_and_terms_only() -> None:
    key, residues = ChannelKey.generate(), uniform((9,))
    content = encrypt_release(residues, RELEASE, key)
    assert len(content) == release_bytes(9)
    assert content != encrypt_release(residues, RELEASE, key)
    assert np.array_equal(decrypt_release(content, RELEASE, key, 9), residues)
    assert to_bytes(residues) not in content
    with pytest.raises(EncryptionError, match="does not open"):
        decrypt_release(content, RELEASE, ChannelKey.generate(), 9)
    with pytest.raises(EncryptionError, match="bytes where"):
        decrypt_release(content, RELEASE, key, 8)


@pytest.mark.parametrize("name", [field.name for field in fields(ReleaseTerms)])
def test_a_release_is_bound_to_each_of_its_terms(name: str) -> None:
    key = ChannelKey.generate()
    content = encrypt_release(uniform((9,)), RELEASE, key)
    with pytest.raises(EncryptionError, match="does not open"):
        decrypt_release(content, changed(RELEASE, name), key, 9)


def test_a_release_with_a_number_out_of_range_is_refused() -> None:
    key = ChannelKey.generate()
    content = encrypt_release(np.array([1, MODULUS], np.uint64), RELEASE, key)
    with pytest.raises(EncryptionError, match="not below the prime"):
        decrypt_release(content, RELEASE, key, 2)


def test_a_release_is_encrypted_as_it_is_written_down() -> None:
    """HKDF (RFC 5869) by hand: extract under a salt of zeros, expand once; then the AEAD with the terms beside it."""

    def mac(key: bytes, content: bytes) -> bytes:
        code = hmac.HMAC(key, hashes.SHA256())
        code.update(content)
        return code.finalize()

    key, residues = ChannelKey.from_bytes(bytes(range(32))), uniform((4,))
    content = encrypt_release(residues, RELEASE, key)
    subkey = mac(mac(bytes(32), key.to_bytes()), RELEASE.to_bytes() + b"\x01")
    plain = ChaCha20Poly1305(subkey).decrypt(content[:12], content[12:], RELEASE.to_bytes())
    assert plain == to_bytes(residues)
    assert key.fingerprint == sha256(b"fedward channel key 1\n" + bytes(range(32))).digest()


def test_a_channel_key_shows_itself_to_nobody() -> None:
    key = ChannelKey.generate()
    for shown in (repr(key), str(key), f"{key}"):
        assert shown == f"ChannelKey({key.fingerprint.hex()})"
        assert key.to_bytes().hex() not in shown
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(EncryptionError, match="cannot be pickled or copied"):
            attempt(key)
    same = ChannelKey.from_bytes(key.to_bytes())
    assert same.fingerprint == key.fingerprint
    assert same != key
    assert ChannelKey.generate().fingerprint != key.fingerprint
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(EncryptionError, match="no channel key"):
            ChannelKey.from_bytes(wrong)
