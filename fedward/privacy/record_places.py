"""Where a machine that simulates hospitals keeps records of studies: one for each source of images, outside of runs."""

import os
from pathlib import Path

from fedward.errors import UsageError
from fedward.files import resolved, sha256
from fedward.privacy.study_record import StudyRecord


def records_folder() -> Path:
    """`$XDG_STATE_HOME/fedward/privacy`, by default `~/.local/state/fedward/privacy`.

    Raises:
        UsageError: this user has no home, and the variable is not set.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    if base:
        return Path(base).absolute() / "fedward" / "privacy"
    try:
        return Path.home() / ".local" / "state" / "fedward" / "privacy"
    except RuntimeError as error:
        raise UsageError(
            "This user has no home folder, in which the record of studies on patients' images would lie.",
            "Set XDG_STATE_HOME to a folder that stays.",
        ) from error


def record_of_source(source: Path) -> StudyRecord:
    """The record of a folder or file of images, by its path without links; it need not be there yet.

    Raises:
        UsageError: as `records_folder`; or a link on the way to the source leads to itself.
    """
    return StudyRecord(records_folder() / f"data-{sha256(os.fsencode(resolved(source)))[:16].hex()}")


def all_records() -> list[StudyRecord]:
    """The records that there are.

    Raises:
        UsageError: as `records_folder`.
    """
    found = (StudyRecord(path) for path in sorted(records_folder().glob("data-*")))
    return [record for record in found if record.exists()]
