"""`main.py audit`: verify a run, a bundle or a running node, without any key."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from blockchain.audit.auditor import AuditResult, CheckedEvidence
from blockchain.audit.auditor import audit as examine
from blockchain.audit.following import RememberedRounds
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.bundle import BundleEvidence, open_evidence
from blockchain.audit.sources.node_evidence import NodeEvidence
from blockchain.audit.sources.node_rpc import NodeRpc
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.trust import TrustFile
from blockchain.ledger.encoding import check_address
from commands import console
from commands.audit.follow import Following
from commands.audit.lines import render_lines, verdict
from commands.audit.page import render_page
from commands.audit.trust_source import TrustSource
from fedward.errors import EvidenceError, ResourceError, UsageError
from fedward.files import write_atomic
from fedward.folders.run import RunFolder
from fedward.types import Address


def audit(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_OR_BUNDLE",
            help="A run folder, or what `export` made of one; beside --rpc: where ciphertexts are.",
        ),
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="Trust file from a hospital; default for a run folder: its own trust.json.")
    ] = None,
    rpc: Annotated[str | None, typer.Option(metavar="URL", help="Read the chain from a running node.")] = None,
    contract: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="With --rpc: the ledger; default for a run folder: its own.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Audit a running run round by round, until it ends or Ctrl-C.")
    ] = False,
    witness: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --follow: keys to attest with; default: the run's witness, where its ledger requires one.",
        ),
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
    _check_usage(run, rpc, contract, follow, witness)
    if run is not None and not run.exists():
        raise EvidenceError(f"There is no file or folder {run}.", "Name a run folder or an exported bundle.")
    vouched = TrustFile.load(trust) if trust else None
    ledger = check_address(Address(contract), "contract") if contract else None
    if follow and run is not None:
        following = Following(RunFolder(run), rpc, ledger, vouched, witness, as_json, verbose)
        result = following.until_the_end()
        source = TrustSource.of(trust, run if trust or following.used_own_trust else None)
    elif rpc:
        result, source = _examine_node(rpc, ledger, run, vouched), TrustSource.of(trust, None)
    elif run is not None:
        result, source = _examine(run, vouched), TrustSource.of(trust, run)
    if as_json:
        console.data(result.report.to_json() | {"trust": source.to_json()})
    else:
        for line in render_lines(result.report, verbose):
            console.out.print(line, soft_wrap=True)
        console.out.print(f"   {source.sentence}", soft_wrap=True, markup=False)
        console.out.print(verdict(result.report), soft_wrap=True)
    _write_page(result, source, run, html)
    raise typer.Exit(result.report.exit_code)


def _check_usage(run: Path | None, rpc: str | None, contract: str | None, follow: bool, witness: Path | None) -> None:
    """Refuse options that do not go together."""
    if run is None and rpc is None:
        raise UsageError("Nothing was named to audit.", "Give a run folder, a bundle, or --rpc and --contract.")
    if contract and not rpc:
        raise UsageError("--contract is for a node.", "Give --rpc as well.")
    if rpc and contract is None and (run is None or not run.is_dir()):
        raise UsageError(
            "A node does not say which contract the ledger is.", "Give --contract, or name the run folder."
        )
    if follow and (run is None or not run.is_dir()):
        raise UsageError("--follow needs the folder of a run.", "Name it.")
    if witness and not follow:
        raise UsageError("A witness attests to rounds while they run.", "Give --follow as well.")


def _examine_node(rpc: str, contract: Address | None, path: Path | None, trust: TrustFile | None) -> AuditResult:
    """Audit a running node, with ciphertexts from a run folder or bundle where one is named."""
    report, opened = Report(), list[RunEvidence | BundleEvidence]()
    if path is not None:
        with report.guarding(Step.EVIDENCE):
            opened.append(open_evidence(path))
    with closing(NodeRpc(rpc)) as asked, console.bar("Auditing") as progress:
        ledger = contract or RunFolder(path or Path()).load_record().contract
        evidence = NodeEvidence(asked, ledger, opened[0] if opened else None, trust)
        result = examine(evidence, trust, progress, RememberedRounds())
    result.report.lines.extend(report.lines)
    return result


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
    return TrustFile.load(path)


def _write_page(result: AuditResult, source: TrustSource, run: Path | None, html: Path | None) -> None:
    """Write the page, where one is asked for or the run folder takes it; trouble with it hides no finding."""
    path = html or (run / "report.html" if run and run.is_dir() else None)
    if path is None:
        return
    try:
        write_atomic(path, render_page(result, source).encode())
    except ResourceError as error:
        if html and result.report.exit_code == 0:
            raise
        console.warn(f"The page was not written. {error}")
        return
    console.note(f"Page: {path}")
