"""What travels in Flower's messages, and how replies are taken one at a time.

Ciphertexts go as opaque byte arrays, which Flower sends in chunks. A reply is data: a hospital that failed says so
in it, and a reply that cannot be read raises `VerificationError`, never anything else.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from flwr.app import Array, ArrayRecord, ConfigRecord, ConfigRecordValues, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from fedward.ciphertexts.serialized import CIPHERTEXT
from fedward.errors import FedwardError
from fedward.messages.fields import Fields, malformed
from fedward.types import Address, Commitment, PrivacyEvent, SignedCommitment

CIPHERTEXT_TYPE = "fedward.ciphertext"  # Flower's `stype`: how the bytes of an array are to be read


@dataclass(frozen=True)
class Submission:
    """A hospital's reply to the opening of a round."""

    signed: SignedCommitment
    chunks: tuple[bytes, ...]
    report: "TrainingReport | None"
    seconds: dict[str, float]


@dataclass(frozen=True)
class TrainingReport:
    """What a hospital tells of its training; absent when an earlier submission is sent again.

    Attributes:
        loss: Mean training loss of the last epoch; None under differential privacy, which it would pass by.
        saturated: Coordinates that were cut to the public value range.
    """

    loss: float | None
    saturated: int


@dataclass(frozen=True)
class Failure:
    """A hospital that could not do its part, in its own words."""

    what: str
    remedy: str
    exit_code: int


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
    """These chunks, if they are as many and as long as they must be; else raises VerificationError."""
    if len(chunks) != count:
        raise malformed(f"has {len(chunks)} ciphertexts where {count} are expected")
    if any(len(chunk) != CIPHERTEXT.total_bytes for chunk in chunks):
        raise malformed(f"has a ciphertext of other than {CIPHERTEXT.total_bytes} bytes")
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


def submission_to_records(submission: Submission) -> RecordDict:
    """A submission as a message's content."""
    return RecordDict(
        {
            "commitment": _commitment_record(submission.signed),
            "chunks": chunks_to_record(submission.chunks),
            "report": _report_record(submission.report),
            "seconds": MetricRecord({**submission.seconds}),
        }
    )


def _commitment_record(signed: SignedCommitment) -> ConfigRecord:
    commitment, event = signed.commitment, signed.commitment.event
    values: dict[str, ConfigRecordValues] = {
        "chain-id": commitment.chain_id,
        "contract": commitment.contract,
        "round": commitment.round_index,
        "hospital": commitment.hospital,
        "ledger-head": commitment.ledger_head,
        "base-id": commitment.base_id,
        "context-fingerprint": commitment.context_fingerprint,
        "update-root": commitment.update_root,
        "update-bytes": commitment.update_bytes,
        "weight": commitment.weight,
        "mode": event.mode,
        "unit": event.unit,
        "sampling-rate": event.sampling_rate,
        "noise-multiplier": event.noise_multiplier,
        "steps": event.steps,
        "clip-norm": event.clip_norm,
        "delta": event.delta,
        "signature": signed.signature,
    }
    return ConfigRecord(values)


def records_to_submission(records: RecordDict, chunk_count: int) -> Submission:
    """Read a submission.

    Args:
        records: A message's content.
        chunk_count: How many ciphertexts an update of this round consists of.

    Raises:
        VerificationError: a part is missing, of the wrong type or of the wrong size. Nothing is kept of such a
            submission, so that no hospital fills the server's disk.
    """
    told = Fields(records, "report")
    return Submission(
        signed=_read_commitment(records),
        chunks=sized(read_chunks(records, "chunks"), chunk_count),
        report=_training_report(told) if told else None,
        seconds=Fields(records, "seconds").stage_seconds(),
    )


def _read_commitment(records: RecordDict) -> SignedCommitment:
    values = Fields(records, "commitment")
    event = PrivacyEvent(
        mode=values.text("mode"),
        unit=values.text("unit"),
        sampling_rate=values.number("sampling-rate"),
        noise_multiplier=values.number("noise-multiplier"),
        steps=values.whole("steps"),
        clip_norm=values.number("clip-norm"),
        delta=values.number("delta"),
    )
    commitment = Commitment(
        chain_id=values.whole("chain-id"),
        contract=Address(values.text("contract")),
        round_index=values.whole("round"),
        hospital=Address(values.text("hospital")),
        ledger_head=values.content("ledger-head", 32),
        base_id=values.content("base-id", 32),
        context_fingerprint=values.content("context-fingerprint", 32),
        update_root=values.content("update-root", 32),
        update_bytes=values.whole("update-bytes"),
        weight=values.whole("weight"),
        event=event,
    )
    return SignedCommitment(commitment, values.content("signature", 65))


def failure_reply(request: Message, error: FedwardError, abstention: SignedCommitment | None = None) -> Message:
    """A hospital's reply when it cannot do its part; with its abstention where it leaves the round in order."""
    values: dict[str, ConfigRecordValues] = {"what": error.what, "remedy": error.remedy, "exit-code": error.exit_code}
    content = RecordDict({"failure": ConfigRecord(values)})
    if abstention:
        content["commitment"] = _commitment_record(abstention)
    return Message(content, reply_to=request)


def read_abstention(message: Message) -> SignedCommitment | None:
    """The commitment that came with a failure, or None.

    Raises:
        VerificationError: a part of it is missing or of the wrong type.
    """
    return None if message.has_error() or "commitment" not in message.content else _read_commitment(message.content)


def read_failure(message: Message) -> Failure | None:
    """Why a hospital failed, or None when it did not."""
    if message.has_error():
        return Failure(f"Its process failed: {message.error.reason}.", "Look into its log.", 1)
    if "failure" not in message.content:
        return None
    values = Fields(message.content, "failure")
    return Failure(values.text("what"), values.text("remedy"), values.whole("exit-code"))


def missing_reply(request: Message, rounds: Sequence[int]) -> Message:
    """A hospital's reply when it was away and needs the aggregates of earlier rounds first."""
    return Message(RecordDict({"missing": ConfigRecord({"rounds": list(rounds)})}), reply_to=request)


def read_missing(message: Message) -> tuple[int, ...]:
    """The rounds whose aggregates a hospital asks for; empty when it does not.

    Raises:
        VerificationError: the list is malformed.
    """
    if message.has_error() or "missing" not in message.content:
        return ()
    return Fields(message.content, "missing").wholes("rounds")


_LONGEST_POLL_S = 5.0
FollowUp = Callable[[Message], Message | None]  # what to send instead of handing a reply out, if anything


def exchange(
    grid: Grid, messages: Sequence[Message], poll_interval_s: float, timeout_s: float, follow_up: FollowUp
) -> Iterator[Message]:
    """Send messages and hand out the replies one at a time, as they come.

    Each reply is fetched by itself, and nothing here holds it once it is handed out: a caller who drops it too has one
    update in memory, however many hospitals there are. A short poll costs no idle seconds; Flower's own
    `send_and_receive` waits three seconds between polls and returns all replies together.

    Args:
        grid: Flower's connection.
        messages: One for each node. What they carry is let go of once it is sent.
        poll_interval_s: Least seconds between polls.
        timeout_s: Replies that come later are not waited for.
        follow_up: May answer a reply with another message, whose reply is then waited for in its place.
    """
    waiting = [message_id for message_id in grid.push_messages(messages) if message_id]
    del messages
    deadline = time.monotonic() + timeout_s
    while waiting and time.monotonic() < deadline:
        asked_s = 0.0
        for message_id in tuple(waiting):
            started = time.monotonic()
            replies = list(grid.pull_messages([message_id]))
            if replies:
                waiting.remove(message_id)
            else:
                asked_s += time.monotonic() - started
            while replies:
                answer = follow_up(replies[-1])
                if answer is None:
                    yield replies.pop()
                else:
                    replies.pop()
                    waiting += [message_id for message_id in grid.push_messages([answer]) if message_id]
                    del answer
        if waiting:
            # Asking takes no more than a tenth of the time, however many are waited for.
            time.sleep(max(poll_interval_s, min(_LONGEST_POLL_S, 10 * asked_s)))


def _training_report(told: Fields) -> TrainingReport:
    saturated = told.whole("saturated")
    if saturated < 0:
        raise malformed("has a negative count of saturated coordinates")
    return TrainingReport(told.figure("loss") if told.has("loss") else None, saturated)


def _report_record(report: TrainingReport | None) -> MetricRecord:
    """A report's figures, without those that are not told; empty where there is none."""
    record = MetricRecord()
    if report:
        record["saturated"] = report.saturated
        if report.loss is not None:
            record["loss"] = report.loss
    return record
