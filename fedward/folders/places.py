"""Paths of the parts of a run's folder that an audit reads; nothing is opened here."""

from pathlib import Path


def server_part(run: Path) -> Path:
    """The server's part of a run's folder.

    Runs that were made before the parties' folders were taken apart (ADR 19) have the server's files at the top, under
    the same names. They are still audited, exported and shown, and this is the only place that knows of them.
    """
    return run if (run / "run.json").exists() else run / "server"


def record_file(run: Path) -> Path:
    """The file in which the server describes the study."""
    return server_part(run) / "run.json"


def chain_file(run: Path) -> Path:
    """The store of the embedded node, which has the ledger."""
    return run / "ledger" / "chain.sqlite"


def hospitals_part(run: Path) -> Path:
    """One folder for each hospital, by its name."""
    return run / "hospitals"


def summary_file(run: Path) -> Path:
    """The summary that the run writes at its end."""
    return run / "summary.json"
