"""Whom the server lets in: the list of admitted hospitals (`members.json`), and the witness (`witness.json`)."""

import dataclasses
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fedward.checked_json import read_json, to_json
from fedward.errors import UsageError
from fedward.files import sha256, write_atomic
from fedward.hosts.project import ADDRESS, DIGEST, NAME
from fedward.tables import Between
from fedward.types import Address, HospitalId

PRIVATE = 0o600


@dataclass(frozen=True)
class Admitted:
    """A hospital that the administrator admitted.

    Attributes:
        hospital: Its name.
        address: Its account on the ledger.
        weight: Its enrolled number of training images.
        transport_key: The public half of its SuperNode's key, one line in OpenSSH's form.
        token_hash: Hexadecimal SHA-256 of the token with which it uses the gateway.
        revoked: Whether it was excluded since; then nothing of it is let in.
    """

    hospital: Annotated[HospitalId, NAME]
    address: Annotated[Address, ADDRESS]
    weight: Annotated[int, Between(1, 2**31 - 1)]
    transport_key: str
    token_hash: Annotated[str, DIGEST]
    revoked: bool = False


@dataclass(frozen=True)
class NamedWitness:
    """The witness that the study was provisioned with.

    Attributes:
        address: Its account on the ledger.
        token_hash: Hexadecimal SHA-256 of the token with which it uses the gateway.
    """

    address: Annotated[Address, ADDRESS]
    token_hash: Annotated[str, DIGEST]

    def save(self, path: Path) -> None:
        """Write it down."""
        write_atomic(path, json.dumps(to_json(self)).encode(), PRIVATE)

    @classmethod
    def load(cls, path: Path) -> "NamedWitness | None":
        """Read it; None where the study has no witness.

        Raises:
            EvidenceError, VerificationError: the file is damaged.
        """
        return read_json(cls, path, "The witness", "Restore the kit from a backup.") if path.exists() else None


class Members:
    """Reads and writes the list; the file is whole or not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> tuple[Admitted, ...]:
        """Every hospital that was ever admitted, in that order; none before the first.

        Raises:
            EvidenceError: the file is damaged.
        """
        if not self.path.exists():
            return ()
        return read_json(tuple[Admitted, ...], self.path, "The list of admitted hospitals", "Restore it from a backup.")

    def check_new(self, member: Admitted) -> None:
        """Check that a hospital is here already, just so, or shares nothing with another.

        Raises:
            UsageError: another hospital has its name, address, key or token, or it was revoked.
        """
        for other in self.all():
            if other == member:
                return
            names = ("hospital", "address", "transport_key", "token_hash")
            shared = [name for name in names if getattr(other, name) == getattr(member, name)]
            if shared:
                raise UsageError(
                    f"{other.hospital} was admitted with the same {shared[0].replace('_', ' ')}"
                    f"{' and was revoked' if other.revoked else ', and differs otherwise'}.",
                    "Ask the hospital which request is its own; whoever was revoked enrolls anew, under another name.",
                )

    def admit(self, member: Admitted) -> None:
        """Add a hospital, or keep it where it is there already.

        Raises:
            UsageError: as `check_new`.
            ResourceError: the disk is full or the folder cannot be written.
        """
        self.check_new(member)
        if member not in self.all():
            self._write((*self.all(), member))

    def revoke(self, hospital: HospitalId) -> Admitted:
        """Let nothing more in from a hospital; harmless when repeated.

        Returns:
            The hospital as it was.

        Raises:
            UsageError: there is no such hospital.
        """
        known = self.all()
        found = [member for member in known if member.hospital == hospital]
        if not found:
            names = ", ".join(member.hospital for member in known) or "none"
            raise UsageError(f"No hospital {hospital} was admitted.", f"Admitted were: {names}.")
        self._write(tuple(dataclasses.replace(one, revoked=True) if one.hospital == hospital else one for one in known))
        return found[0]

    def by_token(self, token: str) -> Admitted | None:
        """The hospital that a token belongs to; None where it is nobody's, or a revoked one's."""
        digest = sha256(token.encode()).hex()
        for member in self.all():
            if hmac.compare_digest(member.token_hash, digest) and not member.revoked:
                return member
        return None

    def _write(self, members: tuple[Admitted, ...]) -> None:
        write_atomic(self.path, (json.dumps(to_json(members), indent=2) + "\n").encode(), PRIVATE)
