"""Which code a hospital has approved, and the key with which it says so to its own SuperNode.

A SuperNode runs whatever bundle its SuperLink ships, unless it is told which keys it trusts: then only bundles that one
of these keys has signed. The one key that a hospital's SuperNode trusts is the hospital's own, made here. It signs a
bundle when a person has approved it, and `fedward.hosts.approved_code` shows the signature to Flower, which checks it.
So without an approval nothing runs, also where our own check were left out by mistake.

key  trusted.json (its public half, for Flower)  approvals.jsonl (the last line is in force)  bundles/DIGEST.fab
"""

import base64
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.supercore.primitives.asymmetric_ed25519 import create_message_to_sign

from fedward.checked_json import Matching, checked_json, to_json
from fedward.errors import EvidenceError
from fedward.files import append_line, make_folder, read_file, read_lines, sha256, write_atomic
from fedward.tables import Between

KEY_NAME = "hospital"  # under which the hospital's key stands in `trusted.json`, and its signature beside a bundle
MOST_BUNDLE_BYTES = 64 * 1024 * 1024
PRIVATE = 0o600

_MOST_KEY_BYTES = 4096
_SEED_BYTES = 32
_DIGEST = Matching(r"[0-9a-f]{64}", "64 hexadecimal digits")
_RESTORE = "Restore it from a backup, or approve the code anew."


@dataclass(frozen=True)
class Approval:
    """What a person at the hospital agreed to run.

    Attributes:
        bundle: Hexadecimal SHA-256 of the code, as Flower ships it.
        settings: Hexadecimal digest of the settings that carry guarantees.
        signed_at: Unix seconds.
        signature: Base64url; Ed25519 over time and bundle, in Flower's form.
    """

    bundle: Annotated[str, _DIGEST]
    settings: Annotated[str, _DIGEST]
    signed_at: Annotated[int, Between(0, 2**40)]
    signature: str

    def records(self) -> dict[str, str]:
        """What Flower wants to see beside a bundle, to check the signature."""
        signed = {"signed_at": self.signed_at, "signature": self.signature}
        return {"valid_license": "approved by the hospital", KEY_NAME: json.dumps(signed)}


class Approvals:
    """Reads and writes the folder of a hospital's approvals; every file is whole or not there.

    Attributes:
        trusted: What Flower's `--trusted-entities` names: the hospital's own key, and no other.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = path / "key"
        self._log = path / "approvals.jsonl"
        self.trusted = path / "trusted.json"

    def approve(self, bundle: str, settings: str) -> Approval:
        """Let the hospital's SuperNode run this code under these settings from now on, and nothing else any more.

        Args:
            bundle: Hexadecimal SHA-256 of the code.
            settings: Hexadecimal digest of the settings.

        Raises:
            EvidenceError: the key is damaged.
            ResourceError: the disk is full or the folder cannot be written.
        """
        key, now = self._own_key(), int(time.time())
        signature = key.sign(create_message_to_sign(bytes.fromhex(bundle), now))
        approval = Approval(bundle, settings, now, base64.urlsafe_b64encode(signature).decode())
        append_line(self._log, json.dumps(to_json(approval)))
        return approval

    def current(self) -> Approval | None:
        """The approval in force; None before the first one.

        Raises:
            EvidenceError: the file is damaged.
        """
        lines = read_lines(self._log)
        if not lines:
            return None
        return checked_json(Approval, lines[-1].encode(), f"The last approval in {self._log}", EvidenceError, _RESTORE)

    def keep(self, content: bytes) -> None:
        """Keep a bundle, so that an update of it can be shown as a difference."""
        path = self._bundle(sha256(content).hex())
        if not path.exists():
            make_folder(path.parent)
            write_atomic(path, content, PRIVATE)

    def kept(self, bundle: str) -> Path | None:
        """Where a bundle is kept; None where the hospital has approved it but not seen it yet."""
        path = self._bundle(bundle)
        return path if path.exists() else None

    def _bundle(self, digest: str) -> Path:
        return self._path / "bundles" / f"{digest}.fab"

    def _own_key(self) -> Ed25519PrivateKey:
        """The hospital's key for approvals, made when it is first needed."""
        if not self._key.exists():
            make_folder(self._path)
            new = Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(_SEED_BYTES))
            public = new.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            # JSON is YAML, which Flower reads; the public half comes first: a key without it would be of no use.
            write_atomic(self.trusted, json.dumps({KEY_NAME: public.decode()}).encode())
            private = new.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
            write_atomic(self._key, private, PRIVATE)
        content = read_file(self._key, _MOST_KEY_BYTES, "The hospital's key for approvals", _RESTORE)
        try:
            key = serialization.load_ssh_private_key(content, None)
        except ValueError as error:
            raise EvidenceError(f"The hospital's key for approvals in {self._key} is damaged.", _RESTORE) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise EvidenceError(f"The hospital's key for approvals in {self._key} is of another kind.", _RESTORE)
        return key
