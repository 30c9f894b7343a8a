"""The trust file: chain, contract, block 0, hospitals, witnesses and checkpoints that the hospitals vouch for."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from blockchain.ledger.json_fields import Account, HospitalName
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint
from fedward.checked_json import checked_json, to_json
from fedward.errors import VerificationError
from fedward.files import read_file, write_atomic
from fedward.types import Address, HospitalId, Signature, Whole, Word

MAX_BYTES = 64 * 1024 * 1024

_REMEDY = "Check the path given to --trust, or ask a hospital for its trust file."


@dataclass(frozen=True)
class FirstCheckpoint:
    """A signed checkpoint as runs of earlier versions have it: flat, and the round under another name."""

    chain_id: Whole
    contract: Account
    hospital: Account
    round: Whole
    height: Whole
    block_hash: Word
    ledger_head: Word
    signature: Signature

    def signed(self) -> SignedCheckpoint:
        """As checkpoints are today."""
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
    version: Literal[1, 2]
    chain_id: Whole
    contract: Account
    genesis_hash: Word
    hospitals: Annotated[Mapping[HospitalName, Account], _Distinct()]
    witnesses: tuple[Account, ...]
    checkpoints: tuple[FirstCheckpoint | SignedCheckpoint, ...]  # in files of version 1, of version 2


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
            version=2,
            chain_id=self.chain_id,
            contract=self.contract,
            genesis_hash=self.genesis_hash,
            hospitals=self.hospitals,
            witnesses=self.witnesses,
            checkpoints=self.checkpoints,
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
            checkpoints=tuple(
                each.signed() if isinstance(each, FirstCheckpoint) else each for each in form.checkpoints
            ),
        )

    @classmethod
    def load_all(cls, paths: Sequence[Path]) -> "TrustFile":
        """Read the files of several hospitals as one: hospitals and checkpoints of all.

        A hospital that joined late does not know those that were revoked before, so a hospital counts that one of the
        files names.

        Args:
            paths: At least one.

        Raises:
            EvidenceError: one cannot be read.
            VerificationError: one is no trust file, or two disagree about ledger or witnesses, or about which hospital
                has which address.
        """
        first, *others = (cls.load(path) for path in paths)
        hospitals = dict(first.hospitals)
        for path, other in zip(paths[1:], others, strict=True):
            joined = hospitals | dict(other.hospitals)
            same = dataclasses.replace(other, hospitals=first.hospitals, checkpoints=first.checkpoints) == first
            told_alike = all(joined[name] == address for name, address in hospitals.items())
            if not same or not told_alike or len(set(joined.values())) < len(joined):
                raise VerificationError(
                    f"The trust files {paths[0]} and {path} disagree about the ledger, its hospitals or witnesses.",
                    "Ask these hospitals what they agreed to: one of them was shown another study.",
                )
            hospitals = joined
        return dataclasses.replace(
            first,
            hospitals=hospitals,
            checkpoints=tuple(dict.fromkeys(each for one in (first, *others) for each in one.checkpoints)),
        )
