"""What travels to hospitals is code and the contract's interface: no key, no data, no run, no test."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from source_tree import ROOT, reached_from

from fedward.flower import QUIET_AND_LOCAL, stage_app
from fedward.settings import PROJECT_FILE

PRIVATE_FILES = (
    *("secret_key.ckks", "fedward/partition.npz", "blockchain/key.json", "runs/a/run.json", "tests/test_x.py"),
    *("contracts/artifacts/notes.txt", ".env", "main.py"),
)
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}  # nothing answers there


def allowed_files() -> set[str]:
    """What client and server import, found without the list of pyproject.toml, and the contract's interface."""
    code = {source.path for source in reached_from("client", "server")}
    return code | {"pyproject.toml", "contracts/artifacts/UpdateLedger.json"}


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage") / "fedward"
    stage_app(folder)
    return folder


def test_what_only_a_user_or_an_auditor_runs_stays_behind() -> None:
    """The check of the check: neither whole packages nor single modules travel because others beside them do."""
    folders = {Path(name).parent.as_posix() for name in allowed_files()}
    assert not folders & {"commands", "blockchain/audit", "blockchain/node", "blockchain/twin"}
    assert {"blockchain/ledger", "fedward/learning"} <= folders
    assert "fedward/figures/histograms.py" in allowed_files()
    assert "fedward/figures/plots.py" not in allowed_files()


def test_exactly_the_code_is_staged(staged: Path) -> None:
    files = {file.relative_to(staged).as_posix() for file in staged.rglob("*") if file.is_file()}
    assert files == allowed_files(), "mend fab-include in pyproject.toml"
    for name in files:
        assert (staged / name).read_bytes() == (ROOT / name).read_bytes()
    assert not any(file.is_symlink() for file in staged.rglob("*"))


@pytest.mark.slow
def test_flower_bundles_exactly_what_is_staged(staged: Path, tmp_path: Path) -> None:
    """By Flower's own builder, with a home of its own and no way out to a network."""
    environment = {**os.environ, **QUIET_AND_LOCAL, **OFFLINE, "FLWR_HOME": str(tmp_path / "home")}
    flwr = Path(sys.executable).parent / "flwr"
    command = [str(flwr), "build", "--app", str(staged)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (bundle,) = tmp_path.glob("*.fab")
    with zipfile.ZipFile(bundle) as archive:
        members = set(archive.namelist())
        assert archive.read("server.py") == (ROOT / "server.py").read_bytes()
    assert members == allowed_files() | {".info/CONTENT"}


def test_an_unlisted_file_beside_the_code_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout with a key, data, a run and notes in it."""
    checkout = tmp_path / "checkout"
    stage_app(checkout)
    for name in PRIVATE_FILES:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("private")
    monkeypatch.setattr("fedward.flower.PROJECT_FILE", checkout / PROJECT_FILE.name)
    stage_app(tmp_path / "app")
    staged = {file.relative_to(tmp_path / "app").as_posix() for file in (tmp_path / "app").rglob("*") if file.is_file()}
    assert staged == allowed_files()
