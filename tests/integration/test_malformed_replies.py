"""A hospital that answers with nonsense harms nobody but itself: the round goes on without it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from federation import Federation, founded, untouched
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode

from fedward.figures.histograms import BINS


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    path: Path = tmp_path_factory.mktemp("federation") / "run"
    with founded(path) as made:
        yield made


def asks_for(rounds: list[object]) -> Callable[[Message], None]:
    def change(reply: Message) -> None:
        reply.content = RecordDict({"missing": ConfigRecord({"rounds": rounds})})  # type: ignore[dict-item]

    return change


def says_nothing(reply: Message) -> None:
    reply.content = RecordDict()


def claims_endless_loss(reply: Message) -> None:
    if "report" in reply.content:
        reply.content["report"] = MetricRecord({"loss": float("nan"), "saturated": 0})
    if "counts" in reply.content:
        reply.content.config_records["counts"]["loss-sum"] = float("inf")


def counts_more_images_than_it_has(reply: Message) -> None:
    if "counts" in reply.content:
        counts = np.zeros((1, BINS), "<i8")
        counts[0, 0] = -(10**12)
        reply.content.config_records["counts"]["positives"] = counts.tobytes()


@pytest.mark.parametrize(
    ("change", "submitted"),
    [
        (asks_for([]), 2),
        (asks_for(["1"]), 2),
        (asks_for([0, -1, 10**6]), 2),
        (says_nothing, 2),
        (claims_endless_loss, 2),
        (counts_more_images_than_it_has, 3),
    ],
    ids=["empty request", "texts for rounds", "rounds that never were", "empty", "no finite loss", "negative counts"],
)
def test_the_round_goes_on_without_it(
    federation: Federation, change: Callable[[Message], None], submitted: int
) -> None:
    def tamper(node: int, reply: Message) -> Message:
        if node == 2:
            change(reply)
        return reply

    federation.grid.tamper = tamper
    metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    assert metrics["submitted"] == submitted
    rejections = metrics["rejections"]
    assert isinstance(rejections, list)
    assert {rejection["reason"] for rejection in rejections} == {"MalformedReply"}
    # One complaint for each message that could not be read: submission and ballot.
    assert len(rejections) == (3 - submitted) + 1
    assert isinstance(metrics["val_loss"], float)
    assert np.isfinite(metrics["val_loss"])


def test_whoever_asks_for_the_same_round_again_is_told_once(federation: Federation) -> None:
    """Else one hospital could have the server send it old aggregates until the deadline."""
    federation.grid.tamper = untouched
    federation.lead_round()
    accepted, told = federation.ledger.latest_round(), [0]

    def ask_again(node: int, reply: Message) -> Message:
        if node == 2:
            told[0] += 1
            assert told[0] <= 4, "it is told again and again"
            asks_for([accepted])(reply)
        return reply

    federation.grid.tamper = ask_again
    metrics = federation.lead_round()
    assert (metrics["phase"], metrics["submitted"], metrics["accepts"]) == ("accepted", 2, 2)
    assert told == [4], "the round's opening and its aggregate, each with the accepted round's aggregate and without"
    rejections = metrics["rejections"]
    assert isinstance(rejections, list)
    assert [rejection["reason"] for rejection in rejections] == ["MalformedReply"] * 2


def test_a_hospital_that_approves_not_the_code_is_named_and_the_round_goes_on(federation: Federation) -> None:
    """What its SuperNode answers without running a line: test_approved_code_only.py has a real one."""
    deliver = federation.grid.deliver

    def refusing(node: int, request: Message) -> Message | None:
        refused = Message(Error(ErrorCode.INVALID_FAB, "The FAB could not be verified."), reply_to=request)
        return refused if node == 2 else deliver(node, request)

    with mock.patch.object(federation.grid, "deliver", refusing):
        metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    assert metrics["submitted"] == 2
    assert "has not approved the code" in str(metrics["failures"])
    assert metrics["failures"]
