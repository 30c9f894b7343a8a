"""Thirty-two hospitals, four of which do what they must not: the round ends with the exact sum of the others."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cheats import cheating, dealing_wrong_shares, releasing_a_wrong_sum
from federation import Federation, founded
from flwr.app import Message, MessageType

from blockchain.closed_sums import ClosedSum
from blockchain.consortium.held_keys import HeldKeys
from blockchain.identity import Identity
from blockchain.ledger.records import RoundPhase
from fedward.ciphertexts.packing import quantize, round_plan
from fedward.learning.model import shared_classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.local_update import local_update
from fedward.messages.key_sharing import ANSWERS
from fedward.privacy.mechanism import privatize
from fedward.seeding import public_rng
from fedward.settings import replace
from fedward.sharing.terms import Purpose
from fedward.types import GlobalModel, HospitalId

pytestmark = pytest.mark.slow

HOSPITALS = 32
DEALS_WRONGLY, RELEASES_WRONGLY, LEAVES, LATE = 5, 11, 20, 32  # node k is hospital k, from 1
LAST_TO_ANSWER = 31


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    more = (
        ("data.hospitals", HOSPITALS),
        ("data.synthetic-images", 1280),
        ("model.name", "scatter"),
        ("ledger.release-threshold", 0),
        ("ledger.min-included", 3),
    )
    with founded(tmp_path / "run", *more) as made:
        yield made


def address(federation: Federation, node: int) -> str:
    return Identity.load(federation.folder.hospital(HospitalId(f"hospital-{node}")).identity).address


def expected_sum(federation: Federation, left_out: set[int]) -> np.ndarray:
    """The plaintext twin: every other hospital trains again, and whole numbers are added in the clear."""
    settings, opening = federation.settings, federation.ledger.opening(1)
    plan = round_plan(len(federation.initial), HOSPITALS, settings)
    total = np.zeros(plan.parameters, np.int64)
    model = GlobalModel(federation.initial, opening.base_id)
    for node, partition in enumerate(federation.data.partitions, 1):
        if node in left_out:
            continue
        spec = ModelSpec(settings.model.name, settings.data.image_size, len(partition.findings))
        update = local_update(partition, model, shared_classifier(spec), settings, 1)
        private = privatize(update, settings.privacy)
        rounding = public_rng("round", settings.training.seed, partition.hospital, 1)
        weight = opening.roster[node - 1].weight
        total += quantize(private.delta, weight, opening.enrolled_total, plan, rounding).values
    return total


def test_four_culprits_of_thirty_two(federation: Federation) -> None:
    late: list[str] = []
    pull = federation.grid.pull_messages

    def pull_late(names: Iterable[str]) -> Iterator[Message]:
        """The last hospital's update reaches the server when all others' are recorded, and the deadline is over."""
        asked = list(names)
        if set(asked) & set(late):
            if federation.ledger.round(1).submissions < HOSPITALS - 1:
                return iter(())
            federation.clock.move_to(federation.ledger.opening(1).submission_deadline + 5)
        return pull(asked)

    federation.grid.pull_messages = pull_late  # type: ignore[method-assign]

    def tamper(node: int, reply: Message) -> Message | None:
        kind = reply.metadata.message_type
        if node == LATE and kind == MessageType.TRAIN:
            late.append(reply.metadata.reply_to_message_id)
        if kind == ANSWERS and node == LAST_TO_ANSWER:
            federation.grid.absent = frozenset({LEAVES})
        return reply

    federation.grid.tamper = tamper
    federation.settings = federation.grid.settings = replace(federation.settings, "speed.answer-timeout-s", 1.0)
    cheats = {DEALS_WRONGLY: dealing_wrong_shares(0, 7, 19), RELEASES_WRONGLY: releasing_a_wrong_sum()}
    with cheating(federation.grid, cheats):
        metrics = federation.lead_round()
    record = federation.ledger.round(1)
    assert (metrics["phase"], record.phase) == ("accepted", RoundPhase.ACCEPTED)
    left_out = {DEALS_WRONGLY, LATE}
    assert record.included == tuple(place for place in range(HOSPITALS) if place + 1 not in left_out)
    named = {(entry["hospital"], entry["reason"]) for entry in metrics["rejections"]}  # type: ignore[attr-defined]
    assert named == {
        (address(federation, DEALS_WRONGLY), "WrongDealing"),
        (address(federation, RELEASES_WRONGLY), "WrongRelease"),
        (address(federation, LATE), "SubmissionDeadlinePassed"),
    }
    sent = federation.folder.server.load_sum(1)
    assert len(sent.releases) == HOSPITALS - 2  # who came late knows no shares' holders; who left gave nothing
    plan = round_plan(len(federation.initial), HOSPITALS, federation.settings)
    closed = ClosedSum(federation.ledger.opening(1), Purpose.UPDATES, record.included, sent.chunks, sent.releases)
    opened = HeldKeys(federation.folder.hospital(HospitalId("hospital-1"))).open(closed, plan)
    assert opened.wrong == (RELEASES_WRONGLY - 1,)
    np.testing.assert_array_equal(opened.sums, expected_sum(federation, left_out))
    left = f'"event": "hospital-failed", "round": 1, "node": "{LEAVES}", "hospital": "hospital-{LEAVES}"'
    assert left in federation.folder.server.progress.read_text()
