"""`agree` as a hospital runs it, with a node that tells it of another model than it tells the others."""

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from federation import Federation
from project_files import write_project
from shared_runs import SharedRuns

from blockchain.consortium.model_handover import ModelInForce, model_in_force
from commands.agree import agreeing
from commands.study.roster import roster_text
from fedward.errors import VerificationError
from fedward.hosts.gateway_client import GatewayClient
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.project import Project
from fedward.hosts.spoken import spoken

ELSEWHERE = b"m" * 32


@pytest.fixture
def federation(tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run", ("model.name", "scatter")) as made:
        yield made


@pytest.fixture
def kit(federation: Federation, tmp_path: Path) -> HospitalKit:
    """The first hospital's, before it agrees: it has no model yet."""
    kit, record = HospitalKit(tmp_path / "kit"), federation.folder.server.load_record()
    shutil.copytree(federation.folder.hospital(record.roster[0].hospital).path, kit.hospital.path)
    (kit.hospital.path / "model.npz").unlink()
    write_project(record, kit.project)
    return kit


def number(federation: Federation, kit: HospitalKit, in_force: ModelInForce) -> str:
    """What the administrator reads to the hospitals."""
    names = {member.address: member.hospital for member in federation.folder.server.load_record().roster}
    deployed = Project.load(kit.project).require_deployed()
    return spoken(roster_text(deployed, federation.ledger.roster(), names, in_force).encode())


def agree(federation: Federation, kit: HospitalKit, told: ModelInForce, said: str) -> None:
    """Run `agree` where this hospital's node tells of a model, and the administrator said a number."""
    client = SimpleNamespace(members=lambda: federation.folder.server.load_record().roster)
    with (
        mock.patch.object(GatewayClient, "of", return_value=nullcontext(client)),
        mock.patch.object(agreeing, "RemoteBoard", return_value=federation.folder.server.keys),
        mock.patch.object(agreeing, "model_in_force", return_value=told),
    ):
        agreeing.agree_and_take(kit, said, 0)


def test_who_is_told_the_truth_starts_from_the_initial_model(federation: Federation, kit: HospitalKit) -> None:
    truth = model_in_force(federation.ledger)
    agree(federation, kit, truth, number(federation, kit, truth))
    assert kit.hospital.load_model().weights.tobytes() == federation.initial.tobytes()


@pytest.mark.parametrize("lied", [("base_id",), ("digest",), ("base_id", "digest")])
def test_who_is_told_another_model_than_the_others_hears_another_number(
    federation: Federation, kit: HospitalKit, lied: tuple[str, ...]
) -> None:
    truth = model_in_force(federation.ledger)
    with pytest.raises(VerificationError, match="The number of this roster is"):
        agree(
            federation,
            kit,
            dataclasses.replace(truth, **dict.fromkeys(lied, ELSEWHERE)),
            number(federation, kit, truth),
        )
    assert not kit.hospital.has_model()


def test_where_all_are_told_another_digest_nobody_takes_a_model(federation: Federation, kit: HospitalKit) -> None:
    """Then the numbers are the same; but before the first accepted round the model follows from the settings."""
    lie = dataclasses.replace(model_in_force(federation.ledger), digest=ELSEWHERE)
    with pytest.raises(VerificationError, match="in force"):
        agree(federation, kit, lie, number(federation, kit, lie))
    assert not kit.hospital.has_model()
