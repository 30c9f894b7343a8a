"""Reader files and originals that travel: opened by whom they are for, refused where changed or for another."""

import dataclasses

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedward.cloaking.reader_file import CloakedFile, ReaderFile, Terms, open_reader_file
from fedward.cloaking.sealed_originals import open_original, seal_original, sealed_name
from fedward.errors import EncryptionError, FedwardError, VerificationError

OWN, OTHER = (X25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (7, 8))
PUBLIC = OWN.public_key().public_bytes_raw()
FOLDER, KEY = b"f" * 16, b"k" * 32
FILES = (CloakedFile("0001.png", b"a" * 32, None, None), CloakedFile("0002.dcm", b"b" * 32, b"c" * 32, (1,)))
TERMS = Terms(1, FOLDER, "fgsm:eps=0.02", ("PNEUMONIA",), (0.25,), 64, 10.2, 90, 100, KEY, FILES)
READER = np.random.default_rng(0).bytes(4000)


def test_a_reader_file_opens_for_its_receiver_and_says_what_was_said() -> None:
    sealed = ReaderFile(TERMS, READER).seal(PUBLIC)
    opened = open_reader_file(sealed, OWN, "reader.sealed")
    assert opened == ReaderFile(TERMS, READER)
    for inside in (READER[:32], b"PNEUMONIA", b"0001.png", KEY, KEY.hex().encode(), b"fgsm"):
        assert inside not in sealed
    assert KEY.hex() not in repr(opened)
    assert sealed != ReaderFile(TERMS, READER).seal(PUBLIC)


def test_a_reader_file_of_another_hospital_is_refused_in_one_sentence() -> None:
    sealed = ReaderFile(TERMS, READER).seal(PUBLIC)
    with pytest.raises(EncryptionError) as raised:
        open_reader_file(sealed, OTHER, "reader.sealed")
    assert "another hospital's" in raised.value.what
    assert PUBLIC.hex()[:16] in raised.value.what
    # Whoever puts the own key in front gains nothing: it is bound by the seal.
    at = sealed.index(PUBLIC)
    forged = sealed[:at] + OTHER.public_key().public_bytes_raw() + sealed[at + 32 :]
    with pytest.raises(VerificationError, match="does not open"):
        open_reader_file(forged, OTHER, "reader.sealed")


def test_whatever_is_changed_or_cut_the_reader_file_is_refused() -> None:
    sealed = ReaderFile(TERMS, READER).seal(PUBLIC)
    rng = np.random.default_rng(1)
    places = [*range(120), *rng.integers(0, len(sealed), 200).tolist(), len(sealed) - 1]
    damaged = [sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in places]
    damaged += [sealed[:length] for length in (0, 1, 24, 25, 57, 60, len(sealed) - 1)] + [sealed + b"\0"]
    for content in damaged:
        with pytest.raises((VerificationError, EncryptionError)):
            open_reader_file(content, OWN, "reader.sealed")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"thresholds": (0.5, 0.5)}, "as many as findings"),
        ({"files": (dataclasses.replace(FILES[1], labels=(1, 0)),)}, "as many as findings"),
        ({"files": (FILES[0], FILES[0])}, "twice"),
        ({"files": (dataclasses.replace(FILES[0], name="../../0001.png"),)}, "a number and"),
        ({"files": (dataclasses.replace(FILES[0], name="labels.csv"),)}, "a number and"),
        ({"most_change": 1e9}, "most_change"),
        ({"format_version": 2}, "format_version"),
    ],
)
def test_an_authentic_file_of_a_careless_sender_is_checked(changes: dict[str, object], said: str) -> None:
    sealed = ReaderFile(dataclasses.replace(TERMS, **changes), READER).seal(PUBLIC)
    with pytest.raises(VerificationError, match=said):
        open_reader_file(sealed, OWN, "reader.sealed")


def test_an_original_opens_bit_for_bit_and_in_its_own_place_only() -> None:
    content = np.random.default_rng(2).bytes(1000)
    sealed = seal_original(content, KEY, FOLDER, "0001.png")
    assert content[:16] not in sealed
    assert open_original(sealed, KEY, FOLDER, "0001.png") == content
    assert sealed_name("0001.png") == "0001.sealed"
    places = (
        (sealed, KEY, FOLDER, "0002.png"),
        (sealed, KEY, FOLDER, "0001.dcm"),
        (sealed, KEY, b"g" * 16, "0001.png"),
        (sealed, b"l" * 32, FOLDER, "0001.png"),
        (sealed[:-1], KEY, FOLDER, "0001.png"),
        (b"", KEY, FOLDER, "0001.png"),
        (sealed, b"", FOLDER, "0001.png"),
        *((sealed[:at] + bytes([sealed[at] ^ 4]) + sealed[at + 1 :], KEY, FOLDER, "0001.png") for at in range(60)),
    )
    for arguments in places:
        with pytest.raises(FedwardError):
            open_original(*arguments)


def test_no_two_files_of_a_folder_share_a_nonce() -> None:
    """Equal contents under one nonce would be equal ciphertexts; under the same key, their sum would show."""
    content = bytes(64)
    sealed = [seal_original(content, KEY, FOLDER, f"{number:04d}.png") for number in (*range(1, 200), 9999, 10000)]
    assert len({each[-80:-16] for each in sealed}) == len(sealed)
