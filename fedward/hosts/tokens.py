"""Tokens, by which hospitals and the witness use the gateway: drawn where they are used; the server has hashes."""

import secrets
from pathlib import Path

from fedward.errors import UsageError
from fedward.files import read_file

_BYTES = 32
_MOST_BYTES = 64 * 1024
_RESTORE = "Restore it from a backup, or enroll anew."


def draw_token() -> str:
    """A new token: 64 hexadecimal digits."""
    return secrets.token_hex(_BYTES)


def read_token(path: Path) -> str:
    """The token in a file. That nobody else may read the file is checked where the ledger is asked (`NodeAddress`).

    Raises:
        EvidenceError, VerificationError: as `fedward.files.read_file`.
        UsageError: it is damaged.
    """
    token = read_file(path, _MOST_BYTES, "The token", _RESTORE).decode(errors="replace").strip()
    if len(token) != 2 * _BYTES:
        raise UsageError(f"The token in {path} is damaged.", _RESTORE)
    return token
