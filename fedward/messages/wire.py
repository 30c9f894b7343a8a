"""Write and read ciphertexts in Flower messages, and the messages of the server: a round, and aggregates.

Ciphertexts go as opaque byte arrays, which Flower sends in pieces. A message that cannot be read raises
`VerificationError`, never anything else.
"""

import re
from collections.abc import Iterable

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.messages.fields import Fields, malformed

CIPHERTEXT_TYPE = "fedward.ciphertext"  # Flower's `stype`: how the bytes of an array are to be read


def chunks_to_record(chunks: Iterable[bytes]) -> ArrayRecord:
    """Serialized ciphertexts, in order, as arrays of bytes."""
    arrays = {
        f"{index:06d}": Array(dtype="uint8", shape=(len(chunk),), stype=CIPHERTEXT_TYPE, data=chunk)
        for index, chunk in enumerate(chunks)
    }
    return ArrayRecord(arrays)


def record_to_chunks(record: ArrayRecord) -> tuple[bytes, ...]:
    """The ciphertexts of a record, in order."""
    return tuple(record[name].data for name in sorted(record))


def read_chunks(records: RecordDict, name: str) -> tuple[bytes, ...]:
    """The ciphertexts under a name, unchecked; raises VerificationError where there is no such record."""
    record = records.get(name)
    if not isinstance(record, ArrayRecord):
        raise malformed(f"has no arrays {name!r}")
    return record_to_chunks(record)


def sized(chunks: tuple[bytes, ...], count: int) -> tuple[bytes, ...]:
    """The chunks, checked to be `count`, each of a ciphertext's length; else raises VerificationError."""
    if len(chunks) != count:
        raise malformed(f"has {len(chunks)} ciphertexts where {count} are expected")
    if any(len(chunk) != CHUNK_BYTES for chunk in chunks):
        raise malformed(f"has a ciphertext of other than {CHUNK_BYTES} bytes")
    return chunks


Aggregates = dict[int, tuple[bytes, ...]]  # by round, as the server hands them out; to be checked against the ledger
AGGREGATE = "aggregate-"
_AGGREGATE_NAME = re.compile(rf"{AGGREGATE}([0-9]{{1,9}})")


def round_records(round_index: int, aggregates: Aggregates) -> RecordDict:
    """What the server sends: a round, and the aggregates that the receiver needs for it."""
    content = RecordDict({"round": ConfigRecord({"index": round_index})})
    for index, chunks in aggregates.items():
        content[f"{AGGREGATE}{index}"] = chunks_to_record(chunks)
    return content


def read_round(message: Message) -> int:
    """Which round a message is about.

    Raises:
        VerificationError: it does not say.
    """
    return Fields(message.content, "round").whole("index")


def read_aggregates(message: Message) -> Aggregates:
    """The aggregates that came with a message.

    Raises:
        VerificationError: one of them has no proper name.
    """
    aggregates = {}
    for name in message.content.array_records:
        named = _AGGREGATE_NAME.fullmatch(name)
        if not named:
            raise malformed(f"has an unknown record {name!r}")
        aggregates[int(named[1])] = read_chunks(message.content, name)
    return aggregates
