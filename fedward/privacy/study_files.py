"""Forms of the files in a hospital's record of studies, and the patients of a study as the record is told of them."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from fedward.checked_json import Length
from fedward.types import PrivacyEvent

KEY_BYTES, DIGEST_BYTES = 32, 16
STUDY_PLACE = "study-place.json"  # a `StudyPlace`, beside the privacy record of a run

Digest = Annotated[bytes, Length(DIGEST_BYTES)]


@dataclass(frozen=True)
class StudyPatients:
    """Who is trained on in a study.

    Attributes:
        pseudonyms: Each once.
        most_images: The largest number of training images that one of them has.
        told_by: How patients are told apart, and under which key they have their pseudonyms: a text that differs where
            the same patient could have another pseudonym.
    """

    pseudonyms: frozenset[str]
    most_images: int
    told_by: str

    @classmethod
    def of(cls, pseudonyms: NDArray[np.str_], told_by: str) -> "StudyPatients":
        """The patients of training images: str, shape (n,), a pseudonym an image, as `ImageSet.patients`."""
        names, counts = np.unique(pseudonyms, return_counts=True)
        return cls(frozenset(names.tolist()), int(counts.max(initial=1)), told_by)


@dataclass(frozen=True)
class StudyEntry:
    """`study.json`.

    Attributes:
        study: Names the study: the ledger's contract and chain.
        run: What the run is called, for people.
        part: Whose training it is: a hospital, or a baseline.
        kind: Whether it is the study itself, a hospital's training alone beside it, or that on all images in one place.
        began: UTC, ISO 8601.
        event: What each round releases.
        rounds: How many rounds are asked for.
        told_by, most_images: As `StudyPatients`.
        patients: Keyed digests of those who are trained on, sorted.
    """

    study: str
    run: str
    part: str
    kind: Literal["study", "alone", "pooled"]
    began: str
    event: PrivacyEvent
    rounds: int
    told_by: str
    most_images: int
    patients: tuple[Digest, ...]


@dataclass(frozen=True)
class Charge:
    """A round that was released, and the ledger's head at its opening: after a reorganization it is another release."""

    round: int
    ledger_head: bytes = b""


@dataclass(frozen=True)
class Limit:
    """`limit.json`: the largest epsilon that the hospital allows for any patient over all studies; None: any.

    The delta of it, and of what is shown; None: the largest that a study has declared.
    """

    epsilon: float | None = None
    delta: float | None = None


@dataclass(frozen=True)
class StudyPlace:
    """A file in a hospital's own folder: where its record of studies lies, and the study's name in it."""

    record: str
    study: str


@dataclass(frozen=True)
class KeyForm:
    """`key.json`. `of` says whose data it is, for people."""

    format_version: Literal[1]
    key: Annotated[bytes, Length(KEY_BYTES)]
    of: str
