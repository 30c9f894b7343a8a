"""`--help` answers at once: it imports none of the libraries that take seconds, and no command's work."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
# Runs command lines to their ends, each in a process of its own: a fork of one that has imported main.py alone, for
# that is what every command begins with. Prints for each what it printed, how it ended, and what was imported by then.
PROBE = """
import contextlib, io, json, os, sys
sys.argv[0] = "main.py"
import main
for arguments in json.loads(sys.stdin.read()):
    sys.stdout.flush()
    if os.fork() == 0:
        sys.argv[1:] = arguments
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                main.main()
        except SystemExit as ended:
            code = ended.code
        print(json.dumps([printed.getvalue(), code or 0, sorted(sys.modules)]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""
NAMES = sorted(typer.main.get_command(main.app).commands)  # type: ignore[attr-defined]
HELPS = [(), *((name,) for name in NAMES), ("keys", "show"), ("lab", "backdoor")]


@dataclass(frozen=True)
class Probed:
    """How a command line ended.

    Attributes:
        printed: On stdout.
        code: Its exit code.
        modules: What had been imported by then.
    """

    printed: str
    code: int
    modules: set[str]


def probed(*lines: Sequence[str]) -> list[Probed]:
    """How command lines end, each run in a process of its own."""
    command = [sys.executable, "-c", PROBE]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(lines), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(lines), done.stderr
    return [Probed(printed, code, set(modules)) for printed, code, modules in answers]


@pytest.fixture(scope="module")
def helps() -> dict[tuple[str, ...], Probed]:
    return dict(zip(HELPS, probed(*([*line, "--help"] for line in HELPS)), strict=True))


@pytest.mark.parametrize("arguments", HELPS, ids=" ".join)
def test_help_imports_nothing_slow(arguments: tuple[str, ...], helps: dict[tuple[str, ...], Probed]) -> None:
    found = helps[arguments]
    assert found.code == 0
    assert "Usage: main.py" in found.printed
    assert not {name.partition(".")[0] for name in found.modules} & SLOW
    assert not {
        name for name in found.modules if name.startswith(("blockchain.ledger", "blockchain.audit", "fedward.fold"))
    }


def test_the_probe_sees_what_a_command_imports_when_it_runs() -> None:
    (found,) = probed(["info", "--json"])
    assert found.printed.startswith("{")
    assert {"numpy", "commands.info.sheet"} <= found.modules
    # what the settings are needs no sums of privacy, no model and no ledger
    assert not {name.partition(".")[0] for name in found.modules} & (SLOW - {"numpy"})


@pytest.mark.slow
def test_an_audit_of_a_folder_or_bundle_imports_no_web3(tmp_path: Path) -> None:
    """What is no run is found wanting only after all that an audit imports was imported."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "run.json").write_text(json.dumps({"format": FORMAT}))
    page = str(tmp_path / "page.html")
    (found,) = probed(["audit", str(tmp_path), "--html", page])
    assert found.code == VerificationError.exit_code
    assert "not verified: step 1 evidence" in found.printed
    assert {"blockchain.audit.auditor", "blockchain.audit.checks.replay", "eth_account"} <= found.modules
    assert not found.modules & {"web3", "scipy", "sklearn", "pandas", "tensorflow"}


def test_all_commands_are_probed() -> None:
    names = {
        "audit",
        "budget",
        "compare",
        "evaluate",
        "export",
        "info",
        "keys",
        "lab",
        "node",
        "predict",
        "protect",
        "prune",
        "restore",
        "screen",
        "simulate",
        "unseal",
        "view",
    }
    names |= {"admit", "agree", "approve", "conclude", "doctor", "enroll", "hosts-demo", "provision", "revoke", "serve"}
    names |= {"enroll-witness", "join-witness", "start-study", "status", "stop"}
    assert {name for (name,) in HELPS[1:-2]} == names
