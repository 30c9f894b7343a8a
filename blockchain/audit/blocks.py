"""Decoding of blocks and receipts: bytes to headers, hashes, and transactions with their signers. Nothing is judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import rlp
from eth.abc import BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI
from eth.exceptions import UnrecognizedTransactionType
from eth.rlp.headers import BlockHeader
from eth.vm.forks.cancun.blocks import CancunBlockHeader
from eth.vm.forks.cancun.receipts import CancunReceiptBuilder
from eth.vm.forks.cancun.transactions import CancunTransactionBuilder
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from trie.hexary import HexaryTrie

from blockchain.audit.history import ExecutedBlock, ExecutedTransaction, Log
from blockchain.audit.sources.evidence import RawBlock
from fedward.errors import VerificationError
from fedward.types import Address

BLOB_TYPE = 3
REMEDY = "Compare with another hospital's copy of the ledger."
_SHARED_FIELDS = 15  # with which headers of every fork begin
_MAX_REASON = 160  # characters
_MAX_NUMBER = 2**64 - 1  # largest block number, time or gas in a header
_MAX_WORD = 2**256 - 1  # of all other numbers
_SUCCEEDED = b"\x01"

# All that decoding, recovering a signer and reading receipts raise on bytes from outside.
MALFORMED = (
    rlp.exceptions.RLPException,
    ValidationError,
    BadSignature,
    UnrecognizedTransactionType,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    MemoryError,
)


@dataclass(frozen=True)
class SignedTransaction:
    """A transaction of a block's body.

    Attributes:
        encoded: The bytes that enter the block's transaction root.
        transaction: The decoded transaction; None where it cannot be read.
        sender: Who signed it; None where no signer can be recovered.
    """

    encoded: bytes
    transaction: SignedTransactionAPI | None
    sender: Address | None

    @property
    def transaction_hash(self) -> bytes:
        """32 bytes."""
        return bytes(keccak(self.encoded))

    @property
    def created(self) -> Address | None:
        """Address of the contract that it creates, or None."""
        if self.transaction is None or self.sender is None or self.transaction.to:
            return None
        place = rlp.encode([bytes.fromhex(self.sender[2:]), int(self.transaction.nonce)])
        return Address(to_checksum_address(keccak(place)[-20:]))

    def executed(self, block: "DecodedBlock", position: int, receipt: ReceiptAPI) -> ExecutedTransaction:
        """The transaction with its outcome from a receipt; only for a readable one with a signer."""
        transaction = cast(SignedTransactionAPI, self.transaction)
        return ExecutedTransaction(
            block=block.header.block_number,
            timestamp=block.header.timestamp,
            position=position,
            transaction_hash=self.transaction_hash,
            chain_id=transaction.chain_id,
            sender=cast(Address, self.sender),
            to=Address(to_checksum_address(transaction.to)) if transaction.to else None,
            created=self.created,
            data=bytes(transaction.data),
            succeeded=receipt.state_root == _SUCCEEDED,
            logs=tuple(
                Log(bytes(log.address), tuple(topic.to_bytes(32, "big") for topic in log.topics), bytes(log.data))
                for log in receipt.logs
            ),
        )


@dataclass(frozen=True)
class DecodedBlock:
    """A block that could be read.

    Attributes:
        header: All fields of a Cancun header, or only those that every fork has, as it was decoded.
        block_hash: keccak-256 of the whole header.
        transactions: The body's transactions, in order.
        extras: Number of uncles and withdrawals; blocks of the embedded node have none.
    """

    header: BlockHeaderAPI
    block_hash: bytes
    transactions: tuple[SignedTransaction, ...]
    extras: int

    def executed(self, receipts: Sequence[ReceiptAPI | None]) -> ExecutedBlock:
        """The block with those of its transactions that have a signer and a receipt, each at its place."""
        pairs = enumerate(zip(self.transactions, receipts, strict=False))
        known = [
            signed.executed(self, place, receipt) for place, (signed, receipt) in pairs if signed.sender and receipt
        ]
        return ExecutedBlock(self.header.block_number, self.block_hash, self.header.timestamp, tuple(known))


def decode_header(encoded: bytes, any_fork: bool = False) -> tuple[BlockHeaderAPI, bytes]:
    """Read a header and its hash.

    Args:
        encoded: RLP.
        any_fork: Whether a header of any fork is taken: other fields may follow those that all forks share. Else it
            must be Cancun's.

    Raises:
        VerificationError: the bytes are no header.
    """
    try:
        return _header(rlp.decode(encoded), any_fork)
    except MALFORMED as error:
        raise VerificationError(f"A header cannot be read: {in_short(error)}.", REMEDY) from error


def decode_block(raw: RawBlock, any_fork: bool = False) -> DecodedBlock:
    """Decode a block; single transactions in it may be unreadable.

    Raises:
        VerificationError: the bytes are no block.
    """
    try:
        header_fields, items, uncles, *withdrawals = rlp.decode(raw.block)
        header, block_hash = _header(header_fields, any_fork)
        lists = (items, uncles, *withdrawals)
        if len(lists) > 3 or not all(isinstance(part, Sequence) and not isinstance(part, bytes) for part in lists):
            raise ValueError("it is not made of header, transactions, uncles and withdrawals")
        extras = len(uncles) + sum(len(part) for part in withdrawals)
        return DecodedBlock(header, block_hash, tuple(_transaction(item) for item in items), extras)
    except MALFORMED as error:
        raise VerificationError(f"Block {raw.number} cannot be read: {in_short(error)}.", REMEDY) from error


def decode_receipts(encoded: Sequence[bytes]) -> tuple[ReceiptAPI, ...]:
    """Read a block's receipts.

    Raises:
        VerificationError: an entry is no receipt.
    """
    try:
        return tuple(CancunReceiptBuilder.decode(item) for item in encoded)
    except MALFORMED as error:
        raise VerificationError(f"A receipt cannot be read: {in_short(error)}.", REMEDY) from error


def root_of(items: Sequence[bytes]) -> bytes:
    """Root of the trie that holds encoded transactions or receipts under their places in the block."""
    trie = HexaryTrie({}, prune=True)
    for place, item in enumerate(items):
        trie[rlp.encode(place)] = item
    return bytes(trie.root_hash)


def in_short(error: Exception) -> str:
    """A library's error message on one line, cut short, because it may repeat all of the input."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}…"


def _header(fields: Any, any_fork: bool) -> tuple[BlockHeaderAPI, bytes]:
    """A header from its RLP fields, with its hash; raises any of `MALFORMED`."""
    kind = BlockHeader if any_fork else CancunBlockHeader
    header = kind.deserialize(fields[:_SHARED_FIELDS] if any_fork else fields)
    numbers = {name: value for name, value in header.as_dict().items() if isinstance(value, int) and name != "bloom"}
    counted = max(numbers.pop(name) for name in ("block_number", "gas_limit", "gas_used", "timestamp"))
    if counted > _MAX_NUMBER or max(numbers.values()) > _MAX_WORD:
        raise ValueError("a number in its header is out of range")
    return header, bytes(keccak(rlp.encode(fields)))


def _transaction(item: Any) -> SignedTransaction:
    """A transaction from its place in a block: a list of fields, or bytes where it has a type."""
    encoded = item if isinstance(item, bytes) else rlp.encode(item)
    try:
        transaction = CancunTransactionBuilder.deserialize(item)
        transaction.validate()  # every field in its range, the signature sound
    except MALFORMED:
        return SignedTransaction(encoded, _unsound(item), None)
    return SignedTransaction(encoded, transaction, Address(to_checksum_address(transaction.sender)))


def _unsound(item: Any) -> SignedTransactionAPI | None:
    """A transaction that fails its validation, decoded all the same; None where it cannot be."""
    try:
        return CancunTransactionBuilder.deserialize(item)
    except MALFORMED:
        return None
