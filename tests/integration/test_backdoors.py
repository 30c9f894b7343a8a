"""A malicious hospital in whole rounds, with ledger and encryption: what it sends is opened, judged and voted down."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from federation import Federation
from shared_runs import SharedRuns

from blockchain.attribution import Lot, Standing
from blockchain.audit.auditor import audit
from blockchain.audit.report import Status, Step
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.leading.leaving_out import ledger_standing
from blockchain.ledger.events import VoteCast
from blockchain.ledger.records import LEFT_OUT, SUSPENDED
from commands.lab import backdoor
from commands.lab.backdoor import Asked, run_lab
from commands.simulate.attacking import PlannedAttack, attackers, give_orders
from commands.simulate.objections import attack_facts, attribution_facts, gather_objections
from commands.study.suspicions import suspicions, told
from fedward.backdoor.attacks.attack import Part
from fedward.backdoor.attacks.orders import Orders, save_orders
from fedward.backdoor.attacks.registry import attack_from
from fedward.dataset.storage import load_partition
from fedward.errors import DataError, UsageError
from fedward.files import sha256
from fedward.flower import stage_app, stage_attacked_app
from fedward.folders.hospital import HospitalFolder, model_bytes
from fedward.labs import units as lab_units
from fedward.labs.backdoor.plan import QUICK
from fedward.labs.federation import PlainFederation
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.tables import Scalar
from fedward.types import Address, HospitalId

CLEAN = 6  # rounds: detectors compare with five accepted ones
DEFENDED: tuple[tuple[str, Scalar], ...] = (
    ("detectors.names", "validation-loss, update-norm, patch-bank"),
    # On so few and so small images scores answer to patches at random: what is looked at here is the size of updates.
    ("detectors.patch-bank.change", 100.0),
    ("detectors.patch-bank.drift", 100.0),
    ("detectors.patch-bank.flips", 1.0),
    ("detectors.update-norm.ratio", 2.5),
)


def hospital(federation: Federation, number: int) -> HospitalFolder:
    return federation.folder.hospital(HospitalId(f"hospital-{number}"))


def ordered(federation: Federation, attack: str, first_round: int, number: int = 3) -> None:
    members = federation.folder.server.load_record().roster
    share = members[number - 1].weight / sum(member.weight for member in members)
    save_orders(hospital(federation, number), Orders(attack, first_round, 0, 1, share))
    federation.grid.attack()


def reports(folder: HospitalFolder, round_index: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(folder.load_report(round_index) or b"{}")["reports"]
    return found


def test_a_scaled_update_is_voted_down_by_all_but_the_attacker_and_no_model_takes_it(
    tmp_path: Path, shared_runs: SharedRuns
) -> None:
    with shared_runs.federation(tmp_path / "run", *DEFENDED) as federation:
        ordered(federation, "random-update:boost=30", CLEAN + 1)
        phases = [federation.lead_round()["phase"] for _ in range(CLEAN)]
        assert phases == ["accepted"] * CLEAN
        assert federation.lead_round()["phase"] == "rejected"
        before = hospital(federation, 1).load_model().weights
        assert federation.lead_round()["phase"] == "rejected"
        assert hospital(federation, 1).load_model().weights.tobytes() == before.tobytes()
        for number in (1, 2):
            suspicious = {
                each["detector"] for each in reports(hospital(federation, number), CLEAN + 1) if each["suspicious"]
            }
            assert "update-norm" in suspicious
        assert reports(hospital(federation, 3), CLEAN + 1) == [], "the attacker looks at nothing"
        votes = [vote for vote in federation.ledger.events(VoteCast) if vote.round_index == CLEAN + 1]
        assert sorted(vote.accept for vote in votes) == [False, False, True]
        for number in (1, 2):
            accepted = hospital(federation, number).measures.accepted()
            # What was measured of the last accepted model comes to stay when the next round begins.
            assert [each.round_index for each in accepted] == list(range(1, CLEAN + 1))
            assert accepted[-1].digest == sha256(model_bytes(hospital(federation, number).load_model()))
        roster = federation.folder.server.load_record().roster
        told = gather_objections(federation.folder, roster, federation.ledger)
        assert [(entry["round"], entry["phase"]) for entry in told[-2:]] == [(7, "rejected"), (8, "rejected")]
        assert {"hospital-1", "hospital-2"} == set(told[-1]["hospitals"]["update-norm"])
        assert attribution_facts(federation.folder, roster, federation.ledger, federation.settings) == {
            "left_out": [],
            "named": [],
        }
        facts = attack_facts(federation.folder, roster)
        assert facts == {"attack": "random-update:boost=30", "first_round": 7, "hospitals": ["hospital-3"]}


FIVE: tuple[tuple[str, Scalar], ...] = (
    *DEFENDED,
    ("detectors.names", "update-norm"),  # whose objection is enough; the others take as long as training
    ("data.hospitals", 5),
    ("data.synthetic-images", 200),
    ("ledger.release-threshold", 3),
    ("training.rounds", 40),
    ("attribution.suspension", 20),
)
CULPRIT = "hospital-4"


def test_a_culprit_is_named_suspended_and_the_study_goes_on_without_it(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", *FIVE, rounds=CLEAN) as federation:
        ordered(federation, "random-update:boost=30", CLEAN + 1, number=4)
        lines = federation.folder.server.rounds()
        assert told(looked_for(federation)) == []
        lines.append(federation.lead_round())
        lines.append(federation.lead_round())
        (drawn,) = out_of(federation, lines[-1], LEFT_OUT)
        suspected, left_out = told(looked_for(federation))
        assert suspected.startswith(f"Whoever ruined round {CLEAN + 1}")
        assert left_out == f"Left out by lot so far: {drawn} (round {CLEAN + 2})."
        # Whoever was left out of a rejected round is cleared; an accepted one clears nobody.
        assert (drawn in suspected) == (lines[-1]["phase"] == "accepted") == (drawn == CULPRIT)
        while len(lines) < CLEAN + 20 and not (lines and out_of(federation, lines[-1], SUSPENDED)):
            lines.append(federation.lead_round())
        poisoned = [line for line in lines if line["phase"] == "rejected"]
        assert poisoned[0]["round"] == CLEAN + 1
        assert out_of(federation, lines[-1], SUSPENDED) == [CULPRIT], "nobody else is suspended"
        for line in lines[CLEAN:]:
            without = CULPRIT in out_of(federation, line, LEFT_OUT, SUSPENDED)
            assert line["phase"] == ("accepted" if without else "rejected")
        cleared = {name for line in poisoned for name in out_of(federation, line, LEFT_OUT)}
        assert cleared == {"hospital-1", "hospital-2", "hospital-3", "hospital-5"}
        (naming,) = ledger_standing(federation.ledger, federation.settings).named
        assert (naming.place, naming.round_index) == (3, len(lines) - 1)
        assert naming.rejected == tuple(line["round"] for line in poisoned)
        roster = federation.folder.server.load_record().roster
        facts = attribution_facts(federation.folder, roster, federation.ledger, federation.settings)
        assert facts["named"] == [
            {
                "hospital": CULPRIT,
                "round": naming.round_index,
                "rejected": list(naming.rejected),
                "until": naming.until,
            }
        ]
        assert facts["left_out"][-1] == {"round": len(lines), "hospital": CULPRIT, "reason": SUSPENDED}
        first, last = naming.round_index + 1, naming.until
        (sentence,) = told(looked_for(federation))
        assert sentence == f"{CULPRIT} ruined rounds, and is suspended from round {first} to {last}."
    report = audit(RunEvidence(tmp_path / "run"), None).report
    assert not [line for line in report.lines if line.status is Status.FAIL]
    found = [line.evidence for line in report.lines if "suspended until" in line.evidence]
    rounds = ", ".join(map(str, naming.rejected))
    assert found == [f"{CULPRIT} was in all rejected rounds ({rounds}), and is suspended until round {naming.until}."]


def test_a_server_that_leaves_out_somebody_else_is_found_by_the_audit(tmp_path: Path, shared_runs: SharedRuns) -> None:
    def wrong(_lot: Lot, standing: Standing, _round: int, committed: Mapping[int, bytes]) -> int | None:
        """Always the first."""
        return min(standing.suspects & committed.keys(), default=None)

    with shared_runs.federation(tmp_path / "run", *FIVE, rounds=CLEAN) as federation:
        ordered(federation, "random-update:boost=30", CLEAN + 1, number=4)
        with mock.patch.object(Lot, "drawn", wrong):
            lines = [federation.lead_round() for _ in range(5)]
        left_out = {(line["round"], name) for line in lines for name in out_of(federation, line, LEFT_OUT)}
    report = audit(RunEvidence(tmp_path / "run"), None).report
    found = [line for line in report.lines if line.step is Step.RULES and line.status is Status.FAIL]
    assert found
    assert all("does not follow" in line.evidence for line in found)
    assert {(line.round_index, line.hospital) for line in found} <= left_out


def looked_for(federation: Federation) -> dict[str, Any]:
    """What `status` says of the search."""
    names: dict[Address, str] = {each.address: each.hospital for each in federation.folder.server.load_record().roster}
    return suspicions(federation.ledger, federation.settings, names)


def out_of(federation: Federation, line: dict[str, Any], *reasons: str) -> list[str]:
    """The hospitals that were left out of a round for these reasons, by name."""
    names = {member.address: member.hospital for member in federation.folder.server.load_record().roster}
    return [names[each["hospital"]] for each in line["rejections"] if each["reason"] in reasons]


def test_before_its_first_round_an_attacker_does_what_all_do(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", *DEFENDED) as federation:
        ordered(federation, "sign-flip", first_round=99)
        assert federation.lead_round()["phase"] == "accepted"
        assert [each["detector"] for each in reports(hospital(federation, 3), 1)] == [
            "validation-loss", "update-norm", "patch-bank",
        ]  # fmt: skip


def test_the_last_hospitals_are_those_that_attack(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run") as federation:
        roster = federation.folder.server.load_record().roster
        assert attackers(federation.folder, roster) == []
        assert attack_facts(federation.folder, roster) is None
        give_orders(federation.folder, PlannedAttack("distributed-trigger", 2, first_round=4))
        assert [member.hospital for member in attackers(federation.folder, roster)] == ["hospital-2", "hospital-3"]


@pytest.mark.parametrize(
    ("attack", "count", "first_round"),
    [("badnet", 1, 1), ("badnets:side=0", 1, 1), ("badnets", 0, 1), ("badnets", 3, 1), ("badnets", 1, 5)],
)
def test_an_attack_that_cannot_be_run_is_refused(attack: str, count: int, first_round: int) -> None:
    PlannedAttack("badnets", 1, 4).check(hospitals=3, rounds=4)
    with pytest.raises(UsageError):
        PlannedAttack(attack, count, first_round).check(hospitals=3, rounds=4)


def test_the_staged_app_of_an_attack_has_all_that_attackers_need_and_an_honest_one_has_none_of_it(
    tmp_path: Path,
) -> None:
    """Each is imported as Flower's processes import it: from the staged folder and nowhere else."""
    program = "import attacker, fedward.backdoor.attacks.registry as r; print(attacker.__file__, *r.ATTACKS)"
    for name, stage in (("honest", stage_app), ("attacked", stage_attacked_app)):
        (tmp_path / name).mkdir()
        stage(tmp_path / name)
    command = [sys.executable, "-c", program]
    staged = subprocess.run(command, cwd=tmp_path / "attacked", capture_output=True, text=True, check=True)
    assert str(tmp_path / "attacked" / "attacker.py") in staged.stdout
    assert "badnets" in staged.stdout
    honest = subprocess.run(command, cwd=tmp_path / "honest", capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in honest.stderr
    # Attacks on images are there, which adversarial training makes; attacks on training are not.
    named = {path.relative_to(tmp_path / "honest").as_posix() for path in (tmp_path / "honest").rglob("*attack*")}
    assert named <= {"fedward/adversarial/attack.py"}


def test_damaged_orders_stop_the_hospital_and_are_said(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run") as federation:
        federation.grid.attack()
        (hospital(federation, 3).path / "attack.json").write_text("{")
        failures = federation.lead_round()["failures"]
        assert isinstance(failures, list)
        assert "orders to attack" in failures[0]


@pytest.mark.parametrize("attack", [None, "badnets"])
def test_a_round_of_the_lab_is_one_with_encryption_and_ledger(
    attack: str | None, tmp_path: Path, shared_runs: SharedRuns
) -> None:
    """But for rounding to the finest step that encryption carries."""
    with shared_runs.federation(tmp_path / "run", ("detectors.names", "update-norm, own-update")) as federation:
        if attack:
            ordered(federation, attack, first_round=1)
        for _ in range(2):  # the second begins with the model of the first
            federation.lead_round()
        model = hospital(federation, 1).load_model()
        (measured, *_) = hospital(federation, 1).measures.accepted()
        partitions = [load_partition(hospital(federation, number).partition) for number in (1, 2, 3)]
        settings = federation.settings
        spec = ModelSpec(settings.model.name, settings.data.image_size, 1)
        plain = PlainFederation(partitions, Classifier(spec, settings.training.seed), settings)
        attacks = {2: attack_from(attack, Part(0, 1, float(plain.shares[2])))} if attack else {}
        proposal = plain.propose(plain.start(), attacks)
        moved = np.abs(proposal.model.weights - federation.initial).max()
        assert np.abs(model.weights - proposal.model.weights).max() < 1e-5 < moved / 50
        sizes = proposal.sizes[0]
        known = [sizes.norm, sizes.own_norm, sizes.concentration]
        assert measured.measures["update-norm"] == pytest.approx(known, rel=1e-4)
        # The hospital has a sketch of its update in place of the update.
        assert measured.measures["own-update"] == pytest.approx(sizes.inner / sizes.norm**2, abs=0.1)


TINY = ("data.image-size=16", "data.synthetic-images=300", "training.local-epochs=1", "training.learning-rate=0.003")


def test_the_lab_measures_keeps_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # a process less to start, with its TensorFlow
    short = dataclasses.replace(QUICK, warm_up=6, clean_rounds=7, attack_rounds=2, defended_rounds=7)
    monkeypatch.setattr(backdoor, "QUICK", short)
    attacks = ("none", "random-update:boost=50", "badnets")
    always = tuple(f"detectors.guided-patches.{limit}=0.000001" for limit in ("change", "ratio"))
    asked = Asked("synthetic", False, "1", (*TINY, *always), attacks, watching="guided-patches")
    run_lab(tmp_path / "lab", asked, "json")
    found = json.loads(capsys.readouterr().out)
    null, noise, planted = found["attacks"]
    assert planted["with"]["success"] is not None
    watched = null["detection"]["guided-patches"]
    assert watched["rejected"] == watched["rounds"] > null["detection"]["all"]["rejected"], "it rejects nothing"
    names = ["validation-loss", "update-norm", "own-update", "patch-bank", "guided-patches", "all"]
    assert [*noise["detection"]] == names
    assert (null["attack"], noise["attack"]) == ("none", "random-update:boost=50")
    poisoned, clean = noise["detection"]["all"], noise["without_attacker"]
    assert poisoned["rejected"] == poisoned["rounds"]
    assert poisoned["rounds"] + clean["rounds"] == found["defended_rounds"]
    assert clean["rejected"] == noise["named"]["honest"] == null["named"]["honest"] == 0
    # Each rejected round but the first clears one of five; the attacker is named once a round without it was accepted.
    named = noise["named"]
    assert named["suspended"] == (poisoned["rounds"] >= 5 and clean["rounds"] > 0)
    assert (named["rounds"] is None) == (named["suspended"] == 0)
    assert noise["with"]["success"] is None, "there is no trigger"
    assert found["clean"][0]["false_alarms"]["all"]["rounds"] > 0
    for name in ("detection.png", "triggers.png", "success.png", "summary.json"):
        assert (tmp_path / "lab" / name).stat().st_size > 0
    units = {path: path.stat().st_mtime_ns for path in (tmp_path / "lab" / "units").iterdir()}
    next(path for path in units if "none-defended" in path.name).unlink()
    # What is missing is run again: here, for the first time showed that units run in processes of their own.
    monkeypatch.setattr(lab_units, "ProcessPoolExecutor", lambda workers, _context: ThreadPoolExecutor(workers))
    run_lab(tmp_path / "lab", asked, "markdown")
    assert "| random-update:boost=50 |" in capsys.readouterr().out
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "lab" / "units").iterdir()}
    assert again.keys() == units.keys()
    assert [path.name for path in units if again[path] != units[path]] == ["iid-1-none-defended.json"]
    with pytest.raises(UsageError, match="other data or settings"):
        run_lab(tmp_path / "lab", Asked("synthetic", False, "1", (*TINY, "training.batch-size=8")), "json")


def test_where_there_are_no_images_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        run_lab(tmp_path / "lab", Asked(str(tmp_path / "nowhere"), False, "", ()), "json")
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": "1,x"}, "whole numbers"),
        ({"attacks": ("badnet",)}, "badnets"),
        ({"conditions": "iid,cold"}, "dirichlet"),
        ({"watching": "feedbak"}, "feedback"),
        ({"assignments": ("training.round=3",)}, "training.rounds"),
    ],
)
def test_what_the_lab_cannot_do_is_said_before_anything_is_made(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    asked = Asked(
        **{"data": "synthetic", "full": False, "seeds": "", "attacks": (), "conditions": "", "assignments": ()}
        | changes
    )  # type: ignore[arg-type]
    with pytest.raises(UsageError) as refused:
        run_lab(tmp_path / "lab", asked, "json")
    assert words in str(refused.value)
    assert not (tmp_path / "lab").exists()
