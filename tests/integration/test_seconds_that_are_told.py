"""Seconds by stage that leave a hospital: none that tell what privacy or encrypted counts are to hide."""

from pathlib import Path

import pytest
from flwr.app import Message
from shared_runs import SharedRuns

from fedward.tables import Scalar

SAMPLE: tuple[tuple[str, Scalar], ...] = (("privacy.mode", "sample"), ("privacy.steps", 1))
TRAINING = {"train", "privatize", "encrypt", "commit"}
VOTING = {"decrypt", "detect", "vote", "evaluate"}


@pytest.mark.parametrize(
    ("overrides", "training", "voting"),
    [
        ((), TRAINING, VOTING),
        (SAMPLE, {"encrypt", "commit"}, VOTING),
        ((("privacy.mode", "update"),), {"encrypt", "commit"}, VOTING),
        ((("metrics.encrypted", True),), TRAINING, {"decrypt", "vote", "encrypt"}),
        ((*SAMPLE, ("metrics.encrypted", True)), {"encrypt", "commit"}, {"decrypt", "vote", "encrypt"}),
    ],
    ids=["plain", "sample", "update", "encrypted counts", "both"],
)
def test_no_seconds_leave_that_depend_on_images(
    overrides: tuple[tuple[str, Scalar], ...],
    training: set[str],
    voting: set[str],
    tmp_path: Path,
    shared_runs: SharedRuns,
) -> None:
    told: dict[str, list[set[str]]] = {"commitment": [], "vote": []}

    def note(_node: int, reply: Message) -> Message:
        for kind in told.keys() & set(reply.content):
            told[kind].append(set(reply.content["seconds"]))
        return reply

    with shared_runs.federation(tmp_path / "run", ("model.name", "scatter"), *overrides) as federation:
        federation.grid.tamper = note
        metrics = federation.lead_round()
    assert told == {"commitment": [training] * 3, "vote": [voting] * 3}
    assert metrics["phase"] == "accepted"
    assert set(metrics["timing_s"]) == training | voting | {"verify", "aggregate"}  # type: ignore[call-overload]
