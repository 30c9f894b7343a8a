"""The report of a run: results stand under what they were measured on, gaps are no passes, and a hospital signs."""

import json
from pathlib import Path
from typing import Any

import pytest
from shared_runs import SharedRuns

from blockchain.signing.reports import SignedReport, recover_report_signer
from commands.lab.report.files import JSON, PAGE, SIGNATURE, check_report
from commands.lab.report.page import render_report
from commands.lab.report.reporting import make_report, verify_report
from commands.lab.report.results import read_result
from commands.lab.report.run_facts import facts_of
from commands.lab.wishes import Wishes
from fedward.errors import EvidenceError, UsageError, VerificationError
from fedward.messages.signed import read_signed

HOSTILE = "<script>alert('x')</script>\u202e"
SEEN = {"auc": 0.61, "auc_interval": [0.55, 0.67], "rate": 0.001, "found": 0.02, "found_interval": None, "others": 1000}
ROW = {
    "name": "privacy-eps8",
    "preset": "privacy-eps8",
    "noise": 1,
    "verdict": "BROKEN",
    "models": 10,
    "accuracy": [0.9, 0.8],
    "by_scores": SEEN,
    "by_weights": None,
    "bound": {"epsilon": 9.25, "right": 99, "guesses": 100, "canaries": 100},
    "stated": 8.0,
    "bound_if_independent": 3.0,
}


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    return shared_runs.concluded() / "run"


def lab(folder: Path, digest: str = "", **changes: Any) -> Path:
    """A lab's folder with a planted result."""
    folder.mkdir()
    made = Wishes("xrays", True, "1,2", ("a.b=c",)).made("membership", folder) | {"model_digest": digest}
    summary = {"made": made, "seeds": [1, 2], "rows": [ROW | changes], "verdict": "BROKEN: privacy-eps8."}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def report(run: Path, out: Path, *results: Path, sign: Path | None = None) -> dict[str, Any]:
    make_report(run, results, (), out, sign, as_json=False)
    found: dict[str, Any] = json.loads((out / JSON).read_bytes())
    return found


def lines(report: dict[str, Any], area: str) -> dict[str, dict[str, Any]]:
    (found,) = (each for each in report["areas"] if each["name"] == area)
    return {line["what"]: line for line in found["lines"]}


def test_what_nobody_measured_is_listed_as_such_and_never_as_passed(run: Path, tmp_path: Path) -> None:
    found = report(run, tmp_path / "out")
    gaps = [line for area in found["areas"] for line in area["lines"] if line["basis"] == "not measured"]
    labs = {line["command"].split()[2] for line in gaps if line["command"].startswith("main.py lab")}
    assert labs == {"robustness", "backdoor", "leakage", "membership", "image-encryption"}
    assert not any("pass" in line["result"].lower() for line in gaps)
    assert len(found["not_measured"]) == len(gaps)
    assert any("Not measured, and therefore not known: Evasion" in risk for risk in found["risks"])
    assert not any("Results of the method" in risk for risk in found["risks"])
    page = (tmp_path / "out" / PAGE).read_text()
    assert page.count('<span class="tag gap">not measured</span>') == len(gaps)
    assert "by nobody" in page


def test_the_models_entry_in_the_ledger_is_found_and_the_audit_told(run: Path, tmp_path: Path) -> None:
    found, facts = report(run, tmp_path / "out"), facts_of(run)
    record = lines(found, "Record")
    digest = facts.model.weights_sha256.hex()
    assert record["The model's entry in the ledger"]["result"].endswith(digest)
    assert record["Audit"]["result"].startswith("verified")
    assert found["model"]["digest"] == digest
    assert found["audit"]["trust"]["origin"] == "own"
    assert any("Nobody outside of this run" in risk for risk in found["risks"])


def test_a_labs_result_is_of_the_method_unless_it_names_this_model(run: Path, tmp_path: Path) -> None:
    other, own = lab(tmp_path / "other"), lab(tmp_path / "own", facts_of(run).model.weights_sha256.hex())
    found = report(run, tmp_path / "out", other)
    told = lines(found, "Privacy")
    assert told["Epsilon of privacy-eps8"]["result"] == "at least 9.25, stated at most 8.00: BROKEN"
    assert told["Epsilon of privacy-eps8"]["basis"] == "the method, not this run"
    assert told["Patients told to have been trained on"]["command"] == (
        f"main.py lab membership --data xrays --out {other} --full --seeds 1,2 --set a.b=c"
    )
    assert any("its guarantee does not hold" in risk for risk in found["risks"])
    (privacy,) = (area for area in found["areas"] if area["name"] == "Privacy")
    assert "0.610 (0.550 to 0.670)" in privacy["tables"][0]["rows"][0]
    weak = report(run, tmp_path / "out", lab(tmp_path / "weak", noise=0.1))
    assert "Planted mistake: Epsilon of privacy-eps8" in lines(weak, "Privacy")
    assert not any("its guarantee does not hold" in risk for risk in weak["risks"])
    told = lines(report(run, tmp_path / "out", own), "Privacy")
    assert told["Epsilon of privacy-eps8"]["basis"] == "this run"


def test_what_hostile_parties_wrote_stays_text(run: Path, tmp_path: Path) -> None:
    found = report(run, tmp_path / "out", lab(tmp_path / "lab", name=HOSTILE))
    found["risks"].append(HOSTILE)
    page = render_report(found, HOSTILE)
    assert "<script" not in page
    assert "\u202e" not in page
    assert page.count("&lt;script&gt;") >= 3
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_a_hospital_signs_and_every_change_is_found(run: Path, tmp_path: Path) -> None:
    out, hospital = tmp_path / "out", run / "hospitals" / "hospital-2"
    report(run, out, sign=hospital)
    told = check_report(out)
    assert told.hospital in (out / PAGE).read_text()
    assert told.model_digest == facts_of(run).model.weights_sha256
    verify_report(out, run, as_json=True)
    for name in (JSON, PAGE):
        before = (out / name).read_bytes()
        (out / name).write_bytes(before + b" ")
        with pytest.raises(VerificationError, match="is not what"):
            check_report(out)
        (out / name).write_bytes(before)
    content = (out / SIGNATURE).read_bytes()
    (out / SIGNATURE).write_bytes(content.replace(told.model_digest.hex().encode(), b"0" * 64))
    with pytest.raises(VerificationError, match="is not signed by"):
        check_report(out)
    signed = read_signed(SignedReport, content, "it", VerificationError, "")
    assert recover_report_signer(SignedReport(signed.report, signed.signature[:-1] + b"\0")) is None
    report(run, out)
    with pytest.raises(EvidenceError, match="no signature"):
        check_report(out)


def test_what_is_no_labs_result_is_refused_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    older = lab(tmp_path / "older")
    (older / "summary.json").write_text(json.dumps({"rows": []}))
    for folder in (older, tmp_path / "nowhere"):
        with pytest.raises(EvidenceError):
            report(run, tmp_path / "out", folder)
    with pytest.raises(EvidenceError, match="no result of a lab"):
        read_result(lab(tmp_path / "cut", bound=None))
    with pytest.raises(UsageError, match="lies in the run"):
        report(run, run / "report")
    assert not (tmp_path / "out").exists()
