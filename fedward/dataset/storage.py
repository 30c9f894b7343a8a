"""A partition as a file: `.npz` without pickles, whole or not there, with a digest that tells damage; also sealed."""

import hashlib
import json
import struct
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fedward.checked_json import Part, checked, to_json
from fedward.dataset.at_rest import ImageKey, read_sealed, write_sealed
from fedward.dataset.records import SPLITS
from fedward.errors import DataError
from fedward.files import opened_regular, parse_json, write_atomic
from fedward.types import HospitalId, ImageSet, Partition

FORMAT_VERSION = 1
# What zipfile, NumPy and json raise for damaged files, found by fuzzing; RuntimeError: "encrypted".
_DAMAGE = (
    OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, OverflowError, MemoryError, RuntimeError,
    NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class _Header(Part):
    """What the file says of itself beside the arrays."""

    format_version: int
    hospital: HospitalId
    findings: tuple[str, ...]
    digest: bytes


def save_partition(path: Path, partition: Partition, key: ImageKey | None = None) -> None:
    """Write a partition; the same partition gives the same bytes, unless it is sealed.

    Args:
        path: Where to.
        partition: The images.
        key: Seals the file; None: it is written in the clear.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    header = to_json(
        _Header(FORMAT_VERSION, partition.hospital, tuple(partition.findings), partition_digest(partition))
    )
    arrays: dict[str, NDArray[np.generic]] = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)}
    for name, part in _parts(partition):
        arrays |= {f"{name}_images": part.images, f"{name}_labels": part.labels, f"{name}_patients": part.patients}
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    if key is None:
        write_atomic(path, buffer.getvalue(), mode=0o600)
    else:
        write_sealed(path, buffer.getbuffer(), key)


def load_partition(path: Path, key: ImageKey | None = None) -> Partition:
    """Read a partition back.

    Args:
        path: Where it lies.
        key: Opens the file; None: it lies there in the clear.

    Raises:
        DataError: the file is missing, damaged, or not a partition; or the key does not open it.
    """
    try:
        with _opened(path, key) as file:
            with zipfile.ZipFile(file) as archive:
                if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                    raise _damaged(path)
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                header = checked(_Header, parse_json(arrays["header"].tobytes()))
                if header.format_version != FORMAT_VERSION:
                    raise DataError(f"{path} is of another version of Fedward.", "Preprocess the images again.")
                parts = [
                    _checked(path, *(arrays[f"{s}_{a}"] for a in ("images", "labels", "patients"))) for s in SPLITS
                ]
                partition = Partition(header.hospital, header.findings, *parts)
                intact = partition_digest(partition) == header.digest
    except FileNotFoundError as error:
        raise DataError(f"There is no partition {path}.", "Preprocess the images first.") from error
    except _DAMAGE as error:
        raise _damaged(path) from error
    if not intact:
        raise _damaged(path)
    return partition


def _opened(path: Path, key: ImageKey | None) -> IO[bytes]:
    """The file in the clear; what was sealed is in memory only."""
    return opened_regular(path, through_link=True) if key is None else BytesIO(read_sealed(path, key))


def partition_digest(partition: Partition) -> bytes:
    """32 bytes over everything in a partition, independent of how it is stored."""
    hasher = hashlib.sha256(b"fedward partition 1\0")
    _absorb(hasher, json.dumps([partition.hospital, list(partition.findings)]).encode())
    for name, part in _parts(partition):
        patients = json.dumps(part.patients.tolist()).encode()
        images, labels = part.images.astype("u1", copy=False), part.labels.astype("<f4", copy=False)
        shapes = json.dumps([name, images.shape, labels.shape]).encode()
        for content in (shapes, images.tobytes(), labels.tobytes(), patients):
            _absorb(hasher, content)
    return hasher.digest()


def _absorb(hasher: "hashlib._Hash", content: bytes) -> None:
    """Hash a piece behind its length, so that no two sequences of pieces look alike."""
    hasher.update(struct.pack("<Q", len(content)))
    hasher.update(content)


def _parts(partition: Partition) -> list[tuple[str, ImageSet]]:
    return [("train", partition.train), ("val", partition.val), ("test", partition.test)]


def _checked(
    path: Path, images: NDArray[np.generic], labels: NDArray[np.generic], patients: NDArray[np.generic]
) -> ImageSet:
    """Three arrays as an image set, if that is what they are."""
    types_fit = images.dtype == np.uint8 and labels.dtype == np.float32 and patients.dtype.kind == "U"
    shapes_fit = images.ndim == 3 and labels.ndim == 2 and patients.shape == images.shape[:1] == labels.shape[:1]
    if not (types_fit and shapes_fit):
        raise _damaged(path)
    return ImageSet(images, labels, patients)  # type: ignore[arg-type]


def _damaged(path: Path) -> DataError:
    return DataError(f"{path} is damaged or not a partition.", "Delete it and preprocess the images again.")
