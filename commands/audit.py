"""`main.py audit`: verify a run or a bundle, offline and without any key."""

from pathlib import Path
from typing import Annotated

import typer

from blockchain.audit.auditor import AuditResult, CheckedEvidence
from blockchain.audit.auditor import audit as examine
from blockchain.audit.bundle import open_evidence
from blockchain.audit.report import Report, Step
from blockchain.trust import TrustFile
from commands import console
from commands.audit_lines import render_lines, verdict
from commands.audit_page import render_page
from fedward.errors import EvidenceError, ResourceError
from fedward.files import write_atomic


def audit(
    run: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="A run folder, or what `export` made of one.")],
    trust: Annotated[
        Path | None, typer.Option(help="Trust file from a hospital; default for a run folder: its own trust.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Where to write the page; default for a run folder: its report.html.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what holds for every single hospital too.")
    ] = False,
) -> None:
    """Verify a ledger: exit code 0 verified, 7 something contradicts, 8 evidence is missing."""
    if not run.exists():
        raise EvidenceError(f"There is no file or folder {run}.", "Name a run folder or an exported bundle.")
    vouched = TrustFile.load(trust) if trust else None
    result = _examine(run, vouched)
    if as_json:
        console.data(result.report.to_json())
    else:
        for line in render_lines(result.report, verbose):
            console.out.print(line, soft_wrap=True)
        console.out.print(verdict(result.report), soft_wrap=True)
    _write_page(result, run, html)
    raise typer.Exit(result.report.exit_code)


def _examine(path: Path, trust: TrustFile | None) -> AuditResult:
    """Open what was handed over and audit it; what cannot be opened ends as a line of step 1."""
    report, opened = Report(), list[CheckedEvidence]()
    with report.guarding(Step.EVIDENCE):
        opened.append(open_evidence(path))
    if not opened:
        return AuditResult(str(path), report)
    if trust is None and path.is_dir():
        with report.guarding(Step.CHECKPOINTS):
            trust = _own_trust(path)
    with console.bar("Auditing") as progress:
        result = examine(opened[0], trust, progress)
    result.report.lines.extend(report.lines)
    return result


def _own_trust(run: Path) -> TrustFile | None:
    """A run's own trust file: it finds what broke by itself, and nothing that whoever made the run invented."""
    path = run / "trust.json"
    if not path.exists():
        return None
    console.note(
        f"No --trust was given: {path} is used, which is the run's own word on itself. "
        "Ask a hospital for its trust file to find out whether this is the history that the hospitals saw."
    )
    return TrustFile.load(path)


def _write_page(result: AuditResult, run: Path, html: Path | None) -> None:
    """Write the page, where one is asked for or the run folder takes it; trouble with it hides no finding."""
    if html is None and not run.is_dir():
        return
    path = html or run / "report.html"
    try:
        write_atomic(path, render_page(result).encode())
    except ResourceError as error:
        if html and result.report.exit_code == 0:
            raise
        console.warn(f"The page was not written. {error}")
        return
    console.note(f"Page: {path}")
