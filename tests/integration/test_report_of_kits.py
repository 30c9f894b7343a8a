"""`export KIT --report`: a server's or hospital's page has what that party holds, and says what it does not hold."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import run_here
from project_files import write_project
from shared_runs import SharedRuns

from commands.agree.agreed_roster import save_agreed
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.hosts.hospital_kit import HospitalKit

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run of two private rounds, to read."""
    return shared_runs.concluded() / "run"


@pytest.fixture(scope="module")
def record(run: Path) -> RunRecord:
    return SimulationFolder(run).server.load_record()


@pytest.fixture
def server_kit(run: Path, record: RunRecord, tmp_path: Path) -> Path:
    """What a server has of such a run."""
    kit = tmp_path / "server-kit"
    for part in ("server", "ledger"):
        shutil.copytree(run / part, kit / part)
    (kit / "bundle.fab").write_bytes(b"")
    write_project(record, kit / "project.toml")
    return kit


@pytest.fixture
def hospital_kit(run: Path, record: RunRecord, tmp_path: Path) -> Path:
    """What its first hospital has, once it has concluded."""
    kit = HospitalKit(tmp_path / "hospital-kit")
    name = record.roster[0].hospital
    shutil.copytree(run / "hospitals" / name, kit.hospital.path)
    kit.token.write_text("0" * 64)
    write_project(record, kit.project)
    save_agreed(kit, record.roster)
    summary = json.loads((run / "summary.json").read_bytes())
    test = summary["scores"]["hospitals"][name] | {"n": 24, "patients": 12}
    told = {"rounds": {"accepted": 2}, "weights_sha256": summary["model"]["weights_sha256"], "test": test}
    (kit.path / "summary.json").write_text(json.dumps(told))
    return kit.path


def report(kit: Path) -> str:
    out = kit.parent / "page.html"
    done = run_here("export", kit, "--report", "--out", out)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert not any(each in text for each in ("<script", "http://", "https://", "<img", "<link"))
    return text


def test_the_servers_page_has_rounds_and_ledger_and_no_figures_on_test_images(
    server_kit: Path, run: Path, record: RunRecord
) -> None:
    text = report(server_kit)
    for line in SimulationFolder(run).server.rounds():
        assert f"{line['val_auc']:.4f}" in text
    assert "2 of 2</b>rounds accepted" in text
    assert "3 for, 0 against" in text
    for one in record.roster:
        assert f"{one.address}, {one.weight:,} training images declared" in text
    assert "the server has no key" in text
    pooled = json.loads((run / "summary.json").read_bytes())["scores"]["pooled"]
    assert f"{pooled['brier']:.4f}" not in text


def test_a_hospitals_page_has_its_own_figures_and_no_rounds_of_others(hospital_kit: Path, run: Path) -> None:
    text = report(hospital_kit)
    own = json.loads((hospital_kit / "summary.json").read_bytes())["test"]
    assert "24 of 12 patients" in text
    assert f"{own['brier']:.4f}" in text
    spent = json.loads((run / "summary.json").read_bytes())["privacy"]["epsilon"]
    assert f"epsilon {spent:.4f}" in text
    lines = (hospital_kit / "hospital" / "checkpoints.jsonl").read_text().splitlines()
    assert all(json.loads(line)["checkpoint"]["ledger_head"] in text for line in lines)
    assert "The ledger, so no votes" in text
    assert "for, 0 against" not in text


def test_figures_of_few_patients_are_left_out_and_names_stay_text(hospital_kit: Path) -> None:
    path = hospital_kit / "summary.json"
    summary = json.loads(path.read_bytes())
    path.write_text(json.dumps(summary | {"test": summary["test"] | {"patients": 9}, "weights_sha256": HOSTILE}))
    text = report(hospital_kit)
    assert "fewer than 10 images or patients" in text
    assert f"{summary['test']['brier']:.4f}" not in text
    assert "&lt;script&gt;" in text
    path.unlink()
    assert "none yet: main.py conclude measures them" in report(hospital_kit)


def test_a_damaged_kit_gets_a_sentence(hospital_kit: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    (hospital_kit / "summary.json").write_text('{"rounds": {}}')
    assert run_here("export", hospital_kit, "--report", "--out", out).returncode == 7
    (hospital_kit / "roster.json").unlink()
    assert run_here("export", hospital_kit, "--report", "--out", out).returncode == 8
    assert run_here("export", hospital_kit, "--out", out).returncode == 8
    assert not out.exists()
