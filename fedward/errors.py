"""Error classes: each says what happened and what to do, and has an exit code of its own for the process.

Parsers of bytes from outside raise only these; anything else that reaches the command line is a bug (exit code 1).
`docs/errors.md` has a section for each code.
"""

from typing import ClassVar


class FedwardError(Exception):
    """Base class of the errors that Fedward raises on purpose.

    Args:
        what: One sentence: what happened, and where.
        remedy: One sentence: what the reader can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


class UsageError(FedwardError):
    """A setting, option or value is unknown, of the wrong type or out of range; or the output folder is in use."""

    exit_code = 2


class DataError(FedwardError):
    """Images are missing, unreadable, of one class only, or of too few patients."""

    exit_code = 3


class BudgetError(FedwardError):
    """A hospital would exceed its privacy budget, or does not know what it has spent."""

    exit_code = 4


class EncryptionError(FedwardError):
    """A key, share or ciphertext is malformed, of other parameters, or does not decode exactly."""

    exit_code = 5


class LedgerError(FedwardError):
    """The ledger cannot be reached, or the contract refused a transaction.

    Args:
        what: One sentence: what happened, and where.
        remedy: One sentence: what the reader can do about it.
        reason: Name of the contract's custom error, where it refused; empty where the ledger was not reached.
    """

    exit_code = 6

    def __init__(self, what: str, remedy: str, reason: str = "") -> None:
        super().__init__(what, remedy)
        self.reason = reason


class VerificationError(FedwardError):
    """Evidence contradicts the ledger: a hash, signature or re-computed value differs."""

    exit_code = 7


class EvidenceError(FedwardError):
    """Nothing contradicts the ledger, but evidence that a full verification needs is missing."""

    exit_code = 8


class QuorumError(FedwardError):
    """Fewer hospitals than required can take part."""

    exit_code = 9


class ResourceError(FedwardError):
    """The machine lacks something: the disk is full, a port is taken."""

    exit_code = 10


def error_of(exit_code: int, what: str, remedy: str) -> FedwardError:
    """The error that has an exit code, as another process raised it; the base class where none has."""
    by_code = {
        kind.exit_code: kind
        for kind in (
            UsageError,
            DataError,
            BudgetError,
            EncryptionError,
            LedgerError,
            VerificationError,
            EvidenceError,
            QuorumError,
            ResourceError,
        )
    }
    return by_code.get(exit_code, FedwardError)(what, remedy)
