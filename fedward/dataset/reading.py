"""All images of a listing, decoded in parallel; what cannot be read is named, never guessed at."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedward.dataset import cache
from fedward.dataset.cache import DecodedFiles
from fedward.dataset.decoding import (
    Decoded,
    UnreadableImageError,
    decode_raster,
    finish,
    quiet_decoders,
    read_bytes,
    stretch,
)
from fedward.dataset.dicom import decode_dicom, is_dicom, patient_id
from fedward.dataset.records import ImageTable, Listing, Unreadable
from fedward.errors import DataError
from fedward.progress import Progress

_IMAGE_SUFFIXES = frozenset({
    ".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp", ".jp2", ".j2k", ".jpx",
    ".pgm", ".ppm", ".pnm", ".pbm", ".dcm", ".dicom", ".dic", ".ima",
})  # fmt: skip
_NOT_AN_IMAGE = "it is no image, nor named like one"


def decode(content: bytes, image_size: int) -> Decoded:
    """One file's bytes to a grey square, by what the content is.

    Raises:
        UnreadableImageError: it gives no image.
    """
    if is_dicom(content):
        grey, patient, dropped, burned_in = decode_dicom(content)
        image, digest = finish(grey, image_size)
        return Decoded(image, digest, patient, True, dropped, burned_in)
    raster, dropped = decode_raster(content)
    image, digest = finish(raster, image_size)
    return Decoded(image, digest, "", False, dropped, False)


def read_files(listing: Listing, image_size: int, progress: Progress, workers: int, cache_folder: Path) -> ImageTable:
    """Decode every listed file, or take the decoded form from the cache.

    Args:
        listing: What to read.
        image_size: Side of the squares, in pixels.
        progress: Told after each file.
        workers: Threads (Pillow decodes outside the interpreter's lock); 0: one a core.
        cache_folder: Where decoded images are kept between runs.

    Guarantees:
        1. The result does not depend on the number of workers, nor on whether it came from the cache.
    """
    path = cache.cache_file(cache_folder, listing.entries, image_size)
    cached = cache.load(path, len(listing.entries), image_size) if path else None
    if cached is not None:
        patients = _patients_again(listing, cached)
        progress(len(listing.entries), len(listing.entries))
        return _table(listing, cached, patients)
    decoded, patients = _decode_all(listing, image_size, progress, workers)
    if path:
        cache.save(path, decoded)
    return _table(listing, decoded, patients)


def read_array(listing: Listing, pixels: NDArray[np.generic], image_size: int, progress: Progress) -> ImageTable:
    """Bring a source that is one array of pixels to the common form.

    Raises:
        DataError: an image of it is too small or holds values that are not numbers.
    """
    count = len(pixels)
    images = np.zeros((count, image_size, image_size), dtype=np.uint8)
    digests = np.zeros((count, 32), dtype=np.uint8)
    for row in range(count):
        try:
            grey = _array_grey(pixels[row])
            images[row], digest = finish(grey, image_size)
        except UnreadableImageError as error:
            raise DataError(
                f"The image {listing.entries[row].name} cannot be used: {error}.", "Correct or replace the file."
            ) from error
        digests[row] = np.frombuffer(digest, dtype=np.uint8)
        progress(row + 1, count)
    return ImageTable(listing.entries, images, digests, (), (), Counter(), 0)


def _array_grey(pixels: NDArray[np.generic]) -> NDArray[np.uint8] | NDArray[np.float32]:
    """One image of an array source as grey values."""
    values = pixels if pixels.dtype == np.uint8 else stretch(pixels)
    if values.ndim == 3:
        return np.asarray(Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("L"))
    return values  # type: ignore[return-value]


def _decode_all(
    listing: Listing, image_size: int, progress: Progress, workers: int
) -> tuple[DecodedFiles, dict[int, str]]:
    """Decode in threads; rows come back in the listing's order whatever thread was first."""
    count = len(listing.entries)
    images = np.zeros((count, image_size, image_size), dtype=np.uint8)
    digests = np.zeros((count, 32), dtype=np.uint8)
    dicom = np.zeros(count, dtype=np.bool_)
    reasons, patients, dropped, burned_in = [""] * count, dict[int, str](), Counter[str](), 0

    def attempt(row: int) -> Decoded | str:
        path = listing.entries[row].path or Path()
        try:
            return decode(read_bytes(path), image_size)
        except UnreadableImageError as error:
            # Notes and tables beside the images are no damage; a file that claims to be an image is.
            return str(error) if not path.suffix or path.suffix.lower() in _IMAGE_SUFFIXES else _NOT_AN_IMAGE

    pool = ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1)
    try:
        with quiet_decoders():
            for row, outcome in enumerate(pool.map(attempt, range(count))):
                if isinstance(outcome, str):
                    reasons[row] = outcome
                else:
                    images[row], dicom[row] = outcome.image, outcome.is_dicom
                    digests[row] = np.frombuffer(outcome.digest, dtype=np.uint8)
                    dropped.update(outcome.dropped)
                    burned_in += outcome.burned_in
                    if outcome.is_dicom:
                        patients[row] = outcome.patient
                progress(row + 1, count)
    finally:
        pool.shutdown(cancel_futures=True)
    return DecodedFiles(images, digests, dicom, tuple(reasons), dropped, burned_in), patients


def _patients_again(listing: Listing, cached: DecodedFiles) -> dict[int, str]:
    """Read the DICOM patient ids anew: the cache must not hold them."""
    patients = {}
    with quiet_decoders():
        for row in np.flatnonzero(cached.is_dicom):
            try:
                patients[int(row)] = patient_id(read_bytes(listing.entries[row].path or Path()))
            except UnreadableImageError:
                patients[int(row)] = ""  # it was readable a moment ago: its own patient, as without an id
    return patients


def _table(listing: Listing, decoded: DecodedFiles, patients: dict[int, str]) -> ImageTable:
    """Keep the readable rows, and name the others."""
    kept = np.array([row for row, reason in enumerate(decoded.reasons) if not reason], dtype=np.intp)
    bad = [(listing.entries[row].name, reason) for row, reason in enumerate(decoded.reasons) if reason]
    entries = tuple(
        replace(listing.entries[row], patient=patients[row]) if patients.get(row) else listing.entries[row]
        for row in kept.tolist()
    )
    return ImageTable(
        entries=entries,
        images=decoded.images[kept],
        digests=decoded.digests[kept],
        unreadable=tuple(Unreadable(name, reason) for name, reason in bad if reason != _NOT_AN_IMAGE),
        not_images=tuple(name for name, reason in bad if reason == _NOT_AN_IMAGE),
        dropped=decoded.dropped,
        burned_in=decoded.burned_in,
    )
