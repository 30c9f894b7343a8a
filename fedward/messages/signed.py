"""The one wire form of what parties sign: canonical JSON, by one writer and one reader for every signed struct.

A signed struct is a frozen dataclass of two attributes: what is signed, itself a frozen dataclass, and `signature`.
Its annotations are the format (`fedward.checked_json`), and the names in the JSON are its attributes' names; so whoever
adds a member to a struct, or another signed struct, changes nothing here. Messages carry these bytes, and the
hospital's outbox and checkpoints keep them as they are. What is signed is not these bytes but EIP-712's typed data
(`blockchain.signing`), and the contract takes the ABI's encoding.
"""

import json
from typing import Any, TypeVar

from fedward.checked_json import checked_json, to_json
from fedward.errors import FedwardError

MAX_BYTES = 4096  # of a commitment, vote or checkpoint: each has less than 1,500

Struct = TypeVar("Struct")


def write_signed(signed: Any) -> bytes:
    """A signed struct as canonical JSON: one line of ASCII, keys sorted, no blanks, bytes as hexadecimal.

    Guarantees:
        1. Equal structs give equal bytes, on any machine.
        2. `read_signed` gives the struct back, where every member is what its annotation asks for.
    """
    return json.dumps(to_json(signed), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def read_signed(
    kind: type[Struct],
    content: bytes,
    what: str,
    error: type[FedwardError],
    remedy: str,
) -> Struct:
    """Read what `write_signed` wrote. Signatures are not checked here, nor whether an address has its checksum.

    Args:
        kind: The signed struct's dataclass.
        content: From outside; anything.
        what: What to call the content at the beginning of an error's sentence.
        error: The error to raise.
        remedy: What the reader of that error can do.

    Raises:
        FedwardError: of the kind that `error` names. The content is too long, no JSON, has other members than the
            struct or a value that its annotation does not allow, or is not exactly as `write_signed` writes it.

    Guarantees:
        1. Whatever the content, the result is a struct all of whose members fulfill their annotations, or that error.
        2. `write_signed` of the result is the content: no two contents stand for the same struct.
    """
    if len(content) > MAX_BYTES:
        raise error(f"{what} is longer than {MAX_BYTES:,} bytes.", remedy)
    signed = checked_json(kind, content, what, error, remedy)
    if write_signed(signed) != content:
        raise error(
            f"{what} is malformed: its keys are not sorted, or it has blanks or numbers of another form.", remedy
        )
    return signed
