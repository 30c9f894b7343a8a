"""`--help` answers at once: it imports none of the libraries that take seconds, and no command's work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from source_tree import ROOT

import main
from fedward.errors import VerificationError
from fedward.folders.format import FORMAT

SLOW = {
    "tensorflow", "keras", "scipy", "sklearn", "pandas", "dp_accounting", "web3", "eth_account", "eth", "Pyfhel",
    "flwr", "ray", "pydicom", "PIL", "matplotlib", "jinja2", "cryptography", "numpy",
}  # fmt: skip
# Runs a command line to its end in a process of its own, and prints what was imported by then.
PROBE = """
import sys
sys.argv[0] = "main.py"
import main
try:
    main.main()
except SystemExit as ended:
    print("ended", ended.code, file=sys.stderr)
print(*sorted(sys.modules), file=sys.stderr)
"""
NAMES = sorted(typer.main.get_command(main.app).commands)  # type: ignore[attr-defined]
HELPS = [(), *((name,) for name in NAMES), ("keys", "show"), ("lab", "backdoor")]


def imported_by(*arguments: str, code: int = 0) -> tuple[str, set[str]]:
    """What a command line printed, and the modules that it had imported when it ended with this exit code."""
    command = [sys.executable, "-c", PROBE, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *_, ended, modules = done.stderr.splitlines()
    assert ended in ((f"ended {code}", "ended None") if code == 0 else (f"ended {code}",)), done.stderr
    return done.stdout, set(modules.split())


@pytest.mark.parametrize("arguments", HELPS, ids=" ".join)
def test_help_imports_nothing_slow(arguments: tuple[str, ...]) -> None:
    printed, modules = imported_by(*arguments, "--help")
    assert "Usage: main.py" in printed
    assert not {name.partition(".")[0] for name in modules} & SLOW
    assert not {name for name in modules if name.startswith(("blockchain.ledger", "blockchain.audit", "fedward.fold"))}


def test_the_probe_sees_what_a_command_imports_when_it_runs() -> None:
    printed, modules = imported_by("info", "--json")
    assert printed.startswith("{")
    assert {"numpy", "commands.info.sheet"} <= modules
    # what the settings are needs no sums of privacy, no model and no ledger
    assert not {name.partition(".")[0] for name in modules} & (SLOW - {"numpy"})


def test_an_audit_of_a_folder_or_bundle_imports_no_web3(tmp_path: Path) -> None:
    """What is no run is found wanting only after all that an audit imports was imported."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "run.json").write_text(json.dumps({"format": FORMAT}))
    page = str(tmp_path / "page.html")
    printed, modules = imported_by("audit", str(tmp_path), "--html", page, code=VerificationError.exit_code)
    assert "not verified: step 1 evidence" in printed
    assert {"blockchain.audit.auditor", "blockchain.audit.checks.replay", "eth_account"} <= modules
    assert not modules & {"web3", "scipy", "sklearn", "pandas", "tensorflow"}


def test_all_commands_are_probed() -> None:
    names = {
        "audit",
        "budget",
        "evaluate",
        "export",
        "info",
        "keys",
        "lab",
        "node",
        "protect",
        "prune",
        "restore",
        "simulate",
        "unseal",
    }
    names |= {"admit", "agree", "approve", "conclude", "doctor", "enroll", "hosts-demo", "provision", "revoke", "serve"}
    names |= {"enroll-witness", "join-witness", "start-study", "status", "stop"}
    assert {name for (name,) in HELPS[1:-2]} == names
