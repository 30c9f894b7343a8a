"""What may leave a hospital by message: a list of every field of every kind of message, and the check against it.

The list is written for people, too: docs/OUTGOING.md shows it, and a test compares the two. A reply with a field that
is not listed, or in another form or longer than listed, is not sent (`fedward.folders.outgoing_log`).
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from flwr.app import Array, ArrayRecord, RecordDict

from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import VerificationError
from fedward.figures.histograms import BINS
from fedward.messages.fields import LONGEST_TEXT, MOST_MEMBERS
from fedward.messages.signed import MAX_BYTES
from fedward.messages.wire import CIPHERTEXT_TYPE, MOST_CHUNKS, rows_of
from fedward.sharing.answer_sheets import MAX_BYTES as MOST_ANSWERS
from fedward.sharing.modular import RESIDUE_BYTES
from fedward.sharing.sizes import release_bytes, sealed_share_bytes, share_width
from fedward.sharing.terms import purposes

MOST_FINDINGS = 1000
MOST_ROUNDS = 2**16

_NUMBER_BYTES = 8
_LETTER_BYTES = 4  # of UTF-8, at most
_NOT_SENT = "Nothing was sent; report this as a bug of Fedward, with the hospital's log."


class Form(StrEnum):
    """What a field's value is."""

    BYTES = "bytes"
    ENCRYPTED = "encrypted bytes"
    TEXT = "text"
    WHOLE = "whole number"
    NUMBER = "number"
    WHOLES = "whole numbers"


@dataclass(frozen=True)
class Listed:
    """A field that may leave.

    Attributes:
        record: The record of the message that it is in.
        key: Its key there; a record of arrays, whose rows are encrypted pieces, is one field.
        form: What its value is.
        most: The largest number of bytes of a value, or of a piece.
        says: What it tells, for people.
        pieces: The largest number of pieces.
    """

    record: str
    key: str
    form: Form
    most: int
    says: str
    pieces: int = 1

    @property
    def name(self) -> str:
        """The field as logs name it."""
        return f"{self.record}.{self.key}" if self.key else self.record


@dataclass(frozen=True)
class Told:
    """What a reply consists of: its kind, and the bytes of each of its fields, by name."""

    kind: str
    fields: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes of all fields."""
        return sum(self.fields.values())


def _whole(record: str, key: str, says: str) -> Listed:
    return Listed(record, key, Form.WHOLE, _NUMBER_BYTES, says)


def _wholes(record: str, key: str, most: int, says: str) -> Listed:
    return Listed(record, key, Form.WHOLES, _NUMBER_BYTES * most, says)


def _text(record: str, key: str, says: str) -> Listed:
    return Listed(record, key, Form.TEXT, _LETTER_BYTES * LONGEST_TEXT, says)


_COMMITMENT = Listed(
    "commitment",
    "json",
    Form.BYTES,
    MAX_BYTES,
    "signed: round, number of training images as enrolled, privacy event, hashes of what is sent",
)


def _seconds(*stages: str) -> tuple[Listed, ...]:
    says = "wall seconds of this stage; left out where it tells of data that the settings hide"
    return tuple(Listed("seconds", stage, Form.NUMBER, _NUMBER_BYTES, says) for stage in stages)


_FAILURE = (
    _text("failure", "what", "what went wrong; may name files of the hospital's folder"),
    _text("failure", "remedy", "what its operator can do"),
    _whole("failure", "exit-code", "which kind of error it was"),
)
_COUNTS = RESIDUE_BYTES * BINS * MOST_FINDINGS

LISTED: Mapping[str, tuple[Listed, ...]] = {
    "update": (
        _COMMITMENT,
        Listed("chunks", "", Form.ENCRYPTED, CHUNK_BYTES, "the update, under a key of this round", MOST_CHUNKS),
        Listed(
            "shares",
            "",
            Form.ENCRYPTED,
            sealed_share_bytes(share_width(len(purposes(True)))),
            "that key in shares, each sealed to one hospital",
            MOST_MEMBERS,
        ),
        _whole("report", "saturated", "coordinates of the update that were cut to the value range"),
        Listed("report", "loss", Form.NUMBER, _NUMBER_BYTES, "mean training loss; only where privacy is off"),
        *_seconds("train", "privatize", "encrypt", "commit"),
    ),
    "abstention": (*_FAILURE, dataclasses.replace(_COMMITMENT, says="signed: that it gives no update in this round")),
    "answers": (
        Listed("answers", "signed", Form.BYTES, MAX_BYTES, "signed: round, and a hash of the next"),
        Listed("answers", "content", Form.BYTES, MOST_ANSWERS, "three masked numbers about each share it was dealt"),
    ),
    "release": (
        Listed("release", "signed", Form.BYTES, MAX_BYTES, "signed: round, which sum, and a hash of the next"),
        Listed(
            "release",
            "content",
            Form.ENCRYPTED,
            release_bytes(share_width(1)),
            "its part of the key of that sum, under the hospitals' channel key",
        ),
    ),
    "ballot": (
        Listed("vote", "json", Form.BYTES, MAX_BYTES, "signed: accept or reject, and hashes of model, counts, reasons"),
        *_seconds("decrypt", "detect", "evaluate", "encrypt", "vote"),
        _wholes("releases", "wrong", MOST_MEMBERS, "hospitals whose part of the key did not fit"),
        Listed("counts", "positives", Form.BYTES, _COUNTS, "validation images with the finding, counted by score"),
        Listed("counts", "negatives", Form.BYTES, _COUNTS, "validation images without it, counted by score"),
        Listed("counts", "loss-sum", Form.NUMBER, _NUMBER_BYTES, "sum of their validation losses"),
        _whole("counts", "n", "how many validation images there are"),
        Listed(
            "encrypted-counts",
            "",
            Form.ENCRYPTED,
            CHUNK_BYTES,
            "in place of the counts above, where metrics.encrypted is set: under a key of this round",
            MOST_CHUNKS,
        ),
    ),
    "failure": _FAILURE,
    "missing": (_wholes("missing", "rounds", MOST_ROUNDS, "rounds whose sums it was away for"),),
}
# By the records that tell a kind from the others; a reply is the first of these that it has.
_MARKS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"missing"}), "missing"),
    (frozenset({"failure", "commitment"}), "abstention"),
    (frozenset({"failure"}), "failure"),
    (frozenset({"answers"}), "answers"),
    (frozenset({"release"}), "release"),
    (frozenset({"vote"}), "ballot"),
    (frozenset({"commitment"}), "update"),
)


def check_listed(content: RecordDict) -> Told:
    """Check that all of a reply's fields are listed for its kind, and have the listed form and size.

    Raises:
        VerificationError: one is not, or the reply is of no kind that is listed.
    """
    kind = next((kind for marks, kind in _MARKS if marks <= set(content)), None)
    if kind is None:
        raise VerificationError(f"A message with {sorted(content)} is of no kind that may leave.", _NOT_SENT)
    listed = {(field.record, field.key): field for field in LISTED[kind]}
    sizes: dict[str, int] = {}
    for record, key, values in _fields(content):
        field = listed.get((record, key))
        if field is None:
            raise VerificationError(f"{record}.{key} is no field of a message of the kind {kind}.", _NOT_SENT)
        sizes[field.name] = _size(field, values)
    return Told(kind, sizes)


def _fields(content: RecordDict) -> Iterator[tuple[str, str, list[object]]]:
    """Record, key and values of all fields."""
    for name, record in content.items():
        if isinstance(record, ArrayRecord):
            if list(record) != [f"{index:06d}" for index in range(len(record))]:
                raise VerificationError(f"{name} of a message has pieces by other names than numbers.", _NOT_SENT)
            yield name, "", list(record.values())
        else:
            for key, value in record.items():
                yield name, key, [value]


def _size(field: Listed, values: list[object]) -> int:
    """Bytes of a field's values, which are checked to have its form and size."""
    pieces = [_pieces(field.form, value) for value in values]
    known = [piece for piece in pieces if piece is not None]
    if len(known) < len(pieces):
        raise VerificationError(f"{field.name} of a message is not of the form {field.form}.", _NOT_SENT)
    if sum(count for count, _ in known) > field.pieces or any(size > field.most for _, size in known):
        raise VerificationError(f"{field.name} of a message is longer than it may be.", _NOT_SENT)
    return sum(count * size for count, size in known)


def _pieces(form: Form, value: object) -> tuple[int, int] | None:
    """How many pieces a value has, and the bytes of each; None where it has another form."""
    if isinstance(value, Array):
        plain = value.dtype == "uint8" and value.stype == CIPHERTEXT_TYPE and form is Form.ENCRYPTED
        return rows_of(value) if plain else None
    size = _bytes(form, value)
    return None if size is None else (1, size)


def _bytes(form: Form, value: object) -> int | None:
    """Bytes of a value that is no array; None where it has another form."""
    if isinstance(value, bytes):
        return len(value) if form in (Form.BYTES, Form.ENCRYPTED) else None
    if isinstance(value, str):
        return len(value.encode()) if form is Form.TEXT else None
    if isinstance(value, list):
        return _NUMBER_BYTES * len(value) if form is Form.WHOLES and _all_whole(value) else None
    if type(value) is int:
        return _NUMBER_BYTES if form in (Form.WHOLE, Form.NUMBER) else None
    return _NUMBER_BYTES if type(value) is float and form is Form.NUMBER else None


def _all_whole(values: Iterable[object]) -> bool:
    return all(type(value) is int for value in values)
