"""The linear model on scattering features through a whole federation."""

from pathlib import Path

import numpy as np
from federation import founded

from blockchain.catch_up import catch_up
from blockchain.consortium.held_keys import HeldKeys
from fedward.learning.model import Classifier
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import GlobalModel, HospitalId


def test_rounds_are_accepted_and_every_hospital_has_the_plain_average(tmp_path: Path) -> None:
    with founded(tmp_path / "run", ("model.name", "scatter"), ("training.learning-rate", 0.01)) as made:
        assert [made.lead_round()["phase"] for _ in range(2)] == ["accepted", "accepted"]
        models = []
        for partition in made.data.partitions:
            folder = made.folder.hospital(HospitalId(partition.hospital))
            base_id = made.ledger.base_id()
            models.append(catch_up(folder, made.ledger, HeldKeys(folder), made.settings, base_id, {}).weights)
        for model in models[1:]:
            assert model.tobytes() == models[0].tobytes()

        spec = ModelSpec("scatter", made.settings.data.image_size, len(made.data.findings))
        classifier, weights = Classifier(spec), made.initial
        for index in (1, 2):
            updates = [
                train(partition, GlobalModel(weights, b""), classifier, made.settings.training, index)
                for partition in made.data.partitions
            ]
            shares = np.array([update.examples for update in updates], np.float64)
            shares /= shares.sum()
            weights = weights + sum(share * update.delta for share, update in zip(shares, updates, strict=True))
        np.testing.assert_allclose(models[0], weights, atol=1e-4)  # what encryption's fixed point leaves out
        assert np.abs(weights).max() > 0.01
