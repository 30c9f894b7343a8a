"""Encoding of a node's JSON blocks, transactions and receipts as a chain hashes them, so that hashes can be checked.

Of the hashes in a node's answers, only the header's own is used. If the node left out or changed anything, what is
encoded here has another hash than the header, or than the header names.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import rlp
from eth_utils.crypto import keccak

from fedward.errors import EvidenceError, FedwardError, VerificationError

MAX_ITEMS = 10_000  # transactions of a block, and so on for every list in it
MAX_LOGS = 100_000  # of a receipt
MAX_DATA_BYTES = 16 * 1024 * 1024

_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*", re.ASCII)
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}", re.ASCII)
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, MemoryError)
_REMEDY = "Compare with another node of this chain."
_BFT_EXTRA_ITEMS = 5  # vanity, validators, vote, round, seals: Besu's QBFT and IBFT 2

Fields = Mapping[str, Any]

# A header's fields in their order, with the reader of each; those from London on came one fork after the other.
_HEADER = (
    ("parentHash", "word"),
    ("sha3Uncles", "word"),
    ("miner", "address"),
    ("stateRoot", "word"),
    ("transactionsRoot", "word"),
    ("receiptsRoot", "word"),
    ("logsBloom", "bloom"),
    ("difficulty", "number"),
    ("number", "number"),
    ("gasLimit", "number"),
    ("gasUsed", "number"),
    ("timestamp", "number"),
    ("extraData", "data"),
    ("mixHash", "word"),
    ("nonce", "nonce"),
)
_LATER = (
    ("baseFeePerGas", "number"),
    ("withdrawalsRoot", "word"),
    ("blobGasUsed", "number"),
    ("excessBlobGas", "number"),
    ("parentBeaconBlockRoot", "word"),
    ("requestsHash", "word"),
)
_LENGTHS = {"word": 32, "address": 20, "bloom": 256, "nonce": 8}


def header_of(block: Any, number: int) -> bytes:
    """A block's header in RLP, of any fork from Frontier to Prague.

    Args:
        block: The node's answer to `eth_getBlockByNumber`.
        number: What was asked for, for messages.

    Raises:
        EvidenceError: the chain is one of those whose block hashes leave seals out.
        VerificationError: the fields do not make a header with the hash that the node states.
    """
    try:
        stated = _data(block["hash"], 32)
        known = [_read(kind, block[name]) for name, kind in _HEADER]
        later = []
        for name, kind in _LATER:
            if block.get(name) is None:
                break
            later.append(_read(kind, block[name]))
        # A node may name fields that the header's fork does not have yet: the hash tells how many belong to it.
        for count in range(len(later), -1, -1):
            encoded = rlp.encode([*known, *later[:count]])
            if keccak(encoded) == stated:
                return bytes(encoded)
        sealed = _is_sealed(known[12])
    except _MALFORMED as error:
        raise _malformed(f"The header of block {number}", error) from error
    if sealed:
        raise EvidenceError(
            f"The hash of block {number} is not that of its header: chains under Besu's QBFT or IBFT leave the "
            "validators' seals out of it, which this audit cannot follow.",
            "Audit the run's own folder or bundle, or another kind of node.",
        )
    raise VerificationError(
        f"The header of block {number} has the hash 0x{keccak(rlp.encode([*known, *later])).hex()}, the node says "
        f"0x{stated.hex()}.",
        _REMEDY,
    )


def block_of(block: Any, number: int) -> bytes:
    """A whole block in RLP: header, transactions, uncles and withdrawals; raises as `header_of`."""
    header = rlp.decode(header_of(block, number))
    try:
        transactions = [_place(transaction_of(item)) for item in _list(block["transactions"])]
        uncles = [_data(item, 32) for item in _list(block.get("uncles") or [])]  # by hash: none of ours has any
        parts = [header, transactions, uncles]
        if block.get("withdrawalsRoot") is not None:
            parts.append([_withdrawal(item) for item in _list(block.get("withdrawals") or [])])
        return bytes(rlp.encode(parts))
    except FedwardError:
        raise
    except _MALFORMED as error:
        raise _malformed(f"Block {number}", error) from error


def transaction_of(fields: Any) -> bytes:
    """Encode a signed transaction as it enters its block's transaction root.

    Raises:
        EvidenceError: it is of a type that is not known here.
        LookupError, TypeError, ValueError: fields are missing or malformed.
    """
    kind = _number(fields.get("type", "0x0"))
    start = [_number(fields["nonce"])]
    end = [
        _number(fields["gas"]),
        _data(fields["to"], 20) if fields.get("to") is not None else b"",
        _number(fields["value"]),
        _data(fields["input"]),
    ]
    signature = [_number(fields["r"]), _number(fields["s"])]
    if kind == 0:
        return bytes(rlp.encode([*start, _number(fields["gasPrice"]), *end, _number(fields["v"]), *signature]))
    price = ["gasPrice"] if kind == 1 else ["maxPriorityFeePerGas", "maxFeePerGas"]
    parts = [_number(fields["chainId"]), *start, *(_number(fields[name]) for name in price), *end]
    parts.append([[_data(entry["address"], 20), _words(entry["storageKeys"])] for entry in _list(fields["accessList"])])
    if kind == 3:
        parts += [_number(fields["maxFeePerBlobGas"]), _words(fields["blobVersionedHashes"])]
    elif kind == 4:
        parts.append([_authorization(entry) for entry in _list(fields["authorizationList"])])
    elif kind not in (1, 2):
        raise EvidenceError(f"A transaction is of type {kind}, which is not known here.", "Use a newer version.")
    parity = fields["yParity"] if fields.get("yParity") is not None else fields["v"]
    return bytes([kind]) + bytes(rlp.encode([*parts, _number(parity), *signature]))


def transaction_hashes(block: Any, number: int) -> tuple[str, ...]:
    """The hashes of a block's transactions as encoded here, to ask for the block's receipts by.

    Raises:
        EvidenceError, VerificationError: as `block_of`.
    """
    try:
        return tuple("0x" + keccak(transaction_of(item)).hex() for item in _list(block["transactions"]))
    except FedwardError:
        raise
    except _MALFORMED as error:
        raise _malformed(f"Block {number}", error) from error


def receipts_of(answers: Any, number: int) -> tuple[bytes, ...]:
    """Encode a block's receipts as they enter its receipt root.

    Args:
        answers: The node's receipts of all transactions, in the block's order.
        number: The block's, for messages.

    Raises:
        VerificationError: one is malformed.
    """
    try:
        return tuple(_receipt(item) for item in _list(answers))
    except _MALFORMED as error:
        raise _malformed(f"A receipt of block {number}", error) from error


def quantity(answer: Any, what: str) -> int:
    """Read a number from a node's answer.

    Raises:
        VerificationError: the answer is no number.
    """
    try:
        return _number(answer)
    except _MALFORMED as error:
        raise _malformed(what, error) from error


def content(answer: Any, what: str, length: int | None = None) -> bytes:
    """Read bytes from a node's answer, of a certain length where given.

    Raises:
        VerificationError: the answer is not such bytes.
    """
    try:
        return _data(answer, length)
    except _MALFORMED as error:
        raise _malformed(what, error) from error


def _receipt(fields: Any) -> bytes:
    kind = _number(fields.get("type", "0x0"))
    if kind > 0x7F:
        raise ValueError("no type of a receipt")
    # Before Byzantium a receipt had the state's root in the place of the status.
    status = _number(fields["status"]) if fields.get("status") is not None else _data(fields["root"], 32)
    logs = [
        [_data(log["address"], 20), _words(log["topics"]), _data(log["data"])]
        for log in _list(fields["logs"], MAX_LOGS)
    ]
    encoded = rlp.encode([status, _number(fields["cumulativeGasUsed"]), _data(fields["logsBloom"], 256), logs])
    return bytes(encoded) if kind == 0 else bytes([kind]) + bytes(encoded)


def _authorization(fields: Any) -> list[Any]:
    """An entry of a transaction of type 4 (EIP-7702)."""
    signature = [_number(fields[name]) for name in ("yParity", "r", "s")]
    return [_number(fields["chainId"]), _data(fields["address"], 20), _number(fields["nonce"]), *signature]


def _withdrawal(fields: Any) -> list[Any]:
    """A withdrawal (EIP-4895)."""
    numbers = [_number(fields["index"]), _number(fields["validatorIndex"])]
    return [*numbers, _data(fields["address"], 20), _number(fields["amount"])]


def _place(encoded: bytes) -> Any:
    """A transaction as it stands in a block: a list of fields, or bytes where it has a type."""
    return rlp.decode(encoded) if encoded[0] >= 0xC0 else encoded


def _is_sealed(extra: Any) -> bool:
    """Whether a header's extra data are those of Besu's QBFT or IBFT."""
    try:
        items = rlp.decode(extra)
    except rlp.exceptions.RLPException:
        return False
    return isinstance(items, Sequence) and not isinstance(items, bytes) and len(items) == _BFT_EXTRA_ITEMS


def _read(kind: str, value: Any) -> Any:
    """A header's field."""
    return _number(value) if kind == "number" else _data(value, _LENGTHS.get(kind))


def _words(values: Any) -> list[bytes]:
    return [_data(value, 32) for value in _list(values)]


def _list(values: Any, most: int = MAX_ITEMS) -> list[Any]:
    if not isinstance(values, list) or len(values) > most:
        raise ValueError("no list, or too long")
    return values


def _number(value: Any) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise ValueError("not a number")
    return int(value, 16)


def _data(value: Any, length: int | None = None) -> bytes:
    if not isinstance(value, str) or len(value) > 2 + 2 * MAX_DATA_BYTES or not _DATA.fullmatch(value):
        raise ValueError("not bytes")
    found = bytes.fromhex(value[2:])
    if length is not None and len(found) != length:
        raise ValueError(f"not {length} bytes")
    return found


def _malformed(what: str, error: Exception) -> VerificationError:
    return VerificationError(f"{what} is malformed as the node tells it ({type(error).__name__}).", _REMEDY)
