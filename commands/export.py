"""`main.py export`: a run's evidence in one file, for an auditor to take home."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from commands import console
from commands.tracking.tracking import Tracker, write_to_tracker
from fedward.errors import EvidenceError, UsageError


def export(
    run: Annotated[Path, typer.Argument(help="A run folder whose node is stopped; of --report: also a kit.")],
    out: Annotated[
        Path | None, typer.Option(help="The file to make; of TensorBoard: the folder, by default in the run's.")
    ] = None,
    with_ciphertexts: Annotated[
        bool, typer.Option("--with-ciphertexts", help="Put the encrypted updates in, so that they can be added again.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write the page that a run has at its end, report.html, and no evidence.")
    ] = False,
    tracking: Annotated[
        Tracker | None,
        typer.Option(help="Write settings and figures there, and no evidence; also while the run goes on."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put a run's ledger, claims and checkpoints into one file that can be audited anywhere.

    With --report: its figures, model card and ledger entries as one page for people. With --tracking: its settings and
    figures for TensorBoard or MLflow; what is there of the run already is not doubled.
    """
    from commands.study.kits import kit_or_none
    from fedward.folders.places import record_file

    if not record_file(run).exists() and not (report and kit_or_none(run)):
        raise EvidenceError(f"{run} is not a run folder: it has no server/run.json.", "Name the folder of a run.")
    if tracking:
        _export_tracking(run, tracking, out, other=report or with_ciphertexts, as_json=as_json)
        return
    if out is None:
        raise UsageError("There is no file to write to.", "Name it by --out.")
    if report:
        if with_ciphertexts:
            raise UsageError("A report has no ciphertexts.", "Give --report or --with-ciphertexts.")
        _export_report(run, out, as_json)
        return
    _export_evidence(run, out, with_ciphertexts, as_json)


def _export_evidence(run: Path, out: Path, with_ciphertexts: bool, as_json: bool) -> None:
    """Write a run's bundle, and say what is in it."""
    from blockchain.audit.sources.bundle import write_bundle
    from blockchain.audit.sources.run_evidence import RunEvidence

    if with_ciphertexts:
        console.warn(
            "The bundle has every hospital's encrypted updates inside. Their keys are forgotten after each round; "
            "still, hand it only to those who must add the updates again."
        )
    evidence = RunEvidence(run)
    facts = write_bundle(evidence, out, with_ciphertexts)
    if not (evidence.record().settings or {}).get("metrics", {}).get("encrypted"):
        console.note(
            "The bundle has every hospital's validation counts inside, for its votes name them: they tell the score of "
            "each validation image, without its name."
        )
    if facts.absent:
        console.warn(f"{facts.absent} ciphertexts are no longer in the run folder, so they are not in the bundle.")
    shown = {
        "bundle": str(out),
        **_size_and_digest(out),
        "blocks": facts.blocks,
        "checkpoints": facts.checkpoints,
        "ciphertexts": facts.ciphertexts,
        "ciphertexts_absent": facts.absent,
    }
    _tell(shown, as_json)


def _export_report(run: Path, out: Path, as_json: bool) -> None:
    """Write a finished run's report anew."""
    from commands.report.writing import write_report

    write_report(run, out)
    _tell({"report": str(out), **_size_and_digest(out)}, as_json)


def _export_tracking(run: Path, tracker: Tracker, out: Path | None, *, other: bool, as_json: bool) -> None:
    """Write a run's settings and figures to a tracker, or what is missing there."""
    if other:
        raise UsageError("A tracker gets figures only.", "Give --tracking without --report and --with-ciphertexts.")
    if tracker == "mlflow" and out:
        raise UsageError("MLflow knows itself where it writes to.", "Leave --out out, and set MLFLOW_TRACKING_URI.")
    _tell({"tracker": tracker, "written_to": write_to_tracker(tracker, run, out)}, as_json)


def _size_and_digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _tell(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.data(shown)
        return
    for name, value in shown.items():
        console.out.print(f"{name.replace('_', ' '):18} {value}", markup=False, soft_wrap=True)
