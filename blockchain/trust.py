"""The trust file: what an audit cannot know by itself, as the hospitals hand it out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockchain.checkpoints import Checkpoint, SignedCheckpoint
from blockchain.encoding import check_address
from fedward.errors import EvidenceError, LedgerError, VerificationError
from fedward.files import write_atomic
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
        try:
            if path.stat().st_size > MAX_BYTES:
                raise VerificationError(f"{path} is too large for a trust file.", "Ask a hospital for its trust file.")
            content = path.read_bytes()
        except OSError as error:
            raise EvidenceError(
                f"The trust file {path} could not be read: {error.strerror}.", "Check the path given to --trust."
            ) from error
        try:
            return cls._from_json(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LedgerError) as error:
            raise VerificationError(
                f"{path} is not a trust file ({type(error).__name__}).", "Ask a hospital for its trust file."
            ) from error

    @classmethod
    def _from_json(cls, fields: Any) -> "TrustFile":
        if fields["format"] != FORMAT or fields["version"] != VERSION:
            raise ValueError("another format")
        hospitals = {}
        for name, address in fields["hospitals"].items():
            if not _NAME.fullmatch(name):
                raise ValueError("not a hospital's name")
            hospitals[HospitalId(name)] = check_address(address, "hospital")
        return cls(
            chain_id=_integer(fields["chain_id"]),
            contract=check_address(fields["contract"], "contract"),
            genesis_hash=_word(fields["genesis_hash"]),
            hospitals=hospitals,
            witnesses=tuple(check_address(address, "witness") for address in fields["witnesses"]),
            checkpoints=tuple(checkpoint_from_json(each) for each in fields["checkpoints"]),
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
        bytes.fromhex(fields["signature"]),
    )


def _integer(value: Any) -> int:
    """A whole number that fits the ledger's types."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError("not a whole number")
    return value


def _word(value: Any) -> bytes:
    """32 bytes in hexadecimal."""
    word = bytes.fromhex(value)
    if len(word) != 32:
        raise ValueError("not 32 bytes")
    return word
