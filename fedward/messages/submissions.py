"""Write and read a hospital's reply to the opening of a round: a signed update, or a signed abstention.

A reply that cannot be read becomes a `Malformed`, never an error.
"""

from dataclasses import dataclass

from flwr.app import Message, MetricRecord, RecordDict

from fedward.errors import FedwardError, VerificationError
from fedward.messages.fields import Fields, malformed
from fedward.messages.replies import Failure, Malformed, Missing, failure_reply, read_absence
from fedward.messages.wire import chunks_to_record, read_chunks, read_signed_record, signed_to_record, sized
from fedward.types import SignedCommitment


@dataclass(frozen=True)
class TrainingReport:
    """What a hospital reports of its training; absent when an earlier submission is sent again.

    Attributes:
        loss: Mean training loss of the last epoch; None under differential privacy, for the loss has no noise.
        saturated: Coordinates that were cut to the public value range.
    """

    loss: float | None
    saturated: int


@dataclass(frozen=True)
class Submission:
    """A hospital's reply to the opening of a round.

    Attributes:
        signed: Its commitment.
        chunks: Its update's ciphertexts.
        sealed_shares: Its keys of this round in shares, sealed to each hospital, in roster order.
        report: What it tells of its training.
        seconds: Wall seconds by stage.
    """

    signed: SignedCommitment
    chunks: tuple[bytes, ...]
    sealed_shares: tuple[bytes, ...]
    report: TrainingReport | None
    seconds: dict[str, float]


@dataclass(frozen=True)
class Abstention:
    """The reply of a hospital that gives no update in this round, and signs that nobody need wait for it.

    Attributes:
        failure: Why the hospital gives no update.
        signed: The commitment that says so; `blockchain.signing.abstention` checks whether it really does.
    """

    failure: Failure
    signed: SignedCommitment


def submission_to_records(submission: Submission) -> RecordDict:
    """A submission as a message's content."""
    return RecordDict(
        {
            "commitment": signed_to_record(submission.signed),
            "chunks": chunks_to_record(submission.chunks),
            "shares": chunks_to_record(submission.sealed_shares),
            "report": _report_record(submission.report),
            "seconds": MetricRecord({**submission.seconds}),
        }
    )


def abstention_reply(request: Message, error: FedwardError, signed: SignedCommitment) -> Message:
    """A hospital's reply when it gives no update: why, and its signed abstention."""
    reply = failure_reply(request, error)
    reply.content["commitment"] = signed_to_record(signed)
    return reply


def read_reply(
    message: Message, chunk_count: int, share_count: int, share_bytes: int
) -> Submission | Abstention | Missing | Failure | Malformed:
    """What a hospital replied to the opening of a round.

    Args:
        message: The reply.
        chunk_count: How many ciphertexts an update of this round consists of.
        share_count: How many sealed shares belong to it.
        share_bytes: How long each of these is.

    Returns:
        `Malformed` where a part is missing, of the wrong type or of the wrong size. Nothing is kept of such a reply,
        so that no hospital fills the server's disk.
    """
    try:
        absence = read_absence(message)
        if isinstance(absence, Failure):
            return _with_abstention(absence, message)
        return absence or _read_submission(message.content, chunk_count, share_count, share_bytes)
    except VerificationError as error:
        return Malformed(str(error))


def _with_abstention(failure: Failure, message: Message) -> Abstention | Failure:
    """A failure, together with the abstention's commitment where a readable one came with it."""
    if message.has_error() or "commitment" not in message.content:
        return failure
    try:
        return Abstention(failure, _commitment(message.content))
    except VerificationError:
        return failure


def _read_submission(records: RecordDict, chunk_count: int, share_count: int, share_bytes: int) -> Submission:
    told = Fields(records, "report")
    return Submission(
        signed=_commitment(records),
        chunks=sized(read_chunks(records, "chunks"), chunk_count),
        sealed_shares=sized(read_chunks(records, "shares"), share_count, share_bytes, "sealed share"),
        report=_training_report(told) if told else None,
        seconds=Fields(records, "seconds").stage_seconds(),
    )


def _commitment(records: RecordDict) -> SignedCommitment:
    return read_signed_record(records, "commitment", SignedCommitment)


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
