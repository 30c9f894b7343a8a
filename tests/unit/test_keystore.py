"""An identity with a password: nobody opens its keys without it, and the plain form is as it was."""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from blockchain.identity import Identity
from blockchain.keystore import SCRYPT_N, lock_account, lock_sealing_key, unlock_account, unlock_sealing_key
from blockchain.password import FILE_VARIABLE, VARIABLE, draw_password
from fedward.errors import UsageError

FAST = 2**4
PASSWORD = "three birds, çà et là"
PLACE = Path("account.json")
# What the environment or a file can give: any characters but half a surrogate pair, and a zero byte.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Identity]:
    folder = tmp_path_factory.mktemp("keys") / "identity"
    return folder, Identity.create(folder, PASSWORD, FAST)


@pytest.fixture
def folder(made: tuple[Path, Identity], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change, with its password in the environment."""
    monkeypatch.setenv(VARIABLE, PASSWORD)
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    shutil.copytree(made[0], tmp_path / "identity")
    return tmp_path / "identity"


def raw(identity: Identity) -> tuple[bytes, bytes]:
    """The account's key and the sealing key."""
    return bytes(identity._account.key), identity.sealing_key.private_bytes_raw()


def test_an_identity_comes_back_with_its_password(folder: Path, made: tuple[Path, Identity]) -> None:
    loaded = Identity.load(folder)
    assert loaded == made[1]
    assert raw(loaded) == raw(made[1])


def test_a_password_from_a_file_opens_it_too(
    folder: Path, made: tuple[Path, Identity], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\nanother line\n", encoding="utf-8")
    (tmp_path / "password").chmod(0o600)
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "password"))
    assert Identity.load(folder) == made[1]


@given(texts, st.binary(min_size=32, max_size=32).map(lambda key: b"\1" + key[1:]), st.binary(min_size=32, max_size=32))
@settings(max_examples=60, deadline=None)
def test_any_password_opens_what_it_locked_and_another_does_not(password: str, account: bytes, sealing: bytes) -> None:
    content = lock_account(account, password, FAST)
    assert unlock_account(content, password, PLACE) == account
    assert unlock_sealing_key(lock_sealing_key(sealing, account), account, PLACE) == sealing
    for other in (password + " ", password[:-1] or "x" + password, password.swapcase() + "!"):
        with pytest.raises(UsageError, match="The password does not open"):
            unlock_account(content, other, PLACE)


def test_no_key_and_no_password_lies_in_a_file(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"account.json", "x25519.sealed"}
    for path in folder.iterdir():
        content = path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        assert PASSWORD.encode() not in content
        for key in raw(Identity.load(folder)):
            for form in (key, key.hex().encode(), key.hex().upper().encode(), base64.b64encode(key)):
                assert form not in content
    assert folder.stat().st_mode & 0o777 == 0o700


def test_nothing_shows_a_key_or_the_password(folder: Path) -> None:
    identity = Identity.load(folder)
    shown = f"{identity!r} {identity} {vars(identity)}"
    assert repr(identity) == f"Identity(address='{identity.address}')"
    assert PASSWORD not in shown
    assert not any(key.hex() in shown for key in raw(identity))


def test_the_keystore_is_one_of_ethereum(folder: Path) -> None:
    """Another program opens it, and what that program writes is opened here."""
    content = json.loads((folder / "account.json").read_text())
    identity = Identity.load(folder)
    assert bytes(Account.decrypt(content, PASSWORD)) == raw(identity)[0]
    assert content["version"] == 3
    assert content["crypto"]["kdf"] == "scrypt"
    (folder / "account.json").write_text(json.dumps(Account.encrypt(raw(identity)[0], PASSWORD, "scrypt", 32)))
    assert Identity.load(folder) == identity


def test_a_password_costs_as_much_as_other_programs_ask_for() -> None:
    content = json.loads(lock_account(b"\1" * 32, PASSWORD))
    assert content["crypto"]["kdfparams"] | {"salt": ""} == {"dklen": 32, "n": 262144, "p": 1, "r": 8, "salt": ""}
    assert SCRYPT_N == 262144


@pytest.mark.slow
def test_a_password_that_was_drawn_is_cheap_to_try_and_one_that_looks_like_it_is_not() -> None:
    """Each message of a hospital opens its keystore anew."""
    drawn = draw_password()
    last = "0" if drawn[-1] != "0" else "1"
    for password, n in ((drawn, 2**13), (drawn[:-1] + last, 2**18), ("a" * 32, 2**18)):
        content = lock_account(b"\1" * 32, password)
        assert json.loads(content)["crypto"]["kdfparams"]["n"] == n
        assert unlock_account(content, password, PLACE) == b"\1" * 32


def test_a_wrong_password_is_said_and_not_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "three birds")
    with pytest.raises(UsageError, match=r"The password does not open the keystore .*account\.json") as refused:
        Identity.load(folder)
    assert "three birds" not in str(refused.value)
    with pytest.raises(UsageError, match="does not open"):
        Identity.renew_sealing_key(folder)


def test_a_password_that_nobody_gave_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UsageError, match=r"account\.json needs its password") as refused:
        Identity.load(folder)
    assert FILE_VARIABLE in refused.value.remedy
    assert VARIABLE in refused.value.remedy


@pytest.mark.parametrize("password", ["", "half a pair \udc80"])
def test_a_password_that_can_be_none_makes_no_file(tmp_path: Path, password: str) -> None:
    with pytest.raises(UsageError, match="The password is"):
        Identity.create(tmp_path / "identity", password, FAST)
    assert list(tmp_path.iterdir()) == []


def at(*names: str) -> Callable[[dict[str, Any], Any], None]:
    """Sets a value some objects down."""

    def change(keystore: dict[str, Any], value: Any) -> None:
        for name in names[:-1]:
            keystore = keystore[name]
        keystore[names[-1]] = value

    return change


DAMAGE: list[tuple[Callable[[dict[str, Any], Any], None], Any]] = [
    (at("version"), 4),
    (at("crypto"), None),
    (at("crypto", "kdf"), "pbkdf2"),
    (at("crypto", "cipher"), "none"),
    (at("crypto", "mac"), "00"),
    (at("crypto", "ciphertext"), "zz" * 32),
    (at("crypto", "cipherparams", "iv"), ""),
    (at("crypto", "kdfparams", "salt"), "0"),
    *((at("crypto", "kdfparams", "n"), n) for n in (-2, 0, 1, 3, 2**21, 2**62, 2**70, "16", 16.0)),
    (at("crypto", "kdfparams", "r"), 2**20),
    (at("crypto", "kdfparams", "p"), 2**20),
    (at("crypto", "kdfparams", "dklen"), 16),
    (at("address"), "0" * 40),
    (at("more"), 1),
]


@pytest.mark.parametrize(("change", "value"), DAMAGE)
def test_a_damaged_keystore_is_named(folder: Path, change: Callable[[Any, Any], None], value: object) -> None:
    """Also where it asks for more memory than there is: nothing is computed for it."""
    keystore = json.loads((folder / "account.json").read_text())
    change(keystore, value)
    (folder / "account.json").write_text(json.dumps(keystore))
    with pytest.raises(UsageError, match=r"The keystore .*account\.json (is malformed|names another account)"):
        Identity.load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b"[" * 10_000, b" " * 20_000, b"\0" * 60])
def test_what_is_no_keystore_is_named(folder: Path, content: bytes) -> None:
    (folder / "account.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"account\.json"):
        Identity.load(folder)


def test_a_keystore_of_no_valid_key_is_named() -> None:
    """One that the password opens, with a key of zeros in it."""
    keystore = json.loads(lock_account(b"\1" * 32, PASSWORD, FAST))
    crypto = keystore["crypto"]
    zeros = bytes(byte ^ 1 for byte in bytes.fromhex(crypto["ciphertext"]))
    salt = bytes.fromhex(crypto["kdfparams"]["salt"])
    derived = hashlib.scrypt(PASSWORD.encode(), salt=salt, n=FAST, r=8, p=1, dklen=32)
    crypto |= {"ciphertext": zeros.hex(), "mac": keccak(derived[16:] + zeros).hex()}
    with pytest.raises(UsageError, match=r"account\.json holds no private key"):
        unlock_account(json.dumps(keystore).encode(), PASSWORD, PLACE)


@pytest.mark.parametrize("position", [0, 23, 24, 60, 119])
def test_a_changed_sealing_key_is_named(folder: Path, position: int) -> None:
    path = folder / "x25519.sealed"
    content = bytearray(path.read_bytes())
    content[position] = ord("0" if content[position] != ord("0") else "1")
    path.write_bytes(bytes(content))
    with pytest.raises(UsageError, match=r"The key .*x25519\.sealed is damaged"):
        Identity.load(folder)


@pytest.mark.parametrize("content", [b"", b"00", b"zz" * 60, b"\xff" * 120, b"00" * 60, b"00" * 5000])
def test_what_is_no_sealing_key_is_named(folder: Path, content: bytes) -> None:
    (folder / "x25519.sealed").write_bytes(content)
    with pytest.raises(UsageError, match=r"The key .*x25519\.sealed"):
        Identity.load(folder)


def test_the_sealing_key_of_another_account_is_refused(folder: Path, tmp_path: Path) -> None:
    Identity.create(tmp_path / "other", PASSWORD, FAST)
    shutil.copy(tmp_path / "other" / "x25519.sealed", folder / "x25519.sealed")
    with pytest.raises(UsageError, match="belongs to another account"):
        Identity.load(folder)


@pytest.mark.parametrize("name", ["account.json", "x25519.sealed"])
def test_files_that_others_can_read_are_refused(folder: Path, name: str) -> None:
    (folder / name).chmod(0o640)
    with pytest.raises(UsageError, match=rf"{name.replace('.', '[.]')} is readable by other users"):
        Identity.load(folder)


@pytest.mark.parametrize("name", ["account.json", "x25519.sealed"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UsageError, match=r"account\.key|x25519\.sealed"):
        Identity.load(folder)


def test_a_renewed_sealing_key_opens_with_the_same_password(folder: Path) -> None:
    before = Identity.load(folder)
    keystore = (folder / "account.json").read_bytes()
    renewed = Identity.renew_sealing_key(folder)
    assert renewed.address == before.address
    assert renewed.x25519_public_key != before.x25519_public_key
    assert raw(Identity.load(folder)) == raw(renewed)
    assert (folder / "account.json").read_bytes() == keystore
    assert {path.name for path in folder.iterdir()} == {"account.json", "x25519.sealed"}


@pytest.mark.parametrize("password", [None, PASSWORD])
def test_an_identity_takes_the_place_of_none_in_the_other_form(folder: Path, password: str | None) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="exists already"):
        Identity.create(folder, password, FAST)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_two_accounts_in_one_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    Identity.create(tmp_path / "plain")
    shutil.copy(tmp_path / "plain" / "account.key", folder / "account.key")
    with pytest.raises(UsageError, match=r"both account\.json and account\.key"):
        Identity.load(folder)


def test_the_plain_form_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read without a password, also where one is set for something else."""
    monkeypatch.setenv(VARIABLE, PASSWORD)
    created = Identity.create(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"account.key", "x25519.key"}
    for name, key in zip(("account.key", "x25519.key"), raw(created), strict=True):
        assert (tmp_path / name).read_text() == f"{key.hex()}\n"
    assert raw(Identity.load(tmp_path)) == raw(created)
    renewed = Identity.renew_sealing_key(tmp_path)
    assert renewed.address == created.address
    assert raw(Identity.load(tmp_path)) == raw(renewed)
    assert {path.name for path in tmp_path.iterdir()} == {"account.key", "x25519.key"}


def test_sealing_keys_are_locked_anew_each_time() -> None:
    assert lock_sealing_key(b"s" * 32, b"a" * 32) != lock_sealing_key(b"s" * 32, b"a" * 32)
