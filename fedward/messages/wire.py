"""Write and read the parts of Flower messages: ciphertexts, signed structs, and what the server tells of a round.

Ciphertexts go as rows of opaque byte arrays; signed structs as JSON, in one entry. A message that cannot be read raises
`VerificationError`, never anything else.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import VerificationError
from fedward.messages.fields import MOST_MEMBERS, SAME_VERSION, Fields, malformed
from fedward.messages.signed import read_signed, write_signed
from fedward.sharing.signed import SentRelease, SentSum, SignedRelease

CIPHERTEXT_TYPE = "fedward.ciphertext"  # Flower's `stype`: how the bytes of an array are to be read
MOST_CHUNKS = 2**16  # of a model's update: half a billion parameters
ARRAY_BYTES = 4 * 1024**2  # of an array of ciphertexts, at most
SIGNED = "json"  # the only entry of the record of a signed struct
Struct = TypeVar("Struct")


def chunks_to_record(chunks: Iterable[bytes]) -> ArrayRecord:
    """Serialized ciphertexts, in order, as arrays of bytes: rows of equal length, a row for each ciphertext.

    Across hosts, Flower sends each array as an object of its own, in two requests; so an array has many rows, up to
    `ARRAY_BYTES`.

    Args:
        chunks: None of them empty.
    """
    alike = (list(group) for _, group in itertools.groupby(chunks, key=len))
    grouped = (rows for group in alike for rows in _parts(group, max(1, ARRAY_BYTES // len(group[0]))))
    arrays = {
        f"{index:06d}": Array(
            dtype="uint8", shape=(len(rows), len(rows[0])), stype=CIPHERTEXT_TYPE, data=b"".join(rows)
        )
        for index, rows in enumerate(grouped)
    }
    return ArrayRecord(arrays)


def _parts(rows: list[bytes], most: int) -> Iterator[list[bytes]]:
    """A list in lists of at most so many."""
    for start in range(0, len(rows), most):
        yield rows[start : start + most]


def rows_of(array: Array) -> tuple[int, int]:
    """Number and length of an array's rows.

    Raises:
        VerificationError: its shape is not that of its bytes, or it has no rows or empty ones.
    """
    shape = tuple(array.shape)
    if len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] != len(array.data):
        raise malformed("has an array whose shape is not that of its bytes")
    return shape


def record_to_chunks(record: ArrayRecord) -> tuple[bytes, ...]:
    """The ciphertexts of a record, in order; raises as `rows_of`, and where there are more than `MOST_CHUNKS`."""
    chunks: list[bytes] = []
    for name in sorted(record):
        count, length = rows_of(record[name])
        if len(chunks) + count > MOST_CHUNKS:
            raise malformed("has more ciphertexts than any model's update")
        data = record[name].data
        chunks.extend(data[start : start + length] for start in range(0, len(data), length))
    return tuple(chunks)


def read_chunks(records: RecordDict, name: str) -> tuple[bytes, ...]:
    """The ciphertexts under a name, unchecked; raises VerificationError where there is no such record of arrays."""
    record = records.get(name)
    if not isinstance(record, ArrayRecord):
        raise malformed(f"has no arrays {name!r}")
    return record_to_chunks(record)


def sized(
    chunks: tuple[bytes, ...], count: int, length: int = CHUNK_BYTES, what: str = "ciphertext"
) -> tuple[bytes, ...]:
    """The chunks, checked to be `count`, each of the length that it must have; else raises VerificationError."""
    if len(chunks) != count:
        raise malformed(f"has {len(chunks)} {what}s where {count} are expected")
    if any(len(chunk) != length for chunk in chunks):
        raise malformed(f"has a {what} of other than {length} bytes")
    return chunks


def signed_to_record(signed: Any) -> ConfigRecord:
    """A signed struct, such as a `SignedCommitment`, as a record."""
    return ConfigRecord({SIGNED: write_signed(signed)})


def read_signed_record(records: RecordDict, name: str, kind: type[Struct]) -> Struct:
    """The signed struct under a name; its signature is not checked.

    Args:
        records: A message's content.
        name: The record's name.
        kind: The signed struct's dataclass.

    Raises:
        VerificationError: there is no such record, or `read_signed` refuses it.
    """
    content = Fields(records, name).content(SIGNED)
    return read_signed(kind, content, f"The {name} in a message", VerificationError, SAME_VERSION)


Aggregates = dict[int, SentSum]  # by round, as the server hands them out; to be checked against the ledger
AGGREGATE, RELEASES = "aggregate-", "releases-"
_AGGREGATE_NAME = re.compile(rf"{AGGREGATE}([0-9]{{1,9}})")


def round_records(round_index: int, aggregates: Aggregates) -> RecordDict:
    """What the server sends: a round, and the aggregates that the receiver needs for it."""
    content = RecordDict({"round": ConfigRecord({"index": round_index})})
    for index, total in aggregates.items():
        content[f"{AGGREGATE}{index}"] = chunks_to_record(total.chunks)
        content[f"{RELEASES}{index}"] = _releases_record(total.releases)
    return content


def read_round(message: Message) -> int:
    """Which round a message is about.

    Raises:
        VerificationError: it does not say.
    """
    return Fields(message.content, "round").whole("index")


def read_aggregates(message: Message) -> Aggregates:
    """The aggregates that came with a message, with their releases.

    Raises:
        VerificationError: one of them has no proper name.
    """
    aggregates = {}
    for name in message.content.array_records:
        named = _AGGREGATE_NAME.fullmatch(name)
        if not named:
            raise malformed(f"has an unknown record {name!r}")
        index = int(named[1])
        aggregates[index] = SentSum(read_chunks(message.content, name), _read_releases(message, index))
    return aggregates


def _releases_record(releases: Iterable[SentRelease]) -> ConfigRecord:
    """What hospitals released for a sum, in a record."""
    sent = tuple(releases)
    return ConfigRecord(
        {
            "signed": [write_signed(release.signed) for release in sent],
            "content": [release.content for release in sent],
        }
    )


def _read_releases(message: Message, index: int) -> tuple[SentRelease, ...]:
    """The releases that came with an aggregate; whoever opens it checks their signatures."""
    values = Fields(message.content, f"{RELEASES}{index}")
    signed, contents = values.contents("signed"), values.contents("content")
    if len(signed) != len(contents) or len(signed) > MOST_MEMBERS:
        raise malformed("has releases that do not belong together")
    return tuple(
        SentRelease(read_signed(SignedRelease, each, "A release", VerificationError, SAME_VERSION), content)
        for each, content in zip(signed, contents, strict=True)
    )
