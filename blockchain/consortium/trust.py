"""The trust file: chain, contract, block 0, hospitals, witnesses and checkpoints that the hospitals vouch for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from blockchain.ledger.json_fields import Account, HospitalName, Whole, Word
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint
from blockchain.signing.signatures import SIGNATURE_BYTES
from fedward.checked_json import Length, checked, checked_json, to_json
from fedward.errors import VerificationError
from fedward.files import read_file, write_atomic
from fedward.types import Address, HospitalId

MAX_BYTES = 64 * 1024 * 1024

_REMEDY = "Check the path given to --trust, or ask a hospital for its trust file."


@dataclass(frozen=True)
class CheckpointForm:
    """A signed checkpoint, as `checkpoints.jsonl` and a trust file store it; the signature is not checked."""

    chain_id: Whole
    contract: Account
    hospital: Account
    round: Whole
    height: Whole
    block_hash: Word
    ledger_head: Word
    signature: Annotated[bytes, Length(SIGNATURE_BYTES)]

    @classmethod
    def of(cls, signed: SignedCheckpoint) -> "CheckpointForm":
        """Convert from a signed checkpoint."""
        seen = signed.checkpoint
        return cls(
            chain_id=seen.chain_id,
            contract=seen.contract,
            hospital=seen.hospital,
            round=seen.round_index,
            height=seen.height,
            block_hash=seen.block_hash,
            ledger_head=seen.ledger_head,
            signature=signed.signature,
        )

    def signed(self) -> SignedCheckpoint:
        """Convert to a signed checkpoint."""
        seen = Checkpoint(
            self.chain_id, self.contract, self.hospital, self.round, self.height, self.block_hash, self.ledger_head
        )
        return SignedCheckpoint(seen, self.signature)


class _Distinct:
    """At least one hospital, and no two with one address."""

    def problem(self, value: Mapping[HospitalId, Address]) -> str | None:
        """What is wrong with the hospitals; None where nothing is."""
        distinct = value and len(set(value.values())) == len(value)
        return None if distinct else "must name at least one hospital, and no two with one address"


@dataclass(frozen=True)
class _TrustForm:
    """A trust file, as it stands on the disk."""

    format: Literal["fedward-trust"]
    version: Literal[1]
    chain_id: Whole
    contract: Account
    genesis_hash: Word
    hospitals: Annotated[Mapping[HospitalName, Account], _Distinct()]
    witnesses: tuple[Account, ...]
    checkpoints: tuple[CheckpointForm, ...]


@dataclass(frozen=True)
class TrustFile:
    """What the hospitals vouch for, so that an auditor can tell their ledger from an invented one.

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
        form = _TrustForm(
            format="fedward-trust",
            version=1,
            chain_id=self.chain_id,
            contract=self.contract,
            genesis_hash=self.genesis_hash,
            hospitals=self.hospitals,
            witnesses=self.witnesses,
            checkpoints=tuple(CheckpointForm.of(signed) for signed in self.checkpoints),
        )
        return dict(to_json(form))

    @classmethod
    def load(cls, path: Path) -> "TrustFile":
        """Read the file.

        Raises:
            EvidenceError: it cannot be read.
            VerificationError: it is no trust file.
        """
        content = read_file(path, MAX_BYTES, "The trust file", _REMEDY, through_link=True)
        form = checked_json(_TrustForm, content, f"The trust file {path}", VerificationError, _REMEDY)
        return cls(
            chain_id=form.chain_id,
            contract=form.contract,
            genesis_hash=form.genesis_hash,
            hospitals=form.hospitals,
            witnesses=form.witnesses,
            checkpoints=tuple(each.signed() for each in form.checkpoints),
        )


def checkpoint_to_json(signed: SignedCheckpoint) -> dict[str, Any]:
    """A checkpoint as `checkpoints.jsonl` stores it."""
    return dict(to_json(CheckpointForm.of(signed)))


def checkpoint_from_json(fields: Any) -> SignedCheckpoint:
    """A checkpoint from JSON's types; its signature is not checked here.

    Raises:
        UnfitJsonError: the value is no checkpoint.
    """
    return checked(CheckpointForm, fields).signed()
