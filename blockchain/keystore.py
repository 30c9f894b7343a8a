"""An identity's two keys as files that one password opens.

`account.json` is an Ethereum keystore (version 3, scrypt), as other Ethereum software reads and writes it. Beside it,
`x25519.sealed` holds the X25519 key under AES-GCM, with a key that is derived from the account's. So one password opens
both, and another X25519 key can take the place of a lost one without a new password. The key under which a hospital
keeps its images (docs/adr/0038) is derived from the account's too, and lies in no file at all.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_account import Account
from eth_utils.exceptions import ValidationError

from blockchain.password import is_drawn
from fedward.checked_json import Matching, checked_json
from fedward.errors import UsageError
from fedward.tables import Between

SCRYPT_N = 2**18  # what one trial of a password costs: 256 MiB, and about 0.7 s of one core
DRAWN_SCRYPT_N = 2**13  # of a password that was drawn, which nobody guesses: 8 MiB, and 16 ms
MOST_BYTES = 16 * 1024  # of either file

_MOST_N = 2**20
_NONCE_BYTES = 12
_PURPOSE = b"Fedward: the X25519 key beside an Ethereum keystore, version 1"
_IMAGES = b"Fedward: the key of a hospital's images at rest, version 1"
_COPY = "Restore it from a copy."


@dataclass(frozen=True)
class _PowerOfTwo:
    """A rule: 2, 4, 8, ... up to a bound. The bound keeps a changed file from asking for all of the memory."""

    most: int

    def problem(self, value: int) -> str | None:
        """See `fedward.checked_json.Rule`."""
        fits = 2 <= value <= self.most and value & (value - 1) == 0
        return None if fits else f"must be a power of two from 2 to {self.most:,}"


_KEY = Matching(r"[0-9a-f]{64}", "64 hexadecimal digits")


@dataclass(frozen=True)
class _Scrypt:
    dklen: Literal[32]
    n: Annotated[int, _PowerOfTwo(_MOST_N)]
    p: Annotated[int, Between(1, 16)]
    r: Literal[8]
    salt: Annotated[str, Matching(r"([0-9a-f]{2}){8,64}", "8 to 64 bytes in hexadecimal")]


@dataclass(frozen=True)
class _Start:
    iv: Annotated[str, Matching(r"[0-9a-f]{32}", "32 hexadecimal digits")]


@dataclass(frozen=True)
class _Encrypted:
    cipher: Literal["aes-128-ctr"]
    cipherparams: _Start
    ciphertext: Annotated[str, _KEY]
    kdf: Literal["scrypt"]
    kdfparams: _Scrypt
    mac: Annotated[str, _KEY]


@dataclass(frozen=True)
class _Keystore:
    """The format, with the scrypt parameters that common software writes."""

    address: Annotated[str, Matching(r"[0-9a-fA-F]{40}", "40 hexadecimal digits")]
    crypto: _Encrypted
    id: str
    version: Literal[3]


def lock_account(account_key: bytes, password: str, scrypt_n: int | None = None) -> bytes:
    """The content of `account.json`.

    Args:
        account_key: 32 bytes; a valid private key.
        password: Any text but an empty one.
        scrypt_n: What a trial costs; a power of two. None: `SCRYPT_N`, or `DRAWN_SCRYPT_N` where it was drawn.

    Raises:
        UsageError: the password is empty, or has half a surrogate pair in it.
    """
    _require_text(password)
    cost = scrypt_n or (DRAWN_SCRYPT_N if is_drawn(password) else SCRYPT_N)
    return json.dumps(Account.encrypt(account_key, password, "scrypt", cost), indent=2).encode() + b"\n"


def unlock_account(content: bytes, password: str, path: Path) -> bytes:
    """The account's private key: 32 bytes.

    Args:
        content: Of `account.json`; any bytes.
        password: What `lock_account` was given.
        path: Where the content lies; for errors.

    Raises:
        UsageError: the password does not open it, or the content is no such keystore.
    """
    _require_text(password)
    keystore = checked_json(_Keystore, content, f"The keystore {path}", UsageError, _COPY)
    try:
        key = bytes(Account.decrypt(content.decode(), password))
    except ValueError as error:
        raise UsageError(
            f"The password does not open the keystore {path}.",
            "Give the password that it was made with. If it is that one, the file is damaged: restore it from a copy.",
        ) from error
    try:
        address = Account.from_key(key).address
    except (ValueError, ValidationError) as error:
        raise UsageError(f"The keystore {path} holds no private key.", _COPY) from error
    if address.lower() != f"0x{keystore.address.lower()}":
        raise UsageError(f"The keystore {path} names another account than its key's.", _COPY)
    return key


def lock_sealing_key(sealing_key: bytes, account_key: bytes) -> bytes:
    """The content of `x25519.sealed`: a nonce, the encrypted key and its tag, in hexadecimal; other bytes each time."""
    nonce = os.urandom(_NONCE_BYTES)
    return (nonce + _cipher(account_key).encrypt(nonce, sealing_key, None)).hex().encode() + b"\n"


def unlock_sealing_key(content: bytes, account_key: bytes, path: Path) -> bytes:
    """The X25519 private key: 32 bytes.

    Args:
        content: Of `x25519.sealed`; any bytes.
        account_key: The key of the account that it was sealed beside.
        path: Where the content lies; for errors.

    Raises:
        UsageError: the content is damaged, or was sealed beside another account.
    """
    try:
        sealed = bytes.fromhex(content.decode("ascii").strip())
        return _cipher(account_key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    except (ValueError, InvalidTag) as error:
        raise UsageError(f"The key {path} is damaged, or belongs to another account.", _COPY) from error


def _cipher(account_key: bytes) -> AESGCM:
    return AESGCM(_derived(account_key, _PURPOSE))


def derive_image_key(account_key: bytes) -> bytes:
    """32 bytes that seal a hospital's images on its own disk; the same each time, and nothing of the account's key.

    Args:
        account_key: 32 bytes; the account's private key.
    """
    return _derived(account_key, _IMAGES)


def _derived(account_key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(account_key)


def _require_text(password: str) -> None:
    """Refuse a password that opens nothing or cannot be written as bytes; the error shows nothing of it."""
    if not password:
        raise UsageError("The password is empty.", "Give one that others cannot guess.")
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise UsageError("The password is not valid UTF-8.", "Give one of whole characters.")
