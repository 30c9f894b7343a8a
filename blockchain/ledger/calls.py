"""Decoding of a transaction's input: the contract's function and its arguments, from bytes that anybody may send."""

import functools
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from blockchain.ledger.artifact import load_artifact
from fedward.errors import VerificationError

SELECTOR_BYTES = 4


@functools.cache
def _functions() -> dict[bytes, tuple[str, tuple[str, ...]]]:
    """Name and ABI types of the arguments by selector; built once, read for every transaction."""
    return load_artifact().signatures("function")


def decode_call(data: bytes) -> tuple[str, tuple[Any, ...]]:
    """The function that a call's input names, and its arguments as eth_abi gives them.

    Padding that the contract ignores is ignored here, too.

    Raises:
        VerificationError: the contract has no such function, or the arguments are not of its types.
    """
    name, kinds = _functions().get(data[:SELECTOR_BYTES], ("", ()))
    if not name:
        raise VerificationError(
            f"The contract has no function 0x{data[:SELECTOR_BYTES].hex()}.", "Compare with another copy of the ledger."
        )
    return name, _decode(name, kinds, data[SELECTOR_BYTES:])


def decode_deployment(data: bytes) -> tuple[Any, ...]:
    """The constructor's arguments behind the contract's bytecode.

    Raises:
        VerificationError: the bytecode is not this version's, or the arguments are not of the constructor's types.
    """
    artifact = load_artifact()
    if not data.startswith(artifact.bytecode):
        raise VerificationError(
            "The contract was deployed from other bytecode than this version's.", "Audit with the version that ran."
        )
    return _decode("constructor", artifact.constructor_kinds(), data[len(artifact.bytecode) :])


def _decode(name: str, kinds: tuple[str, ...], data: bytes) -> tuple[Any, ...]:
    """The arguments, or a `VerificationError`."""
    try:
        return decode(kinds, data, strict=False)
    except (DecodingError, OverflowError, ValueError) as error:
        raise VerificationError(
            f"The arguments of {name} cannot be decoded: {str(error)[:120]}", "Compare with another copy of the ledger."
        ) from error
