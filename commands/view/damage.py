"""Files of a run that are damaged, or that somebody else made: what pages need is checked, or told in a sentence.

A run's folder may come from anybody. Lines of metrics and settings are checked against their formats; the summary has
too many to name, so whatever a page trips over in it becomes one sentence that names the file.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from fedward.checked_json import Part, UnfitJsonError, checked
from fedward.errors import VerificationError
from fedward.folders.server import RunRecord

_RESTORE = "Restore it from a backup."
_SHOWN = 60  # characters of a key
_TRIPPED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, UndefinedError)


@contextmanager
def told_by(what: str, path: Path) -> Iterator[None]:
    """Where values of a file are put into a page: whatever is missing or of another kind is a sentence.

    Raises:
        VerificationError: something is.
    """
    try:
        yield
    except _TRIPPED as error:
        key = error.args[0] if isinstance(error, KeyError) and error.args else None
        why = (
            f"it lacks {str(key)[:_SHOWN]!r}" if key is not None else "a value in it is of another kind than it must be"
        )
        raise VerificationError(f"{what} in {path} is malformed: {why}.", _RESTORE) from error


@dataclass(frozen=True)
class _Rejection(Part):
    """Why an update was not added."""

    hospital: str
    reason: str


@dataclass(frozen=True)
class _Line(Part):
    """What pages tell of a finished round."""

    round: int
    phase: str
    submitted: int
    rejections: tuple[_Rejection, ...]
    failures: tuple[str, ...]
    accepts: int
    rejects: int
    train_loss: float | None
    val_loss: float | None
    val_auc: float | None
    timing_s: Mapping[str, float]


def check_rounds(rounds: list[Any], path: Path) -> None:
    """Check the lines of `metrics.jsonl`.

    Raises:
        VerificationError: one is malformed.
    """
    for number, line in enumerate(rounds, 1):
        try:
            checked(_Line, line)
        except UnfitJsonError as unfit:
            raise VerificationError(f"Line {number} of {path} is malformed: {unfit}.", _RESTORE) from unfit


def check_record(record: RunRecord, path: Path) -> None:
    """Check what every page needs of `run.json` beside its format.

    Raises:
        VerificationError: it is missing, or of another kind.
    """
    wanted = (("training", "rounds", int), ("model", "name", str), ("privacy", "mode", str),
              ("privacy", "target-epsilon", int | float))  # fmt: skip
    for table, key, kind in wanted:
        value = record.settings.get(table, {}).get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise VerificationError(f"The run's record in {path} is malformed: it lacks {table}.{key}.", _RESTORE)
    if not re.fullmatch("0x[0-9a-fA-F]{40}", record.contract, re.ASCII):
        raise VerificationError(f"The run's record in {path} is malformed: its contract is no address.", _RESTORE)
    if not record.findings:
        raise VerificationError(f"The run's record in {path} is malformed: it lacks findings.", _RESTORE)
