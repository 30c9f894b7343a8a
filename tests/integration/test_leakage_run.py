"""The lab of leakage on a finished run: what each party holds is read, controls are found, ciphertexts give nothing."""

import dataclasses
import json
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lab_units import in_this_process
from shared_runs import SharedRuns

from commands.lab.leakage_run import auditing
from commands.lab.leakage_run.auditing import Asked, audit_run
from commands.lab.leakage_run.holdings import holds_channel_key
from commands.lab.report.results import read_result
from commands.simulate.conclusion import conclude
from fedward.errors import DataError, EvidenceError, UsageError, VerificationError
from fedward.folders.simulation import SimulationFolder
from fedward.labs.leakage import party_summary
from fedward.labs.leakage.parties import NULL, PLANTED, Effort
from fedward.labs.leakage.summary import LEAK, PASS
from fedward.timing import Stopwatch
from fedward.types import HospitalId

EFFORT = Effort(victims=4, among=9, planted=4, searched=2, attempts=1, steps=60)


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run of one plain round."""

    def make(place: Path) -> None:
        with shared_runs.federation(place / "run", rounds=1) as federation:
            conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())

    return shared_runs.folder("leakage-run", make) / "run"


@pytest.fixture(scope="module")
def lab(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's folder of that run."""
    out = tmp_path_factory.mktemp("lab") / "out"
    with pytest.MonkeyPatch.context() as patch:
        quickly(patch)
        with suppress(VerificationError):  # so few steps on 16 pixels may find no picture; gradients must find all
            audit_run(out, Asked(run, "", "", full=False), "table")
    return out


def quickly(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(auditing, "QUICK", EFFORT)
    patch.setattr(auditing, "run_units", in_this_process)


@pytest.fixture
def rows(lab: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((lab / "summary.json").read_bytes())
    return {row["party"]: row for row in found["rows"]}


def test_every_party_is_attacked_with_what_its_files_hold(run: Path, rows: dict[str, dict[str, Any]]) -> None:
    assert list(rows) == [
        PLANTED,
        NULL,
        "server alone",
        "auditor",
        "hospital-1 alone",
        "server with hospital-1",
        "server with all but hospital-3",
    ]
    for party, row in rows.items():
        assert all((run / name).is_file() for name in row["files"]), party
        assert bool(row["files"]) == (party not in (PLANTED, NULL))
    assert all(name.startswith("server/") for name in rows["server alone"]["files"])
    assert not any("hospitals/" in name for name in rows["auditor"]["files"])
    assert "hospitals/hospital-2/partition.npz" in rows["server with all but hospital-3"]["files"]


def test_one_plain_gradient_is_found_and_ciphertexts_and_noise_give_nothing(rows: dict[str, dict[str, Any]]) -> None:
    assert rows[PLANTED]["verdict"] == LEAK
    assert rows[PLANTED]["by_gradient"]["hits"] == EFFORT.planted
    for party in (NULL, "server alone", "auditor"):
        assert rows[party]["most_above_prior"]["psnr_db"] < 0, party  # four guesses among few say nothing of naming


def test_the_report_takes_it_as_measured_of_this_run(run: Path, lab: Path) -> None:
    result = read_result(lab)
    digest = json.loads((run / "summary.json").read_bytes())["model"]["weights_sha256"]
    assert (result.lab, result.model_digest) == ("leakage-run", digest)
    assert "attempts to rebuild" in result.verdict
    assert (lab / "parties.png").stat().st_size > 100


def test_a_server_that_has_the_channel_key_is_found_out(run: Path, tmp_path: Path) -> None:
    """What a party holds is read, not assumed."""
    changed = SimulationFolder(tmp_path / "run")
    shutil.copytree(run, changed.path)
    spy = HospitalId("hospital-1")
    assert holds_channel_key(changed, changed.server.path, spy) == ()
    (key,) = changed.hospital(spy).keys.glob("*.key")
    (changed.server.path / "found.bin").write_bytes(b"notes " + key.read_bytes())
    assert holds_channel_key(changed, changed.server.path, spy) == ("server/found.bin",)


def test_a_lab_that_always_says_pass_ends_in_an_error(
    run: Path, lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quickly(monkeypatch)
    monkeypatch.setattr(auditing, "run_units", lambda *_: None)  # all was run
    monkeypatch.setattr(party_summary, "verdict_of", lambda _: PASS)
    with pytest.raises(VerificationError, match="one image's gradient in round 1 is PASS"):
        audit_run(lab, Asked(run, "", "", full=False), "json")
    assert json.loads(capsys.readouterr().out)["faults"]


def test_what_cannot_be_audited_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly(monkeypatch)
    asked = Asked(run, "", "", full=False)
    with pytest.raises(UsageError, match="lies in the run"):
        audit_run(run / "out", asked, "table")
    with pytest.raises(DataError, match="Round 7 was not accepted"):
        audit_run(tmp_path / "out", dataclasses.replace(asked, rounds="7"), "table")
    with pytest.raises(UsageError, match="no list of whole numbers"):
        audit_run(tmp_path / "out", dataclasses.replace(asked, rounds="x"), "table")
    with pytest.raises(EvidenceError):
        audit_run(tmp_path / "out", dataclasses.replace(asked, run=tmp_path / "none"), "table")
    assert not (tmp_path / "out").exists()
