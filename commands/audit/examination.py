"""One audit for the command line: opens the evidence, prints lines or JSON, writes the page, gives the exit code."""

import re
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

from blockchain.audit.auditor import AuditResult, RoundCheck
from blockchain.audit.auditor import audit as check
from blockchain.audit.checks.ciphertexts import check_round
from blockchain.audit.following import RememberedRounds
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.bundle import BundleEvidence, open_evidence
from blockchain.audit.sources.node_evidence import NodeEvidence
from blockchain.audit.sources.node_rpc import NodeRpc
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.trust import TrustFile
from blockchain.ledger.encoding import check_address
from blockchain.ledger.node_url import shown_url
from blockchain.node.store_lock import is_in_use
from commands import console
from commands.audit.lines import render_lines, verdict
from commands.audit.page import render_page
from commands.audit.trust_source import TrustSource
from fedward.errors import ResourceError
from fedward.files import resolved, write_atomic
from fedward.folders.places import chain_file
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import announced_url
from fedward.progress import Progress
from fedward.types import Address


def examine(
    run: Path | None,
    *,
    trust: tuple[Path, ...],
    rpc: str | None,
    contract: str | None,
    follow: bool,
    witness: Path | None,
    as_json: bool,
    html: Path | None,
    every_line: bool,
) -> int:
    """Audit a run folder, a bundle or a node; print what was found, and write the page.

    Args:
        run: A run folder or bundle; None: the node alone.
        trust: Trust files that were handed in.
        rpc: URL of a node to read the chain from; None: the run folder's node where it runs, else the folder's files.
        contract: Address of the ledger there; None: what the run folder says.
        follow: Audit round by round, until the run ends.
        witness: Folder of keys to attest with.
        as_json: Print JSON rather than lines.
        html: Where the page goes; None: for a run folder into the working directory, under the run's name.
        every_line: Whether a hospital for which every check holds gets a line of its own.

    Returns:
        The exit code: 0 verified, 7 something contradicts, 8 evidence is missing.

    Raises:
        FedwardError: a run, bundle, trust file or node that was named cannot be read.
    """
    vouched = TrustFile.load_all(trust) if trust else None
    ledger = check_address(Address(contract), "contract") if contract else None
    if rpc is None and not follow and run is not None and (url := _serving(run)):
        console.note(f"The chain is in use by its node, and is read from there: {shown_url(url)}.")
        rpc = url
    if follow and run is not None:
        from commands.audit.follow import Following

        following = Following(SimulationFolder(run), rpc, ledger, vouched, witness, as_json, every_line)
        result = following.until_the_end()
        source = TrustSource.of(trust, run if trust or following.used_own_trust else None)
    elif rpc:
        result, source = _examine_node(rpc, ledger, run, vouched), TrustSource.of(trust, None)
    elif run is not None:
        result, source = audited(run, vouched), TrustSource.of(trust, run)
    if as_json:
        console.data(result.report.to_json() | {"trust": source.to_json()})
    else:
        for line in render_lines(result.report, every_line):
            console.out.print(line, soft_wrap=True)
        console.out.print(f"   {source.sentence}", soft_wrap=True, markup=False)
        console.out.print(verdict(result.report), soft_wrap=True)
    _write_page(result, source, run, html)
    return result.report.exit_code


def _serving(path: Path) -> str | None:
    """Where the node answers that holds a run folder's chain; None where none does."""
    return announced_url(SimulationFolder(path).ledger) if is_in_use(chain_file(path)) else None


def _examine_node(rpc: str, contract: Address | None, path: Path | None, trust: TrustFile | None) -> AuditResult:
    """Audit a running node, with ciphertexts from a run folder or bundle where one is named."""
    report, opened = Report(), list[RunEvidence | BundleEvidence]()
    if path is not None:
        with report.guarding(Step.EVIDENCE):
            opened.append(open_evidence(path))
    with ExitStack() as open_until, closing(NodeRpc(rpc)) as asked, console.bar("Auditing") as progress:
        for each in opened:
            open_until.enter_context(closing(each))
        ledger = contract or SimulationFolder(path or Path()).server.load_record().contract
        evidence = NodeEvidence(asked, ledger, opened[0] if opened else None, trust)
        result = check(evidence, trust, progress, RememberedRounds())
    result.report.lines.extend(report.lines)
    return result


def audited(
    path: Path,
    trust: TrustFile | None,
    check_ciphertexts: RoundCheck = check_round,
    progress: Progress | None = None,
) -> AuditResult:
    """Audit a run folder or bundle; if it cannot be opened, a line of step 1 says so.

    Args:
        path: The folder or file.
        trust: What hospitals vouch for; None: a run folder's own trust file is taken, where it has one.
        check_ciphertexts: Checks a round's ciphertexts.
        progress: Told how far it is; None: a bar on the terminal is.
    """
    report, opened = Report(), list[RunEvidence | BundleEvidence]()
    with report.guarding(Step.EVIDENCE):
        opened.append(open_evidence(path))
    if not opened:
        return AuditResult(str(path), report)
    if trust is None and path.is_dir():
        with report.guarding(Step.CHECKPOINTS):
            trust = _own_trust(path)
    told = nullcontext(progress) if progress else console.bar("Auditing")
    with closing(opened[0]) as evidence, told as report_progress:
        result = check(evidence, trust, report_progress, check_ciphertexts)
    result.report.lines.extend(report.lines)
    return result


def _own_trust(run: Path) -> TrustFile | None:
    """The trust file in a run's folder: it reveals accidental damage, but nothing that the run's maker invented."""
    path = run / "trust.json"
    if not path.exists():
        return None
    return TrustFile.load(path)


def _plain_name(run: Path) -> str:
    """The name of a folder, of letters, digits, dots and hyphens only."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", resolved(run).name).strip(".-") or "run"


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or something below it."""
    return resolved(path).is_relative_to(resolved(folder))


def _write_page(result: AuditResult, source: TrustSource, run: Path | None, html: Path | None) -> None:
    """Write the page, where asked for or where a run folder was audited; if that fails, findings still count.

    Without --html the page is never written into the audited folder, which is evidence and may be another party's.
    """
    path = html or (Path(f"audit-{_plain_name(run)}.html") if run and run.is_dir() else None)
    if path is None:
        return
    if html is None and run is not None and _lies_in(Path.cwd(), run):
        console.note("No page was written, for the working directory is a part of what was audited: use --html FILE.")
        return
    try:
        write_atomic(path, render_page(result, source).encode())
    except ResourceError as error:
        if html and result.report.exit_code == 0:
            raise
        console.warn(f"The page was not written. {error}")
        return
    console.note(f"Page: {path}")
