"""The committed artifact is what the committed sources compile to, and the Python knows how to read it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.encoding import MODES, UNITS
from blockchain.ledger.ledger import RoundPhase

pytestmark = pytest.mark.slow

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"


@pytest.fixture
def node_js() -> str:
    program = shutil.which("node")
    missing = "Node.js" if program is None else "contracts/node_modules (run npm ci in contracts/)"
    if program is None or not (CONTRACTS / "node_modules" / "solc").is_dir():
        if os.environ.get("FEDWARD_NO_SKIPS") == "1":
            pytest.fail(f"{missing} is missing, and nothing may be skipped here")
        pytest.skip(f"{missing} is not installed")
    return program


@pytest.mark.node
def test_the_sources_compile_to_the_artifact(node_js: str) -> None:
    checked = subprocess.run([node_js, "compile.mjs", "--check"], cwd=CONTRACTS, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.node
def test_a_changed_source_is_noticed(node_js: str, tmp_path: Path) -> None:
    for name in ("UpdateLedger.sol", "IUpdateLedger.sol", "compile.mjs", "package.json"):
        shutil.copy(CONTRACTS / name, tmp_path)
    shutil.copytree(CONTRACTS / "artifacts", tmp_path / "artifacts")
    (tmp_path / "node_modules").symlink_to(CONTRACTS / "node_modules")
    source = tmp_path / "UpdateLedger.sol"
    source.write_text(source.read_text().replace("if (votes >= ", "if (votes > "))
    source.write_text(source.read_text().replace("// ----", "// ---- changed"))
    checked = subprocess.run([node_js, "compile.mjs", "--check"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 1
    assert "is not what the sources compile to" in checked.stderr


@pytest.mark.node
def test_solhint_finds_nothing(node_js: str) -> None:
    solhint = CONTRACTS / "node_modules" / "solhint" / "solhint.js"
    linted = subprocess.run(
        [node_js, solhint, "--disc", "--max-warnings", "0", "UpdateLedger.sol", "IUpdateLedger.sol"],
        cwd=CONTRACTS,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout


def test_the_artifact_names_compiler_and_settings() -> None:
    content = json.loads((CONTRACTS / "artifacts" / "UpdateLedger.json").read_text())
    package = json.loads((CONTRACTS / "package.json").read_text())
    assert content["compiler"].startswith(package["dependencies"]["solc"] + "+")
    assert content["settings"]["metadata"] == {"bytecodeHash": "none", "appendCBOR": False}
    assert content["settings"]["evmVersion"] == "cancun"


def test_no_registry_address_is_committed() -> None:
    lock = (CONTRACTS / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "omit-lockfile-registry-resolved=true" in (CONTRACTS / ".npmrc").read_text()


def test_every_event_of_ours_carries_the_ledger_head() -> None:
    inherited = {"RoleAdminChanged", "RoleGranted", "RoleRevoked", "EIP712DomainChanged"}
    events = {entry["name"] for entry in load_artifact().abi if entry["type"] == "event"}
    assert {shape.name for shape in load_artifact().events().values()} == events - inherited
    for shape in load_artifact().events().values():
        assert shape.fields[-1] == ("ledgerHead", "bytes32", False)


def test_enumerations_are_those_of_the_contract() -> None:
    source = (CONTRACTS / "IUpdateLedger.sol").read_text()
    phases = source.split("enum Phase {")[1].split("}")[0].replace(",", " ").split()
    assert phases == ["None", *(phase.name.capitalize() for phase in RoundPhase)]
    assert [phase.value for phase in RoundPhase] == [1, 2, 3, 4, 5]
    for names in (MODES, UNITS):
        assert ", ".join(f"{code} {name}" for code, name in enumerate(names)) + "." in source


def test_an_unknown_or_broken_error_has_no_name() -> None:
    artifact = load_artifact()
    assert artifact.describe_error(b"") == ("", "")
    assert artifact.describe_error(b"\x01\x02\x03\x04") == ("", "")
    assert artifact.describe_error(keccak(text="NotOnRoster(address)")[:4] + b"\x01") == ("", "")
