"""What travels in messages comes out as it went in; what does not belong there is refused by one kind of error."""

import dataclasses
import math
import string
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.app.metadata import Metadata
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from signed_structs import tamper

from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import DataError, VerificationError
from fedward.figures.histograms import BINS, ScoreHistogram
from fedward.figures.validation import MAX_IMAGES
from fedward.messages import ballots, key_sharing, replies, submissions, wire
from fedward.sharing.signed import Release, SentRelease, SentSum, SignedRelease
from fedward.types import Address, Commitment, PrivacyEvent, SignedCommitment, SignedVote, Vote

SHARE_BYTES = 16  # in these tests
HASHES = st.binary(min_size=32, max_size=32)
WHOLE = st.integers(0, 2**63 - 1)
ROUNDS = st.integers(0, 2**32 - 1)
NUMBER = st.floats(0, 1e6)
TEXT = st.text(string.ascii_letters + string.digits, max_size=42)
SECONDS = st.dictionaries(st.sampled_from(["train", "encrypt", "vote"]), NUMBER)
NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=16)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: Address(f"0x{raw.hex()}"))
EVENTS = st.builds(PrivacyEvent, NAMES, NAMES, NUMBER, NUMBER, WHOLE, NUMBER, NUMBER)
COMMITMENTS = st.builds(
    Commitment, WHOLE, ADDRESSES, WHOLE, ADDRESSES, HASHES, HASHES, HASHES, HASHES, WHOLE, HASHES, WHOLE, EVENTS
)
SIGNATURES = st.binary(min_size=65, max_size=65)
# Ciphertexts have one length; what is in them does not matter here.
CHUNKS = st.lists(st.binary(min_size=8, max_size=8).map(lambda head: head + bytes(CHUNK_BYTES - 8)), max_size=3)
SUBMISSIONS = st.builds(
    submissions.Submission,
    st.builds(SignedCommitment, COMMITMENTS, SIGNATURES),
    CHUNKS.map(tuple),
    st.lists(st.binary(min_size=SHARE_BYTES, max_size=SHARE_BYTES), max_size=3).map(tuple),
    st.none() | st.builds(submissions.TrainingReport, NUMBER, WHOLE),
    SECONDS,
)
VOTES = st.builds(Vote, WHOLE, ADDRESSES, WHOLE, ADDRESSES, HASHES, st.booleans(), HASHES, HASHES, HASHES)
RELEASES = st.builds(
    SentRelease,
    st.builds(
        SignedRelease,
        st.builds(Release, WHOLE, ADDRESSES, ROUNDS, ADDRESSES, st.integers(0, 1), HASHES, HASHES, HASHES, HASHES),
        SIGNATURES,
    ),
    st.binary(max_size=20),
)
SUMS = st.builds(
    SentSum,
    st.lists(st.binary(min_size=1, max_size=20), max_size=12).map(tuple),
    st.lists(RELEASES, max_size=3).map(tuple),
)


@st.composite
def histograms(draw: st.DrawFn) -> ScoreHistogram:
    """Counts of as many images for each finding."""
    findings, n = draw(st.integers(1, 3)), draw(st.integers(0, 30))
    bins = draw(st_numpy.arrays(np.int64, (findings, n), elements=st.integers(0, 2 * BINS - 1)))
    counts = np.stack([np.bincount(row, minlength=2 * BINS) for row in bins])
    return ScoreHistogram(counts[:, :BINS], counts[:, BINS:], draw(st.floats(0, 1e6)) * n, n)


BALLOTS = st.builds(ballots.Ballot, st.builds(SignedVote, VOTES, SIGNATURES), histograms(), SECONDS)


def travel(thing: Any) -> Any:
    """The way over the network: Flower's own bytes, taken apart and put together again."""
    return type(thing).inflate(thing.deflate(), {name: travel(child) for name, child in (thing.children or {}).items()})


def message(content: RecordDict) -> Message:
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
    metadata = Metadata(1, "id", 1, 2, "", "1", 0.0, 60.0, "train")
    return Message(content=content, metadata=metadata)


def read_submission(reply: Message, chunks: int, shares: int = 1) -> object:
    """A reply to the opening of a round, read as the server reads it."""
    return submissions.read_reply(reply, chunks, shares, SHARE_BYTES)


@settings(max_examples=60, deadline=None)
@given(SUBMISSIONS)
def test_submissions_come_out_as_they_went_in(submission: submissions.Submission) -> None:
    records = travel(submissions.submission_to_records(submission))
    assert read_submission(message(records), len(submission.chunks), len(submission.sealed_shares)) == submission


@settings(max_examples=60, deadline=None)
@given(BALLOTS)
def test_ballots_come_out_as_they_went_in(ballot: ballots.Ballot) -> None:
    findings = len(ballot.histogram.positives)
    read = ballots.read_ballot(message(travel(ballots.ballot_to_records(ballot))), findings)
    assert isinstance(read, ballots.Ballot)
    assert read.signed == ballot.signed
    assert type(read.signed.vote.accept) is bool
    assert read.seconds == ballot.seconds
    for name in ("positives", "negatives", "loss_sum", "n"):
        assert np.array_equal(getattr(read.histogram, name), getattr(ballot.histogram, name))
    for other in (findings - 1, findings + 1):
        refused(ballots.read_ballot(message(ballots.ballot_to_records(ballot)), other))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 10_000),
    st.dictionaries(st.integers(1, 10_000), SUMS, max_size=3),
)
def test_rounds_and_aggregates_come_out_as_they_went_in(index: int, aggregates: dict[int, SentSum]) -> None:
    received = message(travel(wire.round_records(index, aggregates)))
    assert wire.read_round(received) == index
    assert wire.read_aggregates(received) == aggregates


def test_many_chunks_keep_their_order() -> None:
    chunks = tuple(str(index).encode() for index in range(1_200))
    assert wire.record_to_chunks(travel(wire.chunks_to_record(chunks))) == chunks


READERS: tuple[Callable[[Message], object], ...] = (
    lambda reply: read_submission(reply, 1),
    lambda reply: ballots.read_ballot(reply, 1),
    lambda reply: ballots.read_ballot(reply, 1, 1),
    lambda reply: key_sharing.read_answers(reply, 100),
    lambda reply: key_sharing.read_release(reply, 100),
)


@pytest.mark.parametrize("read", READERS)
def test_a_hospitals_own_failure_and_its_requests_are_read(read: Callable[[Message], object]) -> None:
    request = message(RecordDict())
    failure = read(replies.failure_reply(request, DataError("No images.", "Add some.")))
    assert failure == replies.Failure("No images.", "Add some.", 3)
    assert read(replies.missing_reply(request, [2, 5])) == replies.Missing((2, 5))
    assert read(replies.missing_reply(request, [])) == replies.Missing(())
    crashed = read(Message(Error(3, "the node is gone"), reply_to=request))
    assert isinstance(crashed, replies.Failure)
    assert (crashed.exit_code, "the node is gone" in crashed.what) == (1, True)


def test_an_abstention_is_a_failure_with_a_commitment_that_can_be_read() -> None:
    request, error, signed = message(RecordDict()), DataError("No images.", "Add some."), SUBMISSION.signed
    reply = submissions.abstention_reply(request, error, signed)
    failure = replies.Failure("No images.", "Add some.", 3)
    assert read_submission(reply, 1) == submissions.Abstention(failure, signed)
    tamper(reply, "commitment", signature=b"s" * 64)
    assert read_submission(reply, 1) == failure


# ---- what does not belong there ---------------------------------------------------------------------------------

EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
ACCOUNT = Address("0x" + "ab" * 20)
COMMITMENT = Commitment(1, ACCOUNT, 1, ACCOUNT, *([b"h" * 32] * 4), 1, b"s" * 32, 5, EVENT)  # type: ignore[call-arg]
SUBMISSION = submissions.Submission(
    SignedCommitment(COMMITMENT, b"s" * 65),
    (bytes(CHUNK_BYTES),),
    (b"s" * SHARE_BYTES,),
    submissions.TrainingReport(0.5, 0),
    {"train": 1.0},
)
ONE_IMAGE = np.eye(1, BINS, dtype=np.int64)
BALLOT = ballots.Ballot(
    SignedVote(Vote(1, ACCOUNT, 1, ACCOUNT, b"a" * 32, True, b"c" * 32, b"n" * 32, b"e" * 32), b"s" * 65),
    ScoreHistogram(ONE_IMAGE, np.zeros_like(ONE_IMAGE), 0.5, 1),
    {"vote": 1.0},
)


def submission_of(records: RecordDict) -> object:
    return read_submission(message(records), 1)


def ballot_of(records: RecordDict) -> object:
    return ballots.read_ballot(message(records), 1)


KINDS: dict[str, tuple[Callable[[], RecordDict], Callable[[RecordDict], object]]] = {
    "submission": (lambda: submissions.submission_to_records(SUBMISSION), submission_of),
    "ballot": (lambda: ballots.ballot_to_records(BALLOT), ballot_of),
}
WHOLE_REPLIES = {"submission": submissions.Submission, "ballot": ballots.Ballot}


def refused(read: object, about: str = "") -> None:
    """It was read as `Malformed`, with evidence about this."""
    assert isinstance(read, replies.Malformed), read
    assert about in read.evidence


FIELDS = [
    (kind, record, field)
    for kind, (make, _) in KINDS.items()
    for record, values in make().items()
    if isinstance(values, ConfigRecord | MetricRecord)
    for field in values
]
OPTIONAL = {("seconds", "train"), ("seconds", "vote"), ("report", "loss")}  # may be absent
WRONG: tuple[Any, ...] = (
    *(None, "text", b"", b"x" * 31, b"x" * 33, 1, 0.5, True, False, -1, 2**63 - 1),
    *(float("nan"), float("inf"), float("-inf"), [], [1], [0.5], ["a"], [b"a"], [True]),
)


@pytest.mark.parametrize(("kind", "record", "field"), FIELDS)
def test_every_field_is_missed_when_it_is_missing(kind: str, record: str, field: str) -> None:
    make, read = KINDS[kind]
    records = make()
    assert isinstance(read(records), WHOLE_REPLIES[kind])
    values: Any = records[record]
    del values[field]
    if (record, field) in OPTIONAL:
        assert isinstance(read(records), WHOLE_REPLIES[kind])
        return
    refused(read(records), field)


@pytest.mark.parametrize(("kind", "record", "field"), FIELDS)
def test_a_field_of_another_type_is_refused_and_nothing_else_happens(kind: str, record: str, field: str) -> None:
    make, read = KINDS[kind]
    right = make()[record][field]  # type: ignore[index]
    for wrong in WRONG:
        records = make()
        values: Any = records[record]
        try:
            values[field] = wrong
        except TypeError:  # Flower itself lets no such value into a record
            continue
        allowed = type(wrong) is type(right) or (type(right) is float and type(wrong) is int)
        if allowed and finite(wrong):
            assert isinstance(read(records), WHOLE_REPLIES[kind] | replies.Malformed)
            continue
        refused(read(records), field)


def finite(value: Any) -> bool:
    """Whether a value may travel, as far as numbers go."""
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_is_missing_or_of_another_kind_is_refused(kind: str) -> None:
    make, read = KINDS[kind]
    for name in make():
        others = (None, ConfigRecord(), MetricRecord(), ArrayRecord(), ConfigRecord({"x": 1}))
        for other in others:
            records = make()
            del records[name]
            if other is not None:
                records[name] = other
            optional = name in ("seconds", "report") and other is not None and not isinstance(other, ArrayRecord)
            if optional and "x" not in other:
                continue  # an empty report or list of times is a valid one
            if optional and name == "seconds":
                continue
            refused(read(records))


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["commitment", "chunks", "shares", "answers", "release", "seconds", "vote", "counts", "missing", "failure"]
        ),
        st.dictionaries(TEXT.filter(bool), st.integers(0, 9) | st.floats() | TEXT | st.binary() | st.booleans()),
    )
)
def test_no_record_of_nonsense_raises_anything_else(content: dict[str, dict[str, Any]]) -> None:
    records = RecordDict({name: ConfigRecord(values) for name, values in content.items()})
    received = message(records)
    for read in READERS:
        assert isinstance(read(received), replies.Failure | replies.Missing | replies.Malformed)
    for read_message in (wire.read_round, wire.read_aggregates):
        try:
            read_message(received)  # type: ignore[operator]
        except VerificationError:
            continue


@pytest.mark.parametrize(
    "name", ["aggregate-", "aggregate--1", "aggregate-1 ", "7", "aggregate-٣", "x", "aggregate-" + "9" * 5000]
)
def test_an_aggregate_of_no_round_is_refused(name: str) -> None:
    with pytest.raises(VerificationError, match="unknown record"):
        wire.read_aggregates(message(RecordDict({name: ArrayRecord()})))


@pytest.mark.parametrize("lengths", [(), (1,), (CHUNK_BYTES - 1,), (CHUNK_BYTES,) * 2, (10**6,)])
def test_ciphertexts_of_another_number_or_length_are_refused(lengths: tuple[int, ...]) -> None:
    chunks = tuple(map(bytes, lengths))
    changed = dataclasses.replace(SUBMISSION, chunks=chunks)
    refused(submission_of(submissions.submission_to_records(changed)), "ciphertext")


@pytest.mark.parametrize("lengths", [(), (1,), (SHARE_BYTES - 1,), (SHARE_BYTES,) * 2, (10**6,)])
def test_sealed_shares_of_another_number_or_length_are_refused(lengths: tuple[int, ...]) -> None:
    changed = dataclasses.replace(SUBMISSION, sealed_shares=tuple(map(bytes, lengths)))
    refused(submission_of(submissions.submission_to_records(changed)), "sealed share")


@pytest.mark.parametrize(
    "releases",
    [
        None,
        {},
        {"signed": [b"x"], "content": []},
        {"signed": [b"{}"], "content": [b"x"]},
        {"signed": b"{}", "content": b"x"},
        {"signed": [b"{}"] * 129, "content": [b"x"] * 129},
    ],
)
def test_an_aggregate_with_malformed_releases_is_refused(releases: dict[str, Any] | None) -> None:
    records = wire.round_records(1, {7: SentSum((b"chunk",), ())})
    (name,) = (name for name in records if name.endswith("7") and not name.startswith(wire.AGGREGATE))
    del records[name]
    if releases is not None:
        records[name] = ConfigRecord(releases)
    with pytest.raises(VerificationError):
        wire.read_aggregates(message(records))


@pytest.mark.parametrize(
    "shape",
    [(), (CHUNK_BYTES,), (2, CHUNK_BYTES), (1, CHUNK_BYTES - 1), (1, 1, CHUNK_BYTES), (10**9, 0), (-1, -CHUNK_BYTES)],
)
@pytest.mark.parametrize("size", [0, CHUNK_BYTES])
def test_an_array_that_lies_about_its_shape_is_refused(shape: tuple[int, ...], size: int) -> None:
    records = submissions.submission_to_records(SUBMISSION)
    data = bytes(size)
    records["chunks"] = ArrayRecord({"000000": Array(dtype="float64", shape=shape, stype="numpy.ndarray", data=data)})
    refused(submission_of(records))


def test_more_ciphertexts_than_any_model_has_are_refused_before_they_are_taken_apart() -> None:
    """A row of one byte costs forty as an object: a message of a gigabyte would take forty."""
    rows = wire.MOST_CHUNKS // 2 + 1
    array = Array(dtype="uint8", shape=(rows, 1), stype=wire.CIPHERTEXT_TYPE, data=bytes(rows))
    assert len(wire.record_to_chunks(ArrayRecord({"000000": array}))) == rows
    with pytest.raises(VerificationError, match="more ciphertexts"):
        wire.record_to_chunks(ArrayRecord({"000000": array, "000001": array}))


def test_an_array_holds_many_ciphertexts_but_not_all_of_a_large_model() -> None:
    """Each array is an object of its own on the way across hosts, and in memory at both ends."""
    chunks = tuple(bytes([index % 256]) * CHUNK_BYTES for index in range(300))
    record = wire.chunks_to_record(chunks)
    assert [len(array.data) for array in record.values()] == [wire.ARRAY_BYTES, wire.ARRAY_BYTES, 44 * CHUNK_BYTES]
    assert wire.record_to_chunks(travel(record)) == chunks


WRAPS_TO_ONE = np.zeros((1, BINS), np.int64)
WRAPS_TO_ONE[0, :5] = [2**62] * 4 + [1]


@pytest.mark.parametrize(
    ("positives", "negatives", "n"),
    [
        (ONE_IMAGE, ONE_IMAGE, 1),
        (ONE_IMAGE, -ONE_IMAGE, 0),
        (ONE_IMAGE * 2, -ONE_IMAGE, 1),
        (ONE_IMAGE * (2**62), ONE_IMAGE * (2**62), -(2**63)),
        (WRAPS_TO_ONE, ONE_IMAGE * 0, 1),
        (ONE_IMAGE * 2 - np.roll(ONE_IMAGE, 1), ONE_IMAGE, 2),
        (ONE_IMAGE * (MAX_IMAGES + 1), ONE_IMAGE * 0, MAX_IMAGES + 1),
        (ONE_IMAGE, ONE_IMAGE * 0, 2),
    ],
)
def test_score_counts_that_do_not_add_up_are_refused(positives: np.ndarray, negatives: np.ndarray, n: int) -> None:
    counts = ScoreHistogram(positives, negatives, 0.5, n)
    refused(ballot_of(ballots.ballot_to_records(dataclasses.replace(BALLOT, histogram=counts))), "add up")


@pytest.mark.parametrize(
    ("kind", "record", "field", "value"),
    [
        ("submission", "report", "saturated", -1),
        ("submission", "report", "loss", -0.1),
        ("submission", "report", "loss", 1.1e6),
        ("submission", "seconds", "train", -1.0),
        ("submission", "seconds", "train", 1e300),
        ("submission", "seconds", "lunch", 1.0),
        ("ballot", "seconds", "vote", 1e300),
        ("ballot", "seconds", "lunch", 1.0),
        ("ballot", "counts", "loss-sum", -0.1),
        ("ballot", "counts", "loss-sum", 1.1e6),
    ],
)
def test_a_figure_that_cannot_be_is_refused(kind: str, record: str, field: str, value: float) -> None:
    """One hospital's figures are added to the others', and shown beside them."""
    make, read = KINDS[kind]
    records = make()
    values: Any = records[record]
    values[field] = value
    refused(read(records), record if field == "lunch" else "saturated" if field == "saturated" else field)


@pytest.mark.parametrize("read", READERS)
def test_what_a_hospital_says_is_cut_short_and_cannot_steer_a_terminal(read: Callable[[Message], object]) -> None:
    error = DataError("\x1b[2JNo\nimages.\r\x07\u202e\x9b" + "x" * 10_000, "Add\x1b]0;some\x00.")
    failure = read(replies.failure_reply(message(RecordDict()), error))
    assert isinstance(failure, replies.Failure)
    assert failure.what.startswith(" [2JNo images.    xxx")
    assert len(failure.what) == 500
    assert failure.remedy == "Add ]0;some ."


@pytest.mark.parametrize("places", [[1, 1], [3, 2], [-1], [128], [1.0], ["1"], list(range(10**5))])
def test_a_ballot_names_each_hospital_of_a_wrong_release_once(places: list[Any]) -> None:
    """Else one ballot could count as many, or fill the log."""
    records = ballots.ballot_to_records(BALLOT)
    records["releases"] = ConfigRecord({"wrong": [2, 5]})
    read = ballot_of(records)
    assert isinstance(read, ballots.Ballot)
    assert read.wrong_releases == (2, 5)
    records["releases"] = ConfigRecord({"wrong": places})
    refused(ballot_of(records), "releases.wrong")
