"""All images of a listing, decoded in parallel; what cannot be read is named, never guessed at."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedward.dataset import cache
from fedward.dataset.apart import Helpers, PixelBudget
from fedward.dataset.cache import DecodedFiles
from fedward.dataset.decoding import Decoded, finish, quiet_decoders, read_bytes
from fedward.dataset.dicom import decode_dicom, is_dicom
from fedward.dataset.kinds import claims_to_be_image, unread_format
from fedward.dataset.problems import NotAnImageError, UnreadableImageError
from fedward.dataset.rasters import decode_raster, needs_codecs
from fedward.dataset.records import Entry, ImageTable, LeftOut, Listing
from fedward.errors import DataError
from fedward.progress import Progress

_NOT_AN_IMAGE = "it is no image, nor named like one"


def decode(content: bytes, image_size: int, reserve: Callable[[int], None] = lambda _pixels: None) -> Decoded:
    """One file's bytes to a grey square, by what the content is.

    Args:
        content: The whole file.
        image_size: Side of the square, in pixels.
        reserve: Called with the number of pixels before any is decoded.

    Raises:
        UnreadableImageError: it gives no image.
    """
    dicom = is_dicom(content)
    found = decode_dicom(content, reserve) if dicom else decode_raster(content, reserve)
    image, digest = finish(found.grey, image_size)
    return Decoded(image, digest, found.patient, dicom, found.dropped, found.burned_in, found.notes)


def read_files(
    listing: Listing, image_size: int, progress: Progress, workers: int, cache_folder: Path | None
) -> ImageTable:
    """Decode every listed file, or take the decoded form from the cache.

    Args:
        listing: What to read.
        image_size: Side of the squares, in pixels.
        progress: Told after each file.
        workers: Threads (Pillow decodes outside the interpreter's lock); 0: one a core.
        cache_folder: Where decoded images are kept between runs; None: nowhere.

    Guarantees:
        1. The result does not depend on the number of workers, nor on whether it came from the cache.
    """
    path = cache.cache_file(cache_folder, listing.entries, image_size) if cache_folder else None
    cached = cache.load(path, len(listing.entries), image_size) if path else None
    if cached is not None:
        patients = _patients_again(listing, cached)
        progress(len(listing.entries), len(listing.entries))
        return _table(listing, cached, patients)
    decoded, patients = _decode_all(listing, image_size, progress, workers)
    if path:
        cache.save(path, decoded)
    return _table(listing, decoded, patients)


def read_array(listing: Listing, pixels: NDArray[Any], image_size: int, progress: Progress) -> ImageTable:
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


def _array_grey(pixels: NDArray[Any]) -> NDArray[Any]:
    """One image of an array source, in [0, 255], as grey values."""
    if pixels.ndim == 3:
        return np.asarray(Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).convert("L"))
    return pixels


def _decode_all(
    listing: Listing, image_size: int, progress: Progress, workers: int
) -> tuple[DecodedFiles, dict[int, str]]:
    """Decode in threads and helpers; rows come back in the listing's order whatever was first."""
    count = len(listing.entries)
    images = np.zeros((count, image_size, image_size), dtype=np.uint8)
    digests = np.zeros((count, 32), dtype=np.uint8)
    dicom, no_pictures = (np.zeros(count, dtype=np.bool_) for _ in range(2))
    reasons, notes = [""] * count, [dict[str, int]() for _ in range(count)]
    patients, dropped, burned_in = dict[int, str](), Counter[str](), 0
    budget = PixelBudget()
    with quiet_decoders(), Helpers() as helpers:
        pool = ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1)
        try:
            outcomes = pool.map(lambda entry: _attempt(entry, image_size, helpers, budget), listing.entries)
            for row, outcome in enumerate(outcomes):
                if isinstance(outcome, UnreadableImageError):
                    reasons[row], no_pictures[row] = str(outcome), isinstance(outcome, NotAnImageError)
                else:
                    images[row], dicom[row] = outcome.image, outcome.is_dicom
                    digests[row] = np.frombuffer(outcome.digest, dtype=np.uint8)
                    notes[row] = dict(outcome.notes)
                    dropped.update(outcome.dropped)
                    burned_in += outcome.burned_in
                    if outcome.is_dicom:
                        patients[row] = outcome.patient
                progress(row + 1, count)
        finally:
            pool.shutdown(cancel_futures=True)
    decoded = DecodedFiles(images, digests, dicom, tuple(reasons), no_pictures, tuple(notes), dropped, burned_in)
    return decoded, patients


def _attempt(entry: Entry, image_size: int, helpers: Helpers, budget: PixelBudget) -> Decoded | UnreadableImageError:
    """One listed file, or why it gives no image."""
    path = entry.path or Path()
    try:
        content = read_bytes(path)
        with budget.account() as reserve:
            return decode_apart(content, image_size, helpers, reserve)
    except NotAnImageError as error:
        return error
    except UnreadableImageError as error:
        if suffix := unread_format(path):
            return UnreadableImageError(f"its format is not read here ({suffix})")
        # Notes and tables beside the images are no damage; a file that claims to be an image is.
        return error if claims_to_be_image(path) else NotAnImageError(_NOT_AN_IMAGE)


def decode_apart(content: bytes, image_size: int, helpers: Helpers, reserve: Callable[[int], None]) -> Decoded:
    """As `decode`, but what may crash is decoded in a helper process.

    Raises:
        UnreadableImageError: it gives no image, or its decoder crashed or took too much.
    """
    if is_dicom(content) or needs_codecs(content):
        return helpers.decode(content, image_size, reserve)
    return decode(content, image_size, reserve)


def _patients_again(listing: Listing, cached: DecodedFiles) -> dict[int, str]:
    """Read the DICOM patient ids anew: the cache must not hold them."""
    patients = {}
    with Helpers() as helpers:
        for row in np.flatnonzero(cached.is_dicom):
            try:
                patients[int(row)] = helpers.patient_id(read_bytes(listing.entries[row].path or Path()))
            except UnreadableImageError:
                patients[int(row)] = ""  # it was readable a moment ago: its own patient, as without an id
    return patients


def _table(listing: Listing, decoded: DecodedFiles, patients: dict[int, str]) -> ImageTable:
    """Keep the readable rows, and name the others."""

    def named(row: int, reason: str) -> LeftOut:
        return LeftOut(listing.entries[row].name, reason)

    kept = np.array([row for row, reason in enumerate(decoded.reasons) if not reason], dtype=np.intp)
    bad = [row for row, reason in enumerate(decoded.reasons) if reason]
    entries = tuple(
        replace(listing.entries[row], header_patient=patients[row]) if patients.get(row) else listing.entries[row]
        for row in kept.tolist()
    )
    return ImageTable(
        entries=entries,
        images=decoded.images[kept],
        digests=decoded.digests[kept],
        unreadable=tuple(named(row, decoded.reasons[row]) for row in bad if not decoded.no_pictures[row]),
        not_images=tuple(named(row, decoded.reasons[row]) for row in bad if decoded.no_pictures[row]),
        partly=tuple(
            named(row, f"{kind} ({count})" if count > 1 else kind)
            for row, notes in enumerate(decoded.notes)
            for kind, count in sorted(notes.items())
        ),
        dropped=decoded.dropped,
        burned_in=decoded.burned_in,
    )
