"""`StoredChain`: reads a chain from its store without a node: block 0 with its accounts, and every block's bytes."""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import rlp
from eth.constants import BLANK_ROOT_HASH, EMPTY_UNCLE_HASH
from eth.db.schema import SchemaV1
from eth_typing import BlockNumber
from eth_utils.crypto import keccak
from trie.exceptions import InvalidNibbles, InvalidNode, MissingTrieNode, TraversedPartialPath
from trie.exceptions import ValidationError as TrieValidationError
from trie.hexary import HexaryTrie

from blockchain.ledger.json_fields import Account
from blockchain.node.store import ChainStore
from fedward.checked_json import checked
from fedward.errors import EvidenceError, LedgerError, VerificationError
from fedward.files import parse_json
from fedward.types import Address

CHAIN_ID_KEY = b"fedward:chain-id"
GENESIS_KEY = b"fedward:genesis"  # the state trie holds only hashes of addresses, so the list is stored apart
MAX_ITEMS = 10_000  # transactions or withdrawals of a block; the gas limit leaves room for 1,428 transactions

_HASH_BYTES = 32
_UNCLES, _TRANSACTIONS, _RECEIPTS, _NUMBER, _WITHDRAWALS = 1, 4, 5, 8, 16  # places in a header
_MALFORMED = (
    sqlite3.Error,
    rlp.exceptions.RLPException,
    InvalidNibbles,
    InvalidNode,
    MissingTrieNode,
    TraversedPartialPath,
    TrieValidationError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
    LedgerError,
)


class _Amount:
    """Wei as a text of decimal digits, at most what a word of 256 bits holds."""

    def problem(self, value: str) -> str | None:
        """What is wrong with the text; None where nothing is."""
        fits = re.fullmatch("0|[1-9][0-9]{0,77}", value, re.ASCII) and int(value) < 2**256
        return None if fits else "must be an amount of wei in decimal digits"


Balances = dict[Account, Annotated[str, _Amount()]]


def encode_balances(balances: Mapping[Address, int]) -> bytes:
    """The accounts of block 0 for a store and a bundle; wei as text, because many JSON readers round large numbers."""
    return json.dumps({address: str(wei) for address, wei in sorted(balances.items())}).encode()


def decode_balances(fields: Any) -> dict[Address, int]:
    """The accounts that `encode_balances` encoded, from JSON's types.

    Raises:
        UnfitJsonError: the value is no such list of accounts.
    """
    return {address: int(wei) for address, wei in checked(Balances, fields).items()}


class StoredChain:
    """A chain in its store.

    Args:
        store: Open for reading.
        path: Its file, for messages.

    Every method raises `VerificationError` where the store is damaged, and nothing else but what it says.
    """

    def __init__(self, store: ChainStore, path: Path) -> None:
        self._store = store
        self._path = path

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["StoredChain"]:
        """Open a store that no node holds; see `ChainStore.reading`."""
        with ChainStore.reading(path) as store:
            yield cls(store, path)

    def balances(self) -> dict[Address, int]:
        """Wei of each account that block 0 funds.

        Raises:
            EvidenceError: the chain was made by a version that did not write them down.
        """
        with self._guarded("The accounts of block 0"):
            if GENESIS_KEY not in self._store:
                raise EvidenceError(
                    f"{self._path} does not say which accounts block 0 endows.", "Make the run anew with this version."
                )
            return decode_balances(parse_json(self._store[GENESIS_KEY]))

    def header(self, number: int) -> bytes:
        """RLP of a block's header."""
        with self._guarded(f"Block {number}"):
            return self._header(number)

    def height(self) -> int:
        """Number of the last block."""
        with self._guarded("The last block"):
            header = rlp.decode(self._store[self._store[SchemaV1.make_canonical_head_hash_lookup_key()]])
            return int.from_bytes(header[_NUMBER][:8], "big")

    def block(self, number: int) -> bytes:
        """RLP of a block: header, transactions, uncles and withdrawals."""
        with self._guarded(f"Block {number}"):
            header = rlp.decode(self._header(number))
            uncles = header[_UNCLES]
            return bytes(
                rlp.encode(
                    [
                        header,
                        [_in_block(item) for item in self._items(header[_TRANSACTIONS])],
                        [] if uncles == EMPTY_UNCLE_HASH else rlp.decode(self._store[uncles]),
                        [rlp.decode(item) for item in self._items(header[_WITHDRAWALS])],
                    ]
                )
            )

    def receipts(self, number: int) -> tuple[bytes, ...]:
        """The encoded receipts of a block's transactions, as its header commits to them; nobody has run them again."""
        with self._guarded(f"The receipts of block {number}"):
            return tuple(self._items(rlp.decode(self._header(number))[_RECEIPTS]))

    def check_entries(self) -> int:
        """Compare every entry that is kept under its hash with that hash; returns how many there are.

        Headers, transactions, receipts, state and code are kept so. No other part of an audit reads all of them, for
        it makes the state anew.

        Raises:
            VerificationError: an entry is damaged; it names the first and says how many more there are.
        """
        count, damaged = 0, list[bytes]()
        with self._guarded("An entry"):
            for key, value in self._store.pairs():
                if len(key) == _HASH_BYTES:
                    count += 1
                    if keccak(value) != key:
                        damaged.append(key)
        if damaged:
            raise VerificationError(
                f"{len(damaged)} of {count:,} entries of {self._path} that are kept under their hash have another, "
                f"the first 0x{damaged[0].hex()}.",
                "Restore it from a copy.",
            )
        return count

    def _header(self, number: int) -> bytes:
        key = SchemaV1.make_block_number_to_hash_lookup_key(BlockNumber(number))
        return bytes(self._store[rlp.decode(self._store[key])])

    def _items(self, root: bytes) -> list[bytes]:
        """The values of a trie whose keys are 0, 1, 2 and so on."""
        trie = HexaryTrie(_Nodes(self._store), root)
        found: list[bytes] = []
        while root != BLANK_ROOT_HASH and (item := trie[rlp.encode(len(found))]):
            if len(found) == MAX_ITEMS:
                raise ValueError("more than a block can hold")
            found.append(item)
        return found

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Turn errors over a malformed store into a `VerificationError` that says where it is malformed."""
        try:
            yield
        except _MALFORMED as error:
            raise VerificationError(
                f"{what} in {self._path} is missing or damaged ({type(error).__name__}).", "Restore it from a copy."
            ) from error


class _Nodes(dict[bytes, bytes]):
    """A trie's nodes, each checked against the hash that it is stored under, so that no walk can go in circles."""

    def __init__(self, store: ChainStore) -> None:
        super().__init__()
        self._store = store

    def __missing__(self, node_hash: bytes) -> bytes:
        node = self._store[node_hash]
        if keccak(node) != node_hash:
            raise ValueError("not the node of this hash")
        return node

    def __contains__(self, node_hash: object) -> bool:
        return isinstance(node_hash, bytes) and node_hash in self._store


def _in_block(transaction: bytes) -> Any:
    """A transaction as a block holds it: an untyped one as a list, a typed one as bytes (EIP-2718)."""
    return rlp.decode(transaction) if transaction[0] >= 0xC0 else transaction
