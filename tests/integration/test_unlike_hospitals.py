"""Hospitals that differ: one with healthy patients only, one that comes and goes, one that answers too late."""

import dataclasses
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from expected_replies import submission_in
from federation import Federation
from flwr.app import Message
from shared_runs import SharedRuns

from blockchain.ledger.events import VoteCast
from blockchain.ledger.records import RoundOpening, RoundPhase
from blockchain.verification import ExaminedUpdate, examine
from data_preprocessing import load_partition, save_partition
from fedward.ciphertexts.packing import round_plan
from fedward.errors import LedgerError
from fedward.tables import Scalar
from fedward.types import HospitalId, ImageSet, Rejection, StoredUpdate

SCATTER: tuple[tuple[str, Scalar], ...] = (("model.name", "scatter"), ("training.learning-rate", 0.01))
# Hospitals with one class pull the model their way: the pull back and the server's momentum are for these.
UNLIKE: tuple[tuple[str, Scalar], ...] = (
    ("training.proximal-mu", 0.1),
    ("server-optimizer.name", "momentum"),
    ("server-optimizer.momentum.momentum", 0.5),
)


def keep_one_class(federation: Federation, number: int, label: int) -> None:
    """Take the other class's images out of a hospital's splits."""
    path = federation.folder.hospital(HospitalId(f"hospital-{number}")).partition
    partition = load_partition(path)

    def some_of(images: ImageSet) -> ImageSet:
        kept = images.labels[:, 0] == label
        return ImageSet(images.images[kept], images.labels[kept], images.patients[kept])

    splits = {name: some_of(getattr(partition, name)) for name in ("train", "val", "test")}
    save_partition(path, dataclasses.replace(partition, **splits))


@pytest.mark.parametrize("sampled", [False, True])
def test_hospitals_with_one_class_only_take_part_and_vote(
    tmp_path: Path, shared_runs: SharedRuns, sampled: bool
) -> None:
    private: tuple[tuple[str, Scalar], ...] = (
        ("privacy.mode", "sample"),
        ("privacy.steps", 2),
        ("privacy.noise-multiplier", 0.5),
    )
    with shared_runs.federation(tmp_path / "run", *SCATTER, *UNLIKE, *(private if sampled else ())) as federation:
        keep_one_class(federation, 1, 0)
        keep_one_class(federation, 2, 1)
        rounds = [federation.lead_round() for _ in range(2)]
        for metrics in rounds:
            assert (metrics["phase"], metrics["submitted"], metrics["accepts"]) == ("accepted", 3, 3)
            assert (metrics["failures"], metrics["rejections"]) == ([], [])
            assert isinstance(metrics["val_auc"], float), "pooled, both classes are there"
            assert np.isfinite(metrics["val_loss"])  # type: ignore[arg-type]


def test_hospitals_that_come_and_go_end_with_one_model(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", *SCATTER, *UNLIKE) as federation:
        included = []
        for away in ({3}, {1}, {2}, set()):
            federation.grid.absent = frozenset(away)
            metrics = federation.lead_round()
            assert metrics["phase"] == "accepted"
            included.append(federation.ledger.round(federation.ledger.latest_round()).included)
        assert included == [(0, 1), (1, 2), (0, 2), (0, 1, 2)]
        votes = list(federation.ledger.events(VoteCast, 4))
        assert len({vote.candidate_digest for vote in votes}) == 1, "weights and moments"
        assert len(votes) == 3


def test_what_comes_after_the_deadline_is_refused_and_the_next_round_has_everybody(
    tmp_path: Path, shared_runs: SharedRuns
) -> None:
    with shared_runs.federation(tmp_path / "run", *SCATTER) as federation:
        late: list[Message] = []

        def keeping(node: int, reply: Message) -> Message:
            if node == 3 and "chunks" in reply.content:
                late.append(reply)
            return reply

        def slow(stored: StoredUpdate, opening: RoundOpening, *others: Any) -> ExaminedUpdate | Rejection:
            if stored.hospital == opening.roster[2].address:
                federation.clock.move_to(opening.submission_deadline + 2)
            return examine(stored, opening, *others)

        federation.grid.tamper = keeping
        with mock.patch("blockchain.leading.intake.examine", slow), mock.patch("blockchain.ledger.relay.GATHER_S", 0.0):
            metrics = federation.lead_round()
        assert len(late) == 1
        assert (metrics["phase"], metrics["submitted"]) == ("accepted", 2)
        reasons = [rejection["reason"] for rejection in metrics["rejections"]]  # type: ignore[attr-defined]
        assert reasons == ["SubmissionDeadlinePassed"]
        assert federation.ledger.round(1).included == (0, 1)

        # Sent again once the round is over, it counts no more.
        chunks = round_plan(len(federation.initial), 3, federation.settings).chunks
        signed = submission_in(late[0], chunks).signed
        with pytest.raises(LedgerError, match="RoundNotOpen"):
            federation.server().ledger.submit_for(signed)
        federation.grid.tamper = lambda _node, reply: reply
        assert federation.lead_round()["submitted"] == 3
        assert federation.ledger.round(2).phase is RoundPhase.ACCEPTED
