"""Looks for images at rest: rows of their pixels in files, in whatever form a program would come to write them."""

import base64
import itertools
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

LEAST_VALUES = 12  # different ones in a row: no other content has such a row by accident
_DEFLATED = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def telling_rows(images: NDArray[np.uint8], most: int = 3) -> list[NDArray[np.uint8]]:
    """Rows of pixels that are like no other content: of each image those with the most different values.

    Args:
        images: uint8, shape (n, height, width).
        most: How many of an image.
    """
    found = []
    for image in images:
        by_values = sorted(image, key=lambda row: len(np.unique(row)), reverse=True)[:most]
        found += [row for row in by_values if len(np.unique(row)) >= LEAST_VALUES]
    return found


def files_with(rows: Iterable[NDArray[np.uint8]], *folders: Path) -> list[Path]:
    """Files below the folders in which a row of pixels lies: as bytes, as numbers, as text, or in what is packed."""
    needles = {form for row in rows for form in forms(row)}
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if any(_has(content, needles) for content in contents(path.read_bytes()))]


def forms(row: NDArray[np.uint8]) -> Iterator[bytes]:
    """A row as a program may write it."""
    yield row.tobytes()
    yield row.tobytes().hex().encode()
    for start in range(3):  # base64 takes three bytes at a time
        yield base64.b64encode(row[start : start + (len(row) - start) // 3 * 3].tobytes())
    numbers = (row.astype(np.float32), row.astype(np.float32) / np.float32(255), row.astype(float), row / 255.0)
    yield from (each.tobytes() for each in numbers)


def contents(content: bytes, depth: int = 3) -> Iterator[bytes]:
    """A file's bytes, and what is packed in them: members of archives, streams, and pictures as pixels."""
    yield content
    if not depth:
        return
    for inner in itertools.chain(_members(content), _streams(content)):
        yield from contents(inner, depth - 1)
    try:
        with Image.open(BytesIO(content)) as picture:
            yield np.asarray(picture.convert("L")).tobytes()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return


def _members(content: bytes) -> Iterator[bytes]:
    if b"PK\x03\x04" in content:  # also where something stands before or after it
        try:
            with zipfile.ZipFile(BytesIO(content)) as archive:
                yield from (archive.read(name) for name in archive.namelist())
        except zipfile.BadZipFile:
            return


def _streams(content: bytes) -> Iterator[bytes]:
    """What zlib unpacks, from wherever one of its headers stands."""
    for header in _DEFLATED:
        at = content.find(header)
        while at >= 0:
            unpacked = _unpacked(content[at:])
            if len(unpacked) >= 64:
                yield unpacked
            at = content.find(header, at + 1)


def _unpacked(stream: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    found = b""
    try:
        for start in range(0, len(stream), 4096):
            found += unpacker.decompress(stream[start : start + 4096])
            if unpacker.eof:
                break
    except zlib.error:
        pass
    return found


def _has(content: bytes, needles: set[bytes]) -> bool:
    return any(needle in content for needle in needles)
