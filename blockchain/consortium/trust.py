"""The trust file: what an audit cannot know by itself, as the hospitals hand it out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockchain.ledger.encoding import WORD_BYTES, check_address
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint
from blockchain.signing.signatures import SIGNATURE_BYTES
from fedward.errors import EvidenceError, LedgerError, VerificationError
from fedward.files import parse_json, write_atomic
from fedward.types import Address, HospitalId

FORMAT = "fedward-trust"
VERSION = 1
MAX_BYTES = 64 * 1024 * 1024

_NAME = re.compile(r"[a-z0-9-]{1,32}")


@dataclass(frozen=True)
class TrustFile:
    """What the hospitals vouch for.

    Attributes:
        chain_id, contract: Which ledger.
        genesis_hash: 32 bytes; the hash of block 0.
        hospitals: Address of each hospital.
        witnesses: Accounts whose attestations the hospitals accept.
        checkpoints: What the hospitals saw, signed.
    """

    chain_id: int
    contract: Address
    genesis_hash: bytes
    hospitals: Mapping[HospitalId, Address]
    witnesses: tuple[Address, ...]
    checkpoints: tuple[SignedCheckpoint, ...]

    def save(self, path: Path) -> None:
        """Write the file."""
        write_atomic(path, json.dumps(self.to_json(), indent=1).encode() + b"\n")

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "chain_id": self.chain_id,
            "contract": self.contract,
            "genesis_hash": self.genesis_hash.hex(),
            "hospitals": dict(self.hospitals),
            "witnesses": list(self.witnesses),
            "checkpoints": [checkpoint_to_json(signed) for signed in self.checkpoints],
        }

    @classmethod
    def load(cls, path: Path) -> "TrustFile":
        """Read the file.

        Raises:
            EvidenceError: it cannot be read.
            VerificationError: it is no trust file.
        """
        content = _read(path)
        try:
            return cls._from_json(parse_json(content))
        except (ValueError, KeyError, TypeError, AttributeError, LedgerError) as error:
            raise VerificationError(
                f"{path} is not a trust file ({type(error).__name__}).", "Ask a hospital for its trust file."
            ) from error

    @classmethod
    def _from_json(cls, fields: Any) -> "TrustFile":
        if fields["format"] != FORMAT or _integer(fields["version"]) != VERSION:
            raise ValueError("another format")
        hospitals = {}
        for name, address in fields["hospitals"].items():
            if not _NAME.fullmatch(name):
                raise ValueError("not a hospital's name")
            hospitals[HospitalId(name)] = check_address(address, "hospital")
        if not hospitals or len(set(hospitals.values())) != len(hospitals):
            raise ValueError("no hospital, or two with one address")
        return cls(
            chain_id=_integer(fields["chain_id"]),
            contract=check_address(fields["contract"], "contract"),
            genesis_hash=_word(fields["genesis_hash"]),
            hospitals=hospitals,
            witnesses=tuple(check_address(address, "witness") for address in _list(fields["witnesses"])),
            checkpoints=tuple(checkpoint_from_json(each) for each in _list(fields["checkpoints"])),
        )


def checkpoint_to_json(signed: SignedCheckpoint) -> dict[str, Any]:
    """A checkpoint as a line of `checkpoints.jsonl` holds it."""
    checkpoint = signed.checkpoint
    return {
        "chain_id": checkpoint.chain_id,
        "contract": checkpoint.contract,
        "hospital": checkpoint.hospital,
        "round": checkpoint.round_index,
        "height": checkpoint.height,
        "block_hash": checkpoint.block_hash.hex(),
        "ledger_head": checkpoint.ledger_head.hex(),
        "signature": signed.signature.hex(),
    }


def checkpoint_from_json(fields: Any) -> SignedCheckpoint:
    """A checkpoint from JSON's types; its signature is not checked here.

    Raises:
        ValueError, KeyError, TypeError, LedgerError: it is none.
    """
    return SignedCheckpoint(
        Checkpoint(
            chain_id=_integer(fields["chain_id"]),
            contract=check_address(fields["contract"], "contract"),
            hospital=check_address(fields["hospital"], "hospital"),
            round_index=_integer(fields["round"]),
            height=_integer(fields["height"]),
            block_hash=_word(fields["block_hash"]),
            ledger_head=_word(fields["ledger_head"]),
        ),
        _hexadecimal(fields["signature"], SIGNATURE_BYTES),
    )


def _read(path: Path) -> bytes:
    """The file's content, at most `MAX_BYTES` of it, whatever the path names."""
    try:
        if path.exists() and not path.is_file():
            raise EvidenceError(f"{path} is no file.", "Check the path given to --trust.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise EvidenceError(
            f"The trust file {path} could not be read: {reason}.", "Check the path given to --trust."
        ) from error
    if len(content) > MAX_BYTES:
        raise VerificationError(f"{path} is too large for a trust file.", "Ask a hospital for its trust file.")
    return content


def _list(value: Any) -> list[Any]:
    """A list; a text or an object would be walked through as well."""
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _integer(value: Any) -> int:
    """A whole number that fits the ledger's types."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError("not a whole number")
    return value


def _word(value: Any) -> bytes:
    """32 bytes in hexadecimal."""
    return _hexadecimal(value, WORD_BYTES)


def _hexadecimal(value: Any, length: int) -> bytes:
    """So many bytes in hexadecimal, written in the one way in which we write them."""
    content = bytes.fromhex(value)
    if len(content) != length or content.hex() != value:
        raise ValueError(f"not {length} bytes in hexadecimal")
    return content
