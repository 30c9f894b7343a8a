"""What may leave a hospital is listed, anything else stays; what people read of it is the list that is checked."""

import json
from pathlib import Path

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata

from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import DataError, VerificationError
from fedward.folders.hospital import HospitalFolder
from fedward.folders.outgoing_log import leaving
from fedward.folders.own_folder import HOSPITAL_FOLDER
from fedward.messages.outgoing import LISTED, check_listed
from fedward.messages.wire import CIPHERTEXT_TYPE, chunks_to_record

ROOT = Path(__file__).resolve().parents[2]
CHUNK = bytes(CHUNK_BYTES)


def update() -> RecordDict:
    return RecordDict(
        {
            "commitment": ConfigRecord({"json": b"{}"}),
            "chunks": chunks_to_record([CHUNK, CHUNK]),
            "shares": chunks_to_record([b"x"]),
            "report": MetricRecord({"saturated": 0, "loss": 0.5}),
            "seconds": MetricRecord({"train": 1.0}),
        }
    )


def array(**changed: object) -> ArrayRecord:
    plain = {"dtype": "uint8", "shape": (1, 3), "stype": CIPHERTEXT_TYPE, "data": b"abc"}
    return ArrayRecord({"000000": Array(**(plain | changed))})


def request(group: str = "7") -> Message:
    metadata = Metadata(
        run_id=1, message_id="m", src_node_id=0, dst_node_id=1, reply_to_message_id="", group_id=group,
        created_at=0.0, ttl=60.0, message_type="query.answers",
    )  # fmt: skip
    return make_message(metadata, RecordDict())


def context(folder: Path) -> Context:
    return Context(1, 1, {HOSPITAL_FOLDER: str(folder)}, RecordDict(), {})


@pytest.fixture
def folder(tmp_path: Path) -> HospitalFolder:
    return HospitalFolder.create(tmp_path / "hospital")


def test_a_listed_reply_is_told_with_its_bytes() -> None:
    told = check_listed(update())
    assert told.kind == "update"
    assert told.fields["chunks"] == 2 * CHUNK_BYTES
    assert told.fields["report.loss"] == 8
    assert told.size == sum(told.fields.values())


@pytest.mark.parametrize(
    ("record", "value"),
    [
        ("patients", ConfigRecord({"ids": ["a"]})),
        ("commitment", ConfigRecord({"json": b"{}", "images": b"x"})),
        ("commitment", ConfigRecord({"json": "{}"})),
        ("commitment", ConfigRecord({"json": bytes(5000)})),
        ("report", MetricRecord({"saturated": 0, "auc": 0.9})),
        ("report", MetricRecord({"saturated": 0, "loss": [0.1, 0.2]})),
        ("seconds", MetricRecord({"detect": 1.0})),
        ("chunks", chunks_to_record([CHUNK + b"x"])),
        ("chunks", array(stype="numpy.ndarray")),
        ("chunks", array(dtype="patient 17")),
        ("chunks", array(shape=(3,))),
        ("chunks", array(shape=(1, 4))),
        ("chunks", ArrayRecord({"patient-17": Array(dtype="uint8", shape=(1, 1), stype=CIPHERTEXT_TYPE, data=b"x")})),
        ("shares", chunks_to_record([b"x"] * 129)),
        ("images", chunks_to_record([CHUNK])),
        ("counts", ConfigRecord({"n": 3})),
    ],
)
def test_whatever_else_does_not_leave(folder: HospitalFolder, record: str, value: object) -> None:
    content = update()
    content[record] = value
    with pytest.raises(VerificationError):
        check_listed(content)

    reply = leaving(lambda message, _: Message(content, reply_to=message))(request(), context(folder.path))
    assert set(reply.content) == {"failure"}
    assert reply.content["failure"]["exit-code"] == VerificationError.exit_code
    (line,) = folder.outgoing.read_text().splitlines()
    assert json.loads(line)["kind"] == "failure"


def test_a_reply_of_no_kind_does_not_leave() -> None:
    for content in (RecordDict(), RecordDict({"chunks": chunks_to_record([CHUNK])})):
        with pytest.raises(VerificationError, match="of no kind"):
            check_listed(content)


def test_each_reply_is_a_line_of_the_log(folder: HospitalFolder) -> None:
    send = leaving(lambda message, _: Message(update(), reply_to=message))
    for group in ("7", "8", "a lie", "9" * 30):
        assert "chunks" in send(request(group), context(folder.path)).content
    lines = [json.loads(line) for line in folder.outgoing.read_text().splitlines()]
    assert [line["round"] for line in lines] == [7, 8, None, None]
    assert list(lines[0]) == ["time", "round", "kind", "bytes", "fields"]
    assert lines[0]["bytes"] == sum(lines[0]["fields"].values())


def test_an_error_leaves_as_a_failure_that_is_short_enough_to_be_listed(folder: HospitalFolder) -> None:
    def fails(_message: Message, _context: Context) -> Message:
        raise DataError("é" * 10_000, "Mend it.")

    reply = leaving(fails)(request(), context(folder.path))
    assert reply.content["failure"]["what"] == "é" * 500
    assert json.loads(folder.outgoing.read_text())["kind"] == "failure"


def test_what_cannot_be_noted_does_not_leave(tmp_path: Path) -> None:
    send = leaving(lambda message, _: Message(update(), reply_to=message))
    assert set(send(request(), context(tmp_path / "nowhere")).content) == {"failure"}
    nameless = Context(1, 1, {}, RecordDict(), {})
    assert "does not say which folder" in str(send(request(), nameless).content["failure"]["what"])


def rows() -> list[str]:
    """The list as docs/OUTGOING.md has it."""
    found = []
    for kind, fields in LISTED.items():
        for field in fields:
            size = f"{field.most:,}" if field.pieces == 1 else f"{field.most:,} a piece, {field.pieces:,} pieces"
            found.append(f"| {kind} | `{field.name}` | {field.form} | {size} | {field.says} |")
    return found


def test_the_list_for_people_is_the_list_that_is_checked() -> None:
    text = (ROOT / "docs" / "OUTGOING.md").read_text()
    kinds = "|".join(LISTED)
    shown = [line for line in text.splitlines() if line.split(" ")[1:2] and line.split(" ")[1] in LISTED]
    assert shown == rows(), f"the rows that begin with {kinds} must be these:\n" + "\n".join(rows())
