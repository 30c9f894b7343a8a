"""A party's keys: its Ethereum account, which signs, and the X25519 key that others seal keys and models to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_account import Account
from eth_account.datastructures import SignedTransaction
from eth_account.messages import SignableMessage
from eth_account.signers.local import LocalAccount
from eth_account.types import TransactionDictType
from eth_utils.address import to_checksum_address
from eth_utils.exceptions import ValidationError

from blockchain.keystore import (
    MOST_BYTES,
    derive_image_key,
    lock_account,
    lock_sealing_key,
    unlock_account,
    unlock_sealing_key,
)
from blockchain.password import given_password
from fedward.errors import UsageError
from fedward.files import make_folder, read_private, write_atomic
from fedward.types import Address

PRIVATE = 0o600
KEY_BYTES = 32
PLAIN_ACCOUNT, PLAIN_SEALING_KEY = "account.key", "x25519.key"
KEYSTORE, LOCKED_SEALING_KEY = "account.json", "x25519.sealed"


@dataclass(frozen=True)
class Identity:
    """An account on the ledger, with its sealing key.

    The keys lie in one of two forms. With a password: `account.json` and `x25519.sealed` (`blockchain.keystore`), which
    nobody opens without it. Without: `account.key` and `x25519.key`, two plain files, and whoever can read them can act
    as this identity. All are of mode 0600. Nothing prints the keys: `repr` shows the address only.

    Attributes:
        address: The account's checksummed address.
        sealing_key: Opens what others seal to `x25519_public_key`.
    """

    address: Address
    sealing_key: X25519PrivateKey = field(repr=False, compare=False)
    _account: LocalAccount = field(repr=False, compare=False)

    @classmethod
    def create(cls, folder: Path, password: str | None = None, scrypt_n: int | None = None) -> "Identity":
        """Draw new keys from the system's randomness and write them down.

        Args:
            folder: Where the key files go; made, readable by its owner only, where missing.
            password: Opens the keys; None: they lie there in the clear.
            scrypt_n: What a trial of the password costs; None: as much as it needs (`blockchain.keystore`).

        Raises:
            UsageError: there are keys already, or the password is empty.
            ResourceError: the disk is full or the folder cannot be written.
        """
        for name in (PLAIN_ACCOUNT, PLAIN_SEALING_KEY, KEYSTORE, LOCKED_SEALING_KEY):
            if (folder / name).exists():
                raise UsageError(f"{folder / name} exists already.", "Load it, or choose another folder.")
        account_key, sealing_key = os.urandom(KEY_BYTES), X25519PrivateKey.generate().private_bytes_raw()
        identity = cls._from_keys(account_key, sealing_key)
        account = _plain(account_key) if password is None else lock_account(account_key, password, scrypt_n)
        make_folder(folder)
        _write_sealing_key(folder, sealing_key, None if password is None else account_key)
        write_atomic(folder / (PLAIN_ACCOUNT if password is None else KEYSTORE), account, PRIVATE)
        return identity

    @classmethod
    def load(cls, folder: Path) -> "Identity":
        """Read the keys of a folder.

        Where they have a password, the environment gives it (`blockchain.password`). If a person made it up, each call
        takes 0.7 s and 256 MiB of memory, which makes guessing dear; a hospital on a host of its own pays that once a
        message, since each has a process of its own. One that Fedward drew cannot be guessed, and costs 16 ms.

        Raises:
            UsageError: a key file is missing, damaged, or readable by other users; or a password is needed and none is
                given, or another one.
        """
        account_key, locked = _account_key(folder)
        path = folder / (LOCKED_SEALING_KEY if locked else PLAIN_SEALING_KEY)
        sealing_key = unlock_sealing_key(_key_file(path), account_key, path) if locked else _read_key(path)
        return cls._from_files(folder, account_key, sealing_key)

    @classmethod
    def renew_sealing_key(cls, folder: Path) -> "Identity":
        """Draw another sealing key in place of one that was lost or stolen; the account, and its password, stay.

        What was sealed to the old key can no longer be opened. Tell the ledger (`Ledger.rotate_key`) and leave a new
        card.

        Raises:
            UsageError: the account's key is missing, damaged, readable by other users, or does not open.
            ResourceError: the disk is full or the folder cannot be written.
        """
        account_key, locked = _account_key(folder)
        sealing_key = X25519PrivateKey.generate().private_bytes_raw()
        identity = cls._from_files(folder, account_key, sealing_key)
        _write_sealing_key(folder, sealing_key, account_key if locked else None)
        return identity

    @classmethod
    def _from_files(cls, folder: Path, account_key: bytes, sealing_key: bytes) -> "Identity":
        """As `_from_keys`; what is wrong with the account's key is an error about its file."""
        try:
            return cls._from_keys(account_key, sealing_key)
        except ValueError as error:
            raise UsageError(f"{folder / PLAIN_ACCOUNT} is not a key.", "Restore it from a copy.") from error

    @classmethod
    def _from_keys(cls, account_key: bytes, sealing_key: bytes) -> "Identity":
        """Build from 32 bytes each; ValueError where the first is not a valid scalar."""
        try:
            account: LocalAccount = Account.from_key(account_key)
        except ValidationError as error:
            raise ValueError("not a private key") from error
        return cls(
            Address(to_checksum_address(account.address)), X25519PrivateKey.from_private_bytes(sealing_key), account
        )

    @property
    def x25519_public_key(self) -> bytes:
        """32 bytes; the public half of the sealing key."""
        return self.sealing_key.public_key().public_bytes_raw()

    def image_key(self) -> bytes:
        """32 bytes under which this party keeps images on its own disk; they follow from its account's key."""
        return derive_image_key(bytes(self._account.key))

    def sign_message(self, message: SignableMessage) -> bytes:
        """Sign EIP-191 or EIP-712 data: 65 bytes r, s, v."""
        return bytes(self._account.sign_message(message).signature)

    def sign_transaction(self, fields: Mapping[str, object]) -> SignedTransaction:
        """Sign a transaction's fields."""
        return self._account.sign_transaction(cast(TransactionDictType, dict(fields)))


def _account_key(folder: Path) -> tuple[bytes, bool]:
    """The account's private key, and whether it lies there with a password."""
    plain, keystore = folder / PLAIN_ACCOUNT, folder / KEYSTORE
    if not keystore.exists():
        return _read_key(plain), False
    if plain.exists():
        raise UsageError(f"{folder} has both {KEYSTORE} and {PLAIN_ACCOUNT}.", "Move the one that is not in use away.")
    content = _key_file(keystore)
    return unlock_account(content, given_password(keystore), keystore), True


def _write_sealing_key(folder: Path, sealing_key: bytes, account_key: bytes | None) -> None:
    """Write the X25519 key: locked by the account's, or plain."""
    if account_key is None:
        write_atomic(folder / PLAIN_SEALING_KEY, _plain(sealing_key), PRIVATE)
    else:
        write_atomic(folder / LOCKED_SEALING_KEY, lock_sealing_key(sealing_key, account_key), PRIVATE)


def _plain(key: bytes) -> bytes:
    return key.hex().encode() + b"\n"


def _key_file(path: Path) -> bytes:
    """A key file's content, if only its owner can read it."""
    return read_private(path, MOST_BYTES, f"The key {path}", "Create an identity first, or check the folder.")


def _read_key(path: Path) -> bytes:
    """32 bytes in hexadecimal, from a file that only its owner can read."""
    content = _key_file(path)
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError as error:
        raise UsageError(f"The key {path} is damaged.", "Restore it from a copy.") from error
    if len(key) != KEY_BYTES:
        raise UsageError(f"The key {path} is damaged.", "Restore it from a copy.")
    return key
