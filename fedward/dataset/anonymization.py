"""What leaves the stage in place of names, and the account of what does not leave it."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.patients import same_id
from fedward.dataset.records import ImageTable, LeftOut, Listing
from fedward.errors import UsageError

PSEUDONYM_CHARACTERS = 16  # 64 bits: two of a million patients collide with probability 3e-8
MIN_KEY_BYTES = 16


def pseudonymize(table: ImageTable, key: bytes) -> NDArray[np.str_]:
    """Keyed pseudonyms: HMAC-SHA256 of the patient id under the hospital's key, cut to 64 bits.

    An image without a patient id is its own patient, named by its pixels' digest. Who has the key can find out
    whether a known id is among the pseudonyms; without it they say nothing but which images belong together.

    Args:
        table: The images.
        key: At least 16 secret bytes.

    Returns:
        str, shape (n,), 16 hexadecimal characters each.

    Raises:
        UsageError: the key is too short to keep anything secret.
    """
    if len(key) < MIN_KEY_BYTES:
        raise UsageError(
            f"The pseudonym key has {len(key)} bytes, too few.", f"Use at least {MIN_KEY_BYTES} random bytes."
        )
    names = [
        b"patient\0" + entry.patient.encode("utf-8", "surrogateescape")
        if entry.patient
        else b"image\0" + table.digests[row].tobytes()
        for row, entry in enumerate(table.entries)
    ]
    pseudonyms = [hmac.new(key, name, hashlib.sha256).hexdigest()[:PSEUDONYM_CHARACTERS] for name in names]
    return np.array(pseudonyms, dtype=f"<U{PSEUDONYM_CHARACTERS}")


def lasting_pseudonyms(table: ImageTable, key: bytes) -> NDArray[np.str_]:
    """Pseudonyms under a key that stays, by which a hospital knows its patients again in a later study.

    As `pseudonymize`, but 1, 1.0 and 00000001 are one patient, also where no other spelling is in the same source.
    """
    entries = (replace(entry, patient=same_id(entry.patient)) for entry in table.entries)
    return pseudonymize(replace(table, entries=tuple(entries)), key)


def write_report(
    listing: Listing, table: ImageTable, notes: dict[str, int], left_out: Sequence[LeftOut]
) -> dict[str, object]:
    """The hospital's own account of the stage: what was dropped, left out, and could not be read.

    Of headers it holds kinds of fields and counts, never values. Files that are not used are named, each with the
    reason, so that somebody can look at them: the report stays at the hospital.
    """
    dropped = {kind: count for kind, count in sorted({**listing.dropped, **table.dropped}.items()) if count}
    return {
        "note": "This report names files and stays at the hospital.",
        "kept": "Grey pixels, labels, and a keyed pseudonym of each patient; nothing else.",
        "dropped": dropped,
        "not_detected": "Text burned into pixels, except where a DICOM header declares it.",
        "declared_text_in_pixels": table.burned_in,
        "readable": len(table),
        "unreadable_count": len(table.unreadable),
        "unreadable": [{"name": bad.name, "reason": bad.reason} for bad in table.unreadable],
        "not_images_count": len(table.not_images),
        "not_images": [item.name for item in table.not_images],
        "skipped": dict(sorted(Counter(item.reason for item in listing.left_out).items())),
        "left_out": [{"name": item.name, "reason": item.reason} for item in left_out],
        "partly_used": [{"name": item.name, "reason": item.reason} for item in table.partly],
        "by_column": notes,
    }
