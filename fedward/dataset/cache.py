"""Decoded images kept between runs, without anything that names a person or a file.

A cache file holds squares of pixels, digests and counts, in the listing's order; its name is a hash of the listing
(names, sizes, modification times), the image size and the decoders' versions. DICOM patient ids are not kept:
they are read from the headers again, which is quick. Files are 0600 in a 0700 folder. A cache that is damaged,
of another version or not writable is passed over, never an error. It still holds patients' images: it belongs
where the images belong, and may be deleted at any time. Where images are kept sealed (docs/adr/0038), the cache is
neither read nor written: it is made before there is a hospital, so no hospital's key could seal it.
"""

import contextlib
import hashlib
import json
import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
import pydicom
from numpy.typing import NDArray

from fedward.dataset.records import Entry
from fedward.errors import ResourceError
from fedward.files import make_folder, parse_json, sha256, write_atomic

FORMAT_VERSION = 3  # since grey values follow more of what PNG, TIFF and JPEG say
KEPT_FILES = 8  # the newest; older ones are deleted


@dataclass(frozen=True)
class DecodedFiles:
    """What decoding gave, one row a listed file.

    Attributes:
        images: uint8, shape (n, size, size); zeros where a file is unreadable.
        digests: uint8, shape (n, 32).
        is_dicom: bool, shape (n,).
        reasons: Why a file gives no image, "" for those that do.
        no_pictures: bool, shape (n,); which of the reasons are no damage.
        notes: Counts by kind, a file, of what was not used of it.
        dropped: Counts of what is not passed on, by kind.
        burned_in: Number of DICOM files that declare text in their pixels.
    """

    images: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    is_dicom: NDArray[np.bool_]
    reasons: tuple[str, ...]
    no_pictures: NDArray[np.bool_]
    notes: tuple[dict[str, int], ...]
    dropped: Counter[str]
    burned_in: int


def default_folder() -> Path | None:
    """`$XDG_CACHE_HOME/fedward`, by default `~/.cache/fedward`; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base:
        return Path(base) / "fedward"
    try:
        return Path.home() / ".cache" / "fedward"
    except RuntimeError:
        return None


def cache_file(folder: Path, entries: Sequence[Entry], image_size: int) -> Path | None:
    """Where the decoded form of exactly these files belongs; None if one of them has gone."""
    versions = [FORMAT_VERSION, image_size, PIL.__version__, pydicom.__version__, np.__version__]
    hasher = hashlib.sha256(json.dumps(versions).encode())
    try:
        for entry in entries:
            if entry.path is None:
                return None
            stat = entry.path.stat()
            hasher.update(json.dumps([entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ino]).encode())
    except OSError:
        return None
    return folder / f"images-{hasher.hexdigest()}.cache"


def load(path: Path, count: int, image_size: int) -> DecodedFiles | None:
    """The cached rows, or None where there are none that can be trusted."""
    try:
        content = path.read_bytes()
        if len(content) < 32 or sha256(content[32:]) != content[:32]:
            return None
        with np.load(BytesIO(content[32:]), allow_pickle=False) as arrays:
            rest = parse_json(arrays["rest"].tobytes())
            decoded = DecodedFiles(
                images=arrays["images"],
                digests=arrays["digests"],
                is_dicom=arrays["is_dicom"],
                reasons=tuple(rest["reasons"]),
                no_pictures=arrays["no_pictures"],
                notes=tuple(dict(note) for note in rest["notes"]),
                dropped=Counter(rest["dropped"]),
                burned_in=int(rest["burned_in"]),
            )
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    expected = ((count, image_size, image_size), (count, 32), (count,), (count,), count, count)
    arrays_found = (decoded.images, decoded.digests, decoded.is_dicom, decoded.no_pictures)
    found = (*(array.shape for array in arrays_found), len(decoded.reasons), len(decoded.notes))
    return decoded if found == expected else None


def save(path: Path, decoded: DecodedFiles) -> None:
    """Keep rows for the next run; where that fails, the next run decodes again."""
    rest = {
        "reasons": decoded.reasons, "notes": decoded.notes, "dropped": dict(decoded.dropped),
        "burned_in": decoded.burned_in,
    }  # fmt: skip
    buffer = BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        images=decoded.images,
        digests=decoded.digests,
        is_dicom=decoded.is_dicom,
        no_pictures=decoded.no_pictures,
        rest=np.frombuffer(json.dumps(rest).encode(), dtype=np.uint8),
    )
    content = buffer.getvalue()
    with contextlib.suppress(OSError, ResourceError):
        make_folder(path.parent)
        write_atomic(path, sha256(content) + content, mode=0o600)
        _prune(path.parent)


def left_behind() -> Path | None:
    """The folder, where decoded images of earlier runs lie in it in the clear; None where there are none."""
    folder = default_folder()
    return folder if folder and any(folder.glob("images-*.cache")) else None


def _prune(folder: Path) -> None:
    """Delete all but the newest cache files."""
    by_age = sorted(folder.glob("images-*.cache"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in by_age[KEPT_FILES:]:
        path.unlink(missing_ok=True)
