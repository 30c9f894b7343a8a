"""Files that show images, sealed at rest: they come back with the right key, and with no other, whatever happens."""

import dataclasses
import os
from pathlib import Path
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest
from command_line import run_here
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from blockchain.identity import Identity
from blockchain.own_images import image_key, images_there, load_images, save_images
from data_preprocessing import load_partition, partition_digest, save_partition
from fedward import settings as setting
from fedward.dataset import at_rest
from fedward.dataset.at_rest import ImageKey, read_sealed, write_sealed
from fedward.errors import DataError, FedwardError, UsageError
from fedward.folders.hospital import HospitalFolder, Membership
from fedward.settings import ImageEncryptionSettings
from fedward.types import Address, HospitalId, ImageSet, Partition

HOSPITAL = HospitalId("hospital-1")
KEY = ImageKey(HOSPITAL, bytes(range(32)))
SEALED, CLEAR = (setting.load(None, ("image-encryption.method", name)).image_encryption for name in ("fgsm", "none"))


def partition(seed: int = 1) -> Partition:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (6, 16, 16), dtype=np.uint8)
    part = ImageSet(images, np.ones((6, 1), np.float32), np.array([f"{row:016x}" for row in range(6)]))
    return Partition(HOSPITAL, ("opacity",), part, part, part)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_rest, "PIECE_BYTES", 64)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 1000])
def test_content_of_any_length_comes_back(size: int, small_pieces: None, tmp_path: Path) -> None:
    content = os.urandom(size)
    write_sealed(tmp_path / "a.sealed", content, KEY)
    assert read_sealed(tmp_path / "a.sealed", KEY) == content
    assert (tmp_path / "a.sealed").stat().st_mode & 0o777 == 0o600
    if size > 8:
        assert content[:8] not in (tmp_path / "a.sealed").read_bytes()


@dataclasses.dataclass
class Watched:
    """A cipher that writes down under which key it is used with which nonce."""

    key: bytes
    used: ClassVar[list[tuple[bytes, bytes]]] = []

    def encrypt(self, nonce: bytes, content: bytes, about: bytes) -> bytes:
        self.used.append((self.key, nonce))
        return AESGCM(self.key).encrypt(nonce, content, about)


@pytest.mark.usefixtures("small_pieces")
def test_no_nonce_serves_twice_under_a_key(tmp_path: Path) -> None:
    with mock.patch.object(at_rest, "AESGCM", Watched):
        for _ in range(3):
            write_sealed(tmp_path / "a.sealed", bytes(300), KEY)
    assert len(Watched.used) == len(set(Watched.used)) == 3 * 5
    assert len({key for key, _ in Watched.used}) == 3, "each file has a key of its own"
    assert all(len(nonce) == 12 for _, nonce in Watched.used)


@pytest.mark.usefixtures("small_pieces")
def test_no_damage_and_no_other_key_opens_anything(tmp_path: Path) -> None:
    path = tmp_path / "a.sealed"
    write_sealed(path, bytes(range(200)), KEY)
    whole = path.read_bytes()
    start = len(whole) - 200 - 4 * 16
    pieces = [whole[at : at + 80] for at in range(start, len(whole), 80)]
    changed = [
        *(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), 7)),
        *(whole[:length] for length in (0, 5, start, start + 80, start + 160, len(whole) - 1)),
        whole + b"\0",
        whole[:start] + b"".join([pieces[1], pieces[0], *pieces[2:]]),
        whole[:start] + b"".join(pieces[:-2] + pieces[-1:]),
        b"PK\x03\x04",
    ]
    for content in changed:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.sealed does not open: it is damaged, or sealed under another"):
            read_sealed(path, KEY)
    path.write_bytes(whole)
    for key in (ImageKey(HospitalId("hospital-2"), KEY.secret), ImageKey(HOSPITAL, bytes(32))):
        with pytest.raises(DataError, match="does not open"):
            read_sealed(path, key)
    path.rename(tmp_path / "b.sealed")
    with pytest.raises(DataError, match="does not open"):
        read_sealed(tmp_path / "b.sealed", KEY)


def test_the_key_is_in_no_text() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert "\\x01" not in repr(KEY)


def test_a_sealed_partition_is_the_same_partition(tmp_path: Path) -> None:
    save_partition(tmp_path / "partition.sealed", partition(), KEY)
    assert partition_digest(load_partition(tmp_path / "partition.sealed", KEY)) == partition_digest(partition())
    content = (tmp_path / "partition.sealed").read_bytes()
    assert not any(row.tobytes() in content for row in partition().train.images.reshape(-1, 16))
    for path, key in ((tmp_path / "none.sealed", KEY), (tmp_path / "partition.sealed", None)):
        with pytest.raises(DataError):
            load_partition(path, key)


@pytest.fixture
def folder(tmp_path: Path) -> HospitalFolder:
    made = HospitalFolder.create(tmp_path / "hospital-1")
    Identity.create(made.identity, "a password", scrypt_n=4096)
    made.join(Membership(HOSPITAL, Address("0x1"), 6, "", "", 1, "", ()))
    return made


@pytest.fixture
def with_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDWARD_PASSWORD", "a password")


@pytest.mark.usefixtures("with_password")
def test_a_hospitals_images_open_with_its_password_and_not_without(
    folder: HospitalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity.load(folder.identity)
    save_images(folder, partition(), identity, SEALED)
    assert not folder.partition.exists()
    assert partition_digest(load_images(folder, SEALED)) == partition_digest(partition())
    assert partition_digest(load_images(folder, SEALED, identity)) == partition_digest(partition())
    kept = [path.read_bytes() for path in folder.path.rglob("*") if path.is_file()]
    secret = identity.image_key()
    assert not any(form in content for content in kept for form in (secret, secret.hex().encode()))
    monkeypatch.setenv("FEDWARD_PASSWORD", "another")
    with pytest.raises(UsageError, match="password does not open"):
        load_images(folder, SEALED)


@pytest.mark.usefixtures("with_password")
def test_another_account_does_not_open_them(folder: HospitalFolder, tmp_path: Path) -> None:
    save_images(folder, partition(), Identity.load(folder.identity), SEALED)
    with pytest.raises(DataError, match="does not open"):
        load_images(folder, SEALED, Identity.create(tmp_path / "other"))
    folder.join(dataclasses.replace(folder.membership(), hospital=HospitalId("hospital-2")))
    with pytest.raises(DataError, match="does not open"):
        load_images(folder, SEALED)


@pytest.mark.usefixtures("with_password")
def test_the_key_lasts_when_the_sealing_key_is_renewed(folder: HospitalFolder) -> None:
    before = image_key(HOSPITAL, Identity.load(folder.identity))
    assert image_key(HOSPITAL, Identity.renew_sealing_key(folder.identity)) == before


@pytest.mark.usefixtures("with_password")
@pytest.mark.parametrize(("kept", "asked"), [(CLEAR, SEALED), (SEALED, CLEAR)])
def test_images_that_are_kept_otherwise_than_agreed_are_refused(
    folder: HospitalFolder, kept: ImageEncryptionSettings, asked: ImageEncryptionSettings
) -> None:
    save_images(folder, partition(), Identity.load(folder.identity), kept)
    with pytest.raises(
        FedwardError, match="in the clear, though this hospital" if asked is SEALED else "There is no partition"
    ):
        load_images(folder, asked)


@pytest.mark.usefixtures("with_password")
def test_a_copy_in_the_clear_beside_the_sealed_one_is_refused(folder: HospitalFolder) -> None:
    for settings in (SEALED, CLEAR):
        save_images(folder, partition(), Identity.load(folder.identity), settings)
    with pytest.raises(DataError, match=r"partition\.npz lies there in the clear"):
        load_images(folder, SEALED)


@pytest.mark.usefixtures("with_password")
def test_a_hospital_looks_at_its_own_picture(folder: HospitalFolder, tmp_path: Path) -> None:
    key = image_key(HOSPITAL, Identity.load(folder.identity))
    write_sealed(folder.sealed_picture, b"a picture", key)
    seen = run_here("unseal", folder.path, "--out", tmp_path / "seen.png")
    assert (seen.returncode, (tmp_path / "seen.png").read_bytes()) == (0, b"a picture")
    assert "delete it" in " ".join(seen.stdout.split())
    again = run_here("unseal", folder.path, "--out", tmp_path / "seen.png")
    assert (again.returncode, "in use" in again.stderr) == (2, True)
    folder.sealed_picture.unlink()
    none = run_here("unseal", folder.path, "--out", tmp_path / "other.png")
    assert none.returncode == 3
    assert "A run with image-encryption.method set writes it" in " ".join(none.stderr.split())
    assert run_here("unseal", tmp_path, "--out", tmp_path / "other.png").returncode == 2
    assert not (tmp_path / "other.png").exists()


@pytest.mark.usefixtures("with_password")
@pytest.mark.parametrize("kept", [SEALED, CLEAR], ids=["sealed", "clear"])
def test_who_knows_no_settings_gets_the_images_as_they_lie(
    folder: HospitalFolder, kept: ImageEncryptionSettings
) -> None:
    save_images(folder, partition(), Identity.load(folder.identity), kept)
    assert partition_digest(images_there(folder)) == partition_digest(partition())
