"""The outbox: what is written down, what damaged files come to, and who may send."""

import re
from pathlib import Path

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from blockchain.ledger.outbox import SentTransaction, TransactionOutbox
from fedward.errors import LedgerError, ResourceError
from fedward.types import Address

SENDER = Address("0x" + "ab" * 20)


def transaction(nonce: int, raw: bytes = b"\x02raw") -> SentTransaction:
    return SentTransaction(190826, SENDER, nonce, keccak(raw), raw)


def test_entries_come_back_by_nonce(tmp_path: Path) -> None:
    outbox = TransactionOutbox(tmp_path / "new" / "outbox")
    for nonce in (10, 9, 100, 0):
        outbox.add(transaction(nonce, bytes([nonce])))
    assert TransactionOutbox(outbox.folder).entries() == [transaction(n, bytes([n])) for n in (0, 9, 10, 100)]
    outbox.remove(transaction(9, b""))
    outbox.remove(transaction(9, b""))
    assert [entry.nonce for entry in outbox.entries()] == [0, 10, 100]


def test_what_is_kept_is_for_its_owner_only(tmp_path: Path) -> None:
    outbox = TransactionOutbox(tmp_path / "outbox")
    outbox.add(transaction(1))
    (file,) = outbox.folder.glob("*.txt")
    assert (file.stat().st_mode & 0o077, outbox.folder.stat().st_mode & 0o077) == (0, 0)


@pytest.mark.parametrize(
    ("wanted", "instead"),
    [
        (rb"raw 02", b"raw 03"),
        (rb"raw 02", b"raw 0"),
        (rb"nonce 1", b"nonce 2"),
        (rb"nonce 1", b"nonce " + b"1" * 5000),
        (rb"chain-id \d+", b"chain-id x"),
        (rb"(?s).*", b""),
        (rb"\Z", b"more"),
        (rb"\Z", b" " * 2_000_000),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, wanted: bytes, instead: bytes) -> None:
    outbox = TransactionOutbox(tmp_path)
    outbox.add(transaction(1))
    (file,) = tmp_path.glob("*.txt")
    file.write_bytes(re.sub(wanted, instead, file.read_bytes(), count=1))
    with pytest.raises(LedgerError, match=f"{file.name} is damaged"):
        outbox.entries()


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    outbox = TransactionOutbox(tmp_path_factory.mktemp("outbox"))
    (outbox.folder / f"{1:020d}.txt").write_bytes(content)
    with pytest.raises(LedgerError, match="damaged"):
        outbox.entries()


def test_one_sends_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blockchain.ledger.outbox.LOCK_PATIENCE_S", 0.1)
    with TransactionOutbox(tmp_path).held():
        other = TransactionOutbox(tmp_path)
        with pytest.raises(ResourceError, match="in use by another process"), other.held():
            pytest.fail("both hold it")
    with TransactionOutbox(tmp_path).held():
        assert TransactionOutbox(tmp_path).entries() == []


def test_a_folder_that_cannot_be_made_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="could not be written"):
        TransactionOutbox(tmp_path / "file" / "outbox")
