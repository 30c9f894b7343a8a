"""A reader as bytes, which anybody may have made: a line that says what it is, one of JSON, weights, and a digest.

    fedward reader 1
    {"findings": 1, "image_size": 64, "method": "denoiser"}
    weights as little-endian float32, in the network's own order, then the SHA-256 of all before

What is stored is numbers: nothing that the bytes say is built or run but a network of Fedward's own. The digest finds
damage; it does not say who made the bytes.
"""

import json
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from fedward.checked_json import Matching, checked_json, to_json
from fedward.errors import DataError
from fedward.files import sha256
from fedward.reconstruction.shape import LARGEST_SIZE, MOST_FINDINGS, SMALLEST_SIZE, STEP, ReaderShape
from fedward.tables import Between, Scalar
from fedward.types import Vector

_MARK = b"fedward reader 1\n"
_LONGEST_LINE = 1_000  # bytes of JSON
_DIGEST = 32  # bytes
REMEDY = "Ask for the reader anew."


@dataclass(frozen=True)
class _WholeSteps:
    """A rule: a multiple of what readers can halve."""

    def problem(self, value: Scalar) -> str | None:
        """See `fedward.checked_json.Rule`."""
        return f"must be a multiple of {STEP}" if int(value) % STEP else None


@dataclass(frozen=True)
class StoredReader:
    """What a reader's bytes hold.

    Attributes:
        method: A name; that there is such a method is not checked here.
        image_size: Of `ReaderShape`.
        findings: Of `ReaderShape`.
    """

    method: Annotated[str, Matching("[a-z-]{1,40}", "a name of lower-case letters and hyphens")]
    image_size: Annotated[int, Between(SMALLEST_SIZE, LARGEST_SIZE), _WholeSteps()]
    findings: Annotated[int, Between(1, MOST_FINDINGS)]

    @property
    def shape(self) -> ReaderShape:
        """The shape of its network."""
        return ReaderShape(self.image_size, self.findings)


def write_reader(stored: StoredReader, weights: Vector) -> bytes:
    """A reader's bytes; the same reader gives the same bytes."""
    line = json.dumps(to_json(stored), sort_keys=True).encode()
    body = _MARK + line + b"\n" + np.ascontiguousarray(weights, "<f4").tobytes()
    return body + sha256(body)


def read_reader(content: bytes) -> tuple[StoredReader, Vector]:
    """What a reader's bytes hold, and its weights.

    Raises:
        DataError: they are no reader's, or damaged.

    Guarantees:
        1. Whatever the bytes, the result is a shape in bounds and finite weights, or that error.
        2. Memory is taken in proportion to the bytes at hand, whatever they claim.
    """
    if not content.startswith(_MARK):
        raise DataError("This is not a reader of this version of Fedward.", "Name the file of a reader.")
    end = content.find(b"\n", len(_MARK), len(_MARK) + _LONGEST_LINE)
    weights = content[end + 1 : -_DIGEST]
    if end < 0 or len(content) < end + 1 + _DIGEST or len(weights) % 4:
        raise DataError("The reader is damaged (a part is missing).", REMEDY)
    if sha256(content[:-_DIGEST]) != content[-_DIGEST:]:
        raise DataError("The reader is damaged (its digest is another).", REMEDY)
    stored = checked_json(StoredReader, content[len(_MARK) : end], "The reader", DataError, REMEDY)
    found = np.frombuffer(weights, "<f4").astype(np.float32)
    if not np.isfinite(found).all():
        raise DataError("The reader's weights are not all finite numbers.", REMEDY)
    return stored, found
