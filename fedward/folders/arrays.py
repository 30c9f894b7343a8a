"""Named arrays as files of a hospital's folder: npz without compression or pickles, and what to say of damaged ones."""

import io
import zipfile
from pathlib import Path

import numpy as np

from fedward.errors import EvidenceError, VerificationError
from fedward.files import read_file

PRIVATE = 0o600
RESTORE = "Restore it from a backup, or join anew."
_MOST_BYTES = 2 * 1024**3  # of a file: weights and moments of a model


def arrays_as_bytes(**arrays: np.ndarray | np.generic) -> bytes:
    """Arrays as the bytes of an uncompressed npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_arrays(path: Path, names: tuple[str, ...] | None = None, remedy: str = RESTORE) -> dict[str, np.ndarray]:
    """Read named arrays, or say that the file is damaged.

    Args:
        path: The file.
        names: Which must be there, and are read; None: whatever there is.
        remedy: What to do where it is damaged.

    Raises:
        EvidenceError: the file is missing or damaged.
    """
    content = read_content(path)  # read first: np.load leaves a file that it cannot read open
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if names is None else names)}
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        # RuntimeError: a damaged header may claim encryption or an unknown compression.
        raise damaged(path, error, remedy) from error


def read_content(path: Path) -> bytes:
    """A file of the folder, which has to be a regular one.

    Raises:
        EvidenceError: it is missing, cannot be read, or is larger than any of them.
    """
    try:
        return read_file(path, _MOST_BYTES, "A file of the hospital", RESTORE)
    except VerificationError as error:
        raise EvidenceError(error.what, error.remedy) from error


def damaged(path: Path, error: Exception, remedy: str = RESTORE) -> EvidenceError:
    """The error for a file that cannot be understood."""
    return EvidenceError(f"{path} is missing or damaged ({error}).", remedy)
