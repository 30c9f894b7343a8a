"""Whatever the server asks, a hospital answers that it cannot do so and why; it goes on, and nothing is written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from expected_replies import failure_in
from federation import Federation, founded
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from unchecked_commitments import signed_commitment

from fedward.messages.key_sharing import (
    ANSWERS,
    RELEASE,
    DealtShare,
    DealtShares,
    ReleaseRequest,
    dealt_to_records,
    request_to_records,
)
from fedward.sharing.sizes import sealed_share_bytes, share_width
from fedward.sharing.terms import Purpose
from fedward.types import Address, HospitalId

INDEXES = (-1, 0, 2, 2**32, 2**63 - 1)
NOTED = {".lock", "outgoing.jsonl"}
SHARE = bytes(sealed_share_bytes(share_width(1)))


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """With an open round that nobody has taken part in."""
    with founded(tmp_path_factory.mktemp("run") / "run") as made:
        made.server().ledger.open_round()
        yield made


def ask(federation: Federation, kind: str, content: RecordDict) -> Message:
    (name,) = federation.grid.push_messages([Message(content, dst_node_id=1, message_type=kind)])
    (reply,) = federation.grid.pull_messages([name])
    return reply


def dealt(index: int = 1, head: bytes = bytes(32), **changes: Any) -> RecordDict:
    """A list of dealings that are none, with some of its entries changed."""
    share = DealtShare(0, (bytes(32),) * 3, SHARE, signed_commitment(Address("0x" + "00" * 20)))
    records = dealt_to_records(DealtShares(index, head, (share,)))
    records["dealings"] = ConfigRecord(dict(records["dealings"].items()) | changes)
    return records


def requested(index: int = 1, **changes: Any) -> RecordDict:
    """A request to open a sum that there is not, with some of its entries changed."""
    records = request_to_records(ReleaseRequest(index, Purpose.UPDATES, (0, 1, 2), bytes(32)))
    records["sum"] = ConfigRecord(dict(records["sum"].items()) | changes)
    return records


@pytest.mark.parametrize("kind", [MessageType.TRAIN, MessageType.EVALUATE, ANSWERS, RELEASE])
@pytest.mark.parametrize("index", [*INDEXES, None, "text", 1.5])
def test_a_round_that_there_is_not_is_refused(federation: Federation, kind: str, index: Any) -> None:
    match kind:
        case "query.answers":
            content = dealt(index=index) if index is not None else RecordDict()
        case "query.release":
            content = requested(index=index) if index is not None else RecordDict()
        case _:
            content = RecordDict({"round": ConfigRecord({"index": index} if index is not None else {})})
    assert refused(federation, kind, content)


@pytest.mark.parametrize(
    ("kind", "content", "told"),
    [
        (ANSWERS, dealt(), "is not from where its ledger stands"),
        (ANSWERS, dealt(dealers=[-1]), "is not from where its ledger stands"),
        (ANSWERS, dealt(shares=[b"short"]), "sealed share of other than"),
        (ANSWERS, dealt(shares=[b"short"] * 200, dealers=list(range(200)), hashes=[b""] * 200), "do not belong"),
        (ANSWERS, dealt(**{"ledger-head": b"short"}), "no 32 bytes"),
        (RELEASE, requested(), "which is open on the ledger"),
        (RELEASE, requested(purpose=1), "which is open on the ledger"),
        (RELEASE, requested(purpose=7), "asks to open sum 7"),
        (RELEASE, requested(included=[5, 3]), "no places on the roster"),
        (RELEASE, requested(included=[10**6]), "no places on the roster"),
    ],
)
def test_nonsense_about_shared_keys_is_refused(
    federation: Federation, kind: str, content: RecordDict, told: str
) -> None:
    assert told in refused(federation, kind, content)


def refused(federation: Federation, kind: str, content: RecordDict) -> str:
    """Why a hospital refuses; its folder is as it was, but for the lock and the log of what left."""
    folder = federation.folder.hospital(HospitalId("hospital-1"))

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file() and path.name not in NOTED}

    before = contents()
    failure = failure_in(ask(federation, kind, content))
    assert failure.remedy
    assert contents() == before
    return failure.what
