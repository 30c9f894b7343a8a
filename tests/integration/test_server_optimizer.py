"""Server optimizers through whole rounds: the same bits everywhere, after absence and rejection, and in the votes."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from federation import Federation
from shared_runs import SharedRuns

from blockchain.catch_up import MissingAggregates, catch_up
from blockchain.consortium.held_keys import HeldKeys
from blockchain.consortium.model_handover import digest_in_force
from fedward.files import sha256
from fedward.folders.hospital import Candidate, model_bytes
from fedward.learning.digest import weights_digest
from fedward.learning.server_step import ServerOptimizer, take_step
from fedward.types import GlobalModel, HospitalId, Vector

SCATTER = (("model.name", "scatter"), ("training.learning-rate", 0.01))


def model_of(federation: Federation, number: int) -> GlobalModel:
    """What a hospital has after it has taken over all that was accepted."""
    folder, ledger = federation.folder.hospital(HospitalId(f"hospital-{number}")), federation.ledger
    arguments = folder, ledger, HeldKeys(folder), federation.settings, ledger.base_id()
    try:
        return catch_up(*arguments, {})
    except MissingAggregates as missing:
        return catch_up(
            *arguments, {index: federation.folder.server.ciphertexts.load_aggregate(index) for index in missing.rounds}
        )


@pytest.mark.parametrize("optimizer", ["momentum", "yogi"])
def test_every_hospital_takes_the_same_steps_also_one_that_was_away(
    tmp_path: Path, shared_runs: SharedRuns, optimizer: str
) -> None:
    taken: list[tuple[GlobalModel, np.ndarray, tuple[Vector, Vector]]] = []

    def noting(model: GlobalModel, update: np.ndarray, optimizer: ServerOptimizer) -> tuple[Vector, Vector]:
        taken.append((model, update, take_step(model, update, optimizer)))
        return taken[-1][2]

    with shared_runs.federation(tmp_path / "run", *SCATTER, ("server-optimizer.name", optimizer)) as federation:
        assert federation.lead_round()["phase"] == "accepted"
        federation.grid.absent = frozenset({3})
        with mock.patch("blockchain.catch_up.take_step", noting):
            assert federation.lead_round()["phase"] == "accepted"
        assert len(taken) == 2
        after_two = model_of(federation, 1)
        assert after_two.moments.any()

        # A rejected round leaves weights and moments, though everybody has made its candidate.
        with mock.patch("client.accepts", return_value=False):
            assert federation.lead_round()["phase"] == "rejected"
        candidate = federation.folder.hospital(HospitalId("hospital-1")).load_candidate()
        assert candidate
        assert candidate.round_index == 3
        assert candidate.moments.tobytes() != after_two.moments.tobytes()
        assert model_bytes(model_of(federation, 1)) == model_bytes(after_two)

        federation.grid.absent = frozenset()
        last = federation.lead_round()
        assert (last["phase"], last["submitted"]) == ("accepted", 3)
        models = [model_of(federation, number) for number in (1, 2, 3)]
        assert len({model_bytes(model) for model in models}) == 1
        assert sha256(model_bytes(models[0])) == digest_in_force(federation.ledger), "what the votes named"
        assert weights_digest(models[0].weights) != digest_in_force(federation.ledger)

        # The second round's step started from what the first one left, and is the optimizer's own.
        before, update, (weights, moments) = taken[0]
        assert before.moments.any()
        assert (weights.tobytes(), moments.tobytes()) == (after_two.weights.tobytes(), after_two.moments.tobytes())
        assert not np.allclose(weights, before.weights + update, atol=1e-6)


def test_without_an_optimizer_votes_name_the_weights_alone(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", *SCATTER) as federation:
        federation.lead_round()
        model = model_of(federation, 2)
        assert model.moments.size == 0
        assert weights_digest(model.weights) == digest_in_force(federation.ledger)
        assert model_bytes(Candidate(1, b"", model.weights)) == model_bytes(model)
