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

from fedward.errors import UsageError
from fedward.files import make_folder, opened_regular, write_atomic
from fedward.types import Address

PRIVATE = 0o600
KEY_BYTES = 32
_MOST_KEY_BYTES = 1024  # with spaces around it


@dataclass(frozen=True)
class Identity:
    """An account on the ledger, with its sealing key.

    The keys lie in two plain files, `account.key` and `x25519.key`, of mode 0600; whoever can read them can act as
    this identity. Nothing prints them: `repr` shows the address only.

    Attributes:
        address: The account's checksummed address.
        sealing_key: Opens what others seal to `x25519_public_key`.
    """

    address: Address
    sealing_key: X25519PrivateKey = field(repr=False, compare=False)
    _account: LocalAccount = field(repr=False, compare=False)

    @classmethod
    def create(cls, folder: Path) -> "Identity":
        """Draw new keys from the system's randomness and write them down.

        Args:
            folder: Where the key files go; made, readable by its owner only, where missing.

        Raises:
            UsageError: there are keys already.
            ResourceError: the disk is full or the folder cannot be written.
        """
        for name in ("account.key", "x25519.key"):
            if (folder / name).exists():
                raise UsageError(f"{folder / name} exists already.", "Load it, or choose another folder.")
        make_folder(folder)
        account_key, sealing_key = os.urandom(KEY_BYTES), X25519PrivateKey.generate().private_bytes_raw()
        identity = cls._from_keys(account_key, sealing_key)
        write_atomic(folder / "x25519.key", sealing_key.hex().encode() + b"\n", PRIVATE)
        write_atomic(folder / "account.key", account_key.hex().encode() + b"\n", PRIVATE)
        return identity

    @classmethod
    def load(cls, folder: Path) -> "Identity":
        """Read the keys of a folder.

        Raises:
            UsageError: a key file is missing, damaged, or readable by other users.
        """
        account_key, sealing_key = (_read_key(folder / name) for name in ("account.key", "x25519.key"))
        try:
            return cls._from_keys(account_key, sealing_key)
        except ValueError as error:
            raise UsageError(f"{folder / 'account.key'} is not a key.", "Restore it from a copy.") from error

    @classmethod
    def renew_sealing_key(cls, folder: Path) -> "Identity":
        """Draw another sealing key in place of one that was lost or stolen; the account stays.

        What was sealed to the old key can no longer be opened. Tell the ledger (`Ledger.rotate_key`) and leave a new
        card.

        Raises:
            UsageError: the account's key is missing, damaged, or readable by other users.
            ResourceError: the disk is full or the folder cannot be written.
        """
        _read_key(folder / "account.key")
        write_atomic(
            folder / "x25519.key", X25519PrivateKey.generate().private_bytes_raw().hex().encode() + b"\n", PRIVATE
        )
        return cls.load(folder)

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

    def sign_message(self, message: SignableMessage) -> bytes:
        """Sign EIP-191 or EIP-712 data: 65 bytes r, s, v."""
        return bytes(self._account.sign_message(message).signature)

    def sign_transaction(self, fields: Mapping[str, object]) -> SignedTransaction:
        """Sign a transaction's fields."""
        return self._account.sign_transaction(cast(TransactionDictType, dict(fields)))


def _read_key(path: Path) -> bytes:
    """32 bytes in hexadecimal, from a file that only its owner can read."""
    try:
        with opened_regular(path, through_link=True) as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError(f"The key {path} is readable by other users.", f"Protect it: chmod 600 {path}")
            key = bytes.fromhex(file.read(_MOST_KEY_BYTES).decode("ascii").strip())
    except OSError as error:
        raise UsageError(
            f"The key {path} could not be read: {error.strerror}.", "Create an identity first, or check the folder."
        ) from error
    except ValueError as error:
        raise UsageError(f"The key {path} is damaged.", "Restore it from a copy.") from error
    if len(key) != KEY_BYTES:
        raise UsageError(f"The key {path} is damaged.", "Restore it from a copy.")
    return key
