"""Write and read a hospital's ballot message: its signed vote, and its validation counts, in the clear or encrypted.

A ballot that cannot be read becomes a `Malformed`, never an error.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from flwr.app import ConfigRecord, ConfigRecordValues, Message, MetricRecord, RecordDict

from fedward.ciphertexts.serialized import check_ciphertext
from fedward.errors import EncryptionError, VerificationError
from fedward.figures.histograms import BINS, ScoreHistogram
from fedward.figures.validation import adds_up
from fedward.files import merkle_root, sha256
from fedward.messages.fields import LARGEST_FIGURE, Fields, malformed
from fedward.messages.replies import Failure, Malformed, Missing, read_absence
from fedward.messages.wire import chunks_to_record, read_chunks, read_signed_record, signed_to_record, sized
from fedward.types import SignedVote

ENCRYPTED_COUNTS = "encrypted-counts"
NO_COUNTS = bytes(32)  # what a vote signs where no counts come with it


@dataclass(frozen=True)
class Ballot:
    """A hospital's reply to an aggregate.

    Attributes:
        signed: Its vote.
        histogram: Its validation counts in the clear; None with `metrics.encrypted`.
        seconds: Wall seconds by stage.
        encrypted: The ciphertexts of those counts; none where they are in the clear.
        wrong_releases: Places on the roster of hospitals whose part of the sum's key did not fit.
    """

    signed: SignedVote
    histogram: ScoreHistogram | None
    seconds: dict[str, float]
    encrypted: tuple[bytes, ...] = ()
    wrong_releases: tuple[int, ...] = ()

    def counts_hash(self) -> bytes:
        """32 bytes; what the vote signs of the validation counts."""
        return counts_hash(self.histogram, self.encrypted)


@dataclass(frozen=True)
class Counts:
    """Validation counts as they leave: in the clear, or encrypted where the settings say so."""

    histogram: ScoreHistogram | None
    encrypted: tuple[bytes, ...] = ()


def counts_hash(histogram: ScoreHistogram | None, encrypted: Sequence[bytes]) -> bytes:
    """What a vote signs of the validation counts that come with it.

    Returns:
        32 bytes: the Merkle root of the ciphertexts; of counts in the clear, the SHA-256 of their canonical bytes;
        zeros where there are neither.
    """
    if encrypted:
        return merkle_root([sha256(chunk) for chunk in encrypted])
    if histogram is None:
        return NO_COUNTS
    numbers = np.concatenate([histogram.positives.reshape(-1), histogram.negatives.reshape(-1), [histogram.n]])
    return sha256(numbers.astype("<i8").tobytes() + struct.pack("<d", histogram.loss_sum))


def ballot_to_records(ballot: Ballot) -> RecordDict:
    """A ballot as a message's content."""
    content = RecordDict({"vote": signed_to_record(ballot.signed), "seconds": MetricRecord({**ballot.seconds})})
    content["releases"] = ConfigRecord({"wrong": list(ballot.wrong_releases)})
    if ballot.histogram is None:
        content[ENCRYPTED_COUNTS] = chunks_to_record(ballot.encrypted)
    else:
        content["counts"] = _counts_record(ballot.histogram)
    return content


def read_ballot(
    message: Message, findings: int, chunk_count: int | None = None
) -> Ballot | Missing | Failure | Malformed:
    """What a hospital replied to an aggregate.

    Args:
        message: The reply.
        findings: Number of findings that the histograms must have.
        chunk_count: How many ciphertexts the counts consist of; None where they are in the clear.

    Returns:
        `Malformed` where a part is missing, of the wrong type or of the wrong size, the counts are in the clear where
        they must not be, or one of their ciphertexts is malformed.
    """
    try:
        return read_absence(message) or _read_ballot(message.content, findings, chunk_count)
    except (VerificationError, EncryptionError) as error:
        return Malformed(str(error))


def _read_ballot(records: RecordDict, findings: int, chunk_count: int | None) -> Ballot:
    signed, seconds = read_signed_record(records, "vote", SignedVote), Fields(records, "seconds").stage_seconds()
    wrong = Fields(records, "releases").places("wrong")
    if chunk_count is None:
        return Ballot(signed, _histogram(Fields(records, "counts"), findings), seconds, (), wrong)
    if "counts" in records:
        raise malformed("has score counts in the clear, where metrics.encrypted is set")
    chunks = read_chunks(records, ENCRYPTED_COUNTS)
    for chunk in sized(chunks, chunk_count) if chunks else ():  # who has dealt no key for them sends none
        check_ciphertext(chunk)
    return Ballot(signed, None, seconds, chunks, wrong)


def _counts_record(histogram: ScoreHistogram) -> ConfigRecord:
    counts: dict[str, ConfigRecordValues] = {
        "positives": histogram.positives.astype("<i8").tobytes(),
        "negatives": histogram.negatives.astype("<i8").tobytes(),
        "loss-sum": histogram.loss_sum,
        "n": histogram.n,
    }
    return ConfigRecord(counts)


def _histogram(counts: Fields, findings: int) -> ScoreHistogram:
    """Score counts that add up: one hospital's nonsense must not spoil the sum over all of them."""
    size, n = findings * BINS * 8, counts.whole("n")
    positives, negatives = (
        np.frombuffer(counts.content(name, size), "<i8").reshape(findings, BINS) for name in ("positives", "negatives")
    )
    found = ScoreHistogram(positives, negatives, 0.0, n)
    if not adds_up(found):
        raise malformed(f"has score counts that do not add up to its {n} images")
    return replace(found, loss_sum=counts.figure("loss-sum", LARGEST_FIGURE * n))
