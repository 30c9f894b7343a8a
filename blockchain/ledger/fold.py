"""The ledger head, recomputed from events alone: a second implementation of what the contract does on chain."""

from collections.abc import Iterable

from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.crypto import keccak

from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.records import RoundRecord
from fedward.errors import VerificationError

EMPTY_HEAD = bytes(32)


def fold(events: Iterable[tuple[tuple[bytes, ...], bytes]], head: bytes = EMPTY_HEAD) -> bytes:
    """Extend a ledger head by events.

    Args:
        events: Topics and data of the contract's events, in the order of the chain, all of them; OpenZeppelin's own
            events among them are skipped.
        head: 32 bytes; the head before the first of them.

    Raises:
        VerificationError: an event is malformed, or carries another head than the computed one.

    Guarantees:
        1. The result equals the contract's `ledgerHead()` after the last event.
    """
    shapes = load_artifact().events()
    for position, (topics, data) in enumerate(events):
        shape = shapes.get(topics[0]) if topics else None
        if shape is None:
            continue
        try:
            values = shape.decode(topics, data)
            head = keccak(head + shape.selector + shape.encode_fields(values))
        except (DecodingError, EncodingError, StopIteration) as error:
            raise VerificationError(
                f"Event {position} ({shape.name}) is malformed: {error}.", "Compare this ledger with another copy."
            ) from error
        if values["ledgerHead"] != head:
            raise VerificationError(
                f"Event {position} ({shape.name}) does not follow from the events before it.",
                "Compare this ledger with another copy: events were changed, dropped or added.",
            )
    return head


def first_base_id(initial_model_digest: bytes, settings_digest: bytes) -> bytes:
    """The base id before the first accepted round: 32 bytes from 32 bytes each."""
    return keccak(encode(["bytes32", "bytes32"], [initial_model_digest, settings_digest]))


def next_base_id(base_id: bytes, record: RoundRecord) -> bytes:
    """The base id after a round that started from `base_id` was accepted."""
    return next_base(base_id, record.aggregate_hash, record.included_weight, record.enrolled_total)


def next_base(base_id: bytes, aggregate_hash: bytes, included_weight: int, enrolled_total: int) -> bytes:
    """The base id after an accepted round, from the round's single values: 32 bytes."""
    kinds = ["bytes32", "bytes32", "uint40", "uint40"]
    return keccak(encode(kinds, [base_id, aggregate_hash, included_weight, enrolled_total]))
