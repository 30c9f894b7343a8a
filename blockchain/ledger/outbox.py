"""The transaction outbox: signed transactions, on the disk before they are sent and until none can be undone."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
from eth_utils.crypto import keccak

from fedward.errors import EvidenceError, LedgerError, ResourceError, VerificationError
from fedward.files import make_folder, read_file, write_atomic
from fedward.types import Address

CONFIRMATIONS = 12  # blocks on top of a transaction before it is forgotten
LOCK_PATIENCE_S = 30.0  # for another process that is sending from the same account
MAX_FILE_BYTES = 1_000_000  # nodes take transactions of 128 kB at most; as hexadecimal digits that is 256 kB
PRIVATE = 0o600

_FORM = re.compile(
    rb"chain-id ([0-9]{1,20})\nsender (0x[0-9a-fA-F]{40})\nnonce ([0-9]{1,20})\n"
    rb"hash ([0-9a-f]{64})\nraw ((?:[0-9a-f]{2})+)\n"
)


@dataclass(frozen=True)
class SentTransaction:
    """A signed transaction, as it is sent, and sent again.

    Attributes:
        chain_id: The chain that it was signed for.
        sender: Who signed it.
        nonce: Its place among the sender's transactions, from 0.
        hash: 32 bytes; Keccak-256 of `raw`.
        raw: The bytes that nodes take.
    """

    chain_id: int
    sender: Address
    nonce: int
    hash: bytes
    raw: bytes


class TransactionOutbox:
    """A folder with one account's transactions that are not yet certain to stay on the chain, a file for each.

    Args:
        folder: Where the files lie; made where missing.
        confirmations: Blocks on top of a transaction's block after which its file is removed; 0: as soon as it is in a
            block.

    Raises:
        ResourceError: the folder cannot be made.

    Guarantees:
        1. When `add` returns, the transaction is on the disk, whole.
        2. Of all processes and threads, one at a time is within `held`.

    Limits: whoever can write to the folder can make this account's owner send again what the account has signed, and
    nothing else.
    """

    def __init__(self, folder: Path, confirmations: int = CONFIRMATIONS) -> None:
        make_folder(folder)
        self.folder = folder
        self.confirmations = confirmations

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock of this account's outbox: only the holder sends from the account.

        Raises:
            ResourceError: another process has been sending for `LOCK_PATIENCE_S`, or the folder cannot be written.
        """
        lock = filelock.FileLock(self.folder / ".lock", timeout=LOCK_PATIENCE_S)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise ResourceError(
                f"The transactions in {self.folder} are in use by another process.",
                "Wait for it or stop it; give each process an account of its own.",
            ) from error
        except OSError as error:
            raise ResourceError(
                f"{self.folder} cannot be locked: {error.strerror or error}.", "Make the folder writable."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def entries(self) -> list[SentTransaction]:
        """The kept transactions, by nonce.

        Raises:
            LedgerError: a file is damaged.
        """
        return [_read(path) for path in sorted(self.folder.glob("[0-9]*.txt"))]

    def add(self, transaction: SentTransaction) -> None:
        """Write a transaction to the disk, before it is sent.

        Raises:
            ResourceError: the disk is full or the folder cannot be written.
        """
        content = (
            f"chain-id {transaction.chain_id}\nsender {transaction.sender}\nnonce {transaction.nonce}\n"
            f"hash {transaction.hash.hex()}\nraw {transaction.raw.hex()}\n"
        )
        write_atomic(self._file(transaction), content.encode(), PRIVATE)

    def remove(self, transaction: SentTransaction) -> None:
        """Delete a transaction's file; harmless when repeated."""
        try:
            self._file(transaction).unlink(missing_ok=True)
        except OSError as error:
            raise ResourceError(
                f"{self._file(transaction)} cannot be removed: {error.strerror or error}.", "Make the folder writable."
            ) from error

    def _file(self, transaction: SentTransaction) -> Path:
        return self.folder / _name(transaction.nonce)


def _read(path: Path) -> SentTransaction:
    """One file's transaction."""
    try:
        found = _FORM.fullmatch(read_file(path, MAX_FILE_BYTES, "A sent transaction", "Restore it from a backup."))
    except (EvidenceError, VerificationError) as error:
        raise _damaged(path) from error
    if found is None:
        raise _damaged(path)
    chain_id, sender, nonce, digest, raw = (field.decode() for field in found.groups())
    transaction = SentTransaction(int(chain_id), Address(sender), int(nonce), bytes.fromhex(digest), bytes.fromhex(raw))
    if keccak(transaction.raw) != transaction.hash or path.name != _name(transaction.nonce):
        raise _damaged(path)
    return transaction


def _name(nonce: int) -> str:
    """File names sort by nonce."""
    return f"{nonce:020d}.txt"


def _damaged(path: Path) -> LedgerError:
    return LedgerError(
        f"The kept transaction {path} is damaged.",
        "Restore it; or delete it, if the ledger shows that what it did is done.",
    )
