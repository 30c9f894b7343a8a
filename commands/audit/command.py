"""Options of `main.py audit`."""

from pathlib import Path
from typing import Annotated

import typer

from fedward import entry
from fedward.errors import EvidenceError, UsageError


def audit(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_OR_BUNDLE",
            help="A run folder, or what `export` made of one; beside --rpc: where ciphertexts are.",
        ),
    ] = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option(help="A hospital's trust file; repeatable. Default for a run folder: its own trust.json."),
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
        Path | None,
        typer.Option(help="Where to write the page; default for a run folder: audit-RUN.html, here."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what holds for every single hospital too.")
    ] = False,
) -> None:
    """Verify a ledger: exit code 0 verified, 7 something contradicts, 8 evidence is missing."""
    _check_usage(run, rpc, contract, follow, witness)
    if run is not None and not run.exists():
        raise EvidenceError(f"There is no file or folder {run}.", "Name a run folder or an exported bundle.")
    from commands.audit.examination import examine

    if not follow:
        entry.outlive_reader()
    code = examine(
        run,
        trust=tuple(trust or ()),
        rpc=rpc,
        contract=contract,
        follow=follow,
        witness=witness,
        as_json=as_json,
        html=html,
        every_line=verbose,
    )
    raise typer.Exit(code)


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
