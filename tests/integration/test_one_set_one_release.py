"""Hospitals answer one challenge, release for one set, whatever the server asks next, and keep no share afterwards."""

import copy
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from cheats import cheating
from federation import Federation, founded
from flwr.app import Error, Message
from shared_runs import SharedRuns

import client
from fedward.errors import BudgetError
from fedward.messages.key_sharing import ANSWERS, RELEASE
from fedward.sharing.terms import Purpose
from fedward.types import HospitalId, NodeId


@pytest.fixture(scope="module")
def asked_twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Federation, list[tuple[str, ...]]]]:
    """A round in which each question about shared keys is asked again: as it was, and changed.

    What is noted: the question's type, how the second reply compares, and what the changed question got.
    """
    noted: list[tuple[str, ...]] = []
    with founded(tmp_path_factory.mktemp("run") / "run", ("metrics.encrypted", True)) as federation:

        def ask_again(node: int, reply: Message) -> Message:
            request = federation.grid.requests[-1]
            kind = request.metadata.message_type
            handler = {ANSWERS: client.answer, RELEASE: client.release}.get(kind)
            if handler:
                again = handler(request, federation.context(node))
                same = "same" if again.content == reply.content else f"other: {told(again)}"
                noted.append((kind, same, told(handler(changed(request), federation.context(node)))))
            return reply

        federation.grid.tamper = ask_again
        assert federation.lead_round()["phase"] == "accepted"
        yield federation, noted


def told(reply: Message) -> str:
    """Why a hospital refused; empty where it did not."""
    return str(reply.content["failure"]["what"]) if "failure" in reply.content else ""


def changed(request: Message) -> Message:
    """The same question for something else: another head, or another sum of the same counts."""
    other = copy.deepcopy(request)
    if "dealings" in other.content:
        other.content["dealings"]["ledger-head"] = bytes(32)
    else:
        other.content["sum"]["sum-hash"] = bytes(32)
    return other


def test_asked_again_the_same_bytes_are_sent(asked_twice: tuple[Federation, list[tuple[str, ...]]]) -> None:
    _, noted = asked_twice
    assert [kind for kind, *_ in noted].count(ANSWERS) == 3
    assert [kind for kind, *_ in noted].count(RELEASE) == 6, "of the updates, and of the counts"
    assert {same for _, same, _ in noted} == {"same"}


def test_asked_for_something_else_every_hospital_refuses(
    asked_twice: tuple[Federation, list[tuple[str, ...]]],
) -> None:
    _, noted = asked_twice
    refusals = [why for kind, _, why in noted if kind == ANSWERS]
    assert all("has answered about its shares of round 1 under another head" in why for why in refusals)
    of_counts = [why for kind, _, why in noted if kind == RELEASE and why]
    assert len(of_counts) == 3
    assert all("for another set or sum of counts" in why for why in of_counts)
    # Of updates hospitals take set and sum from the ledger, whatever is asked for: the same bytes were sent.


def test_no_share_and_no_key_is_left(asked_twice: tuple[Federation, list[tuple[str, ...]]]) -> None:
    federation, _ = asked_twice
    for node in (1, 2, 3):
        folder = federation.folder.hospital(HospitalId(f"hospital-{node}")).sharing
        assert folder.unforgotten() == ()
        kept = {path.name for path in Path(folder.path).rglob("*") if path.is_file()}
        assert kept == {"answers", "release-updates", "release-counts", "vote"}


def test_shares_of_a_round_that_was_not_released_for_are_gone_in_the_next(
    tmp_path: Path, shared_runs: SharedRuns
) -> None:
    """Hospital 3 is not asked for the counts of round 1, and has no budget in round 2; shares it gets even so."""

    def spent(*_arguments: object) -> object:
        raise BudgetError("The budget is spent.", "Stop here.")

    with shared_runs.federation(tmp_path / "run", ("metrics.encrypted", True)) as federation:
        book = federation.folder.hospital(HospitalId("hospital-3")).sharing
        deliver, kept = federation.grid.deliver, list[tuple[int, ...]]()

        def lossy(node: NodeId, request: Message) -> Message | None:
            if node == 3 and counts_of_round_1(request):
                return Message(Error(3, "the node is gone"), reply_to=request)
            reply = deliver(node, request)
            if node == 3 and request.metadata.message_type == ANSWERS:
                kept.append(book.unforgotten())
            return reply

        def counts_of_round_1(request: Message) -> bool:
            sums = request.content.config_records.get("sum")
            return sums is not None and (sums["index"], sums["purpose"]) == (1, int(Purpose.COUNTS))

        with mock.patch.object(federation.grid, "deliver", lossy):
            federation.lead_round()
            kept.append(book.unforgotten())
            with cheating(federation.grid, {3: {"make_submission": spent}}):
                assert federation.lead_round()["submitted"] == 2
        assert kept == [(1,), (1,), (2,)]
