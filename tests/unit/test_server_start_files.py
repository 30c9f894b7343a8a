"""The server's start script and unit, and how its ServerApp finds folder and ledger."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fedward.errors import LedgerError, UsageError
from fedward.folders.server import SERVER_FOLDER, ServerFolder
from fedward.folders.whereabouts import announced
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.server_processes import default_bind
from fedward.hosts.start_files import SERVER, write_start_files
from fedward.settings import PROJECT_FILE

WORST = "100% of $HOME"
NAMES = ["kit", "a kit with spaces", WORST]


@pytest.mark.slow
def test_the_script_runs_serve_from_anywhere(tmp_path: Path) -> None:
    """The kit is empty, which `serve` says: the script has got there, by absolute paths, with what is behind it."""
    kit = ServerKit(tmp_path / WORST)
    script, _ = write_start_files(kit.path, SERVER)
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    done = subprocess.run([script, "--bind", "127.0.0.1"], cwd="/", capture_output=True, text=True)
    assert done.returncode == UsageError.exit_code
    assert "is no server's kit" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_names_the_same_command(tmp_path: Path, name: str) -> None:
    kit = ServerKit(tmp_path / name)
    _, unit = write_start_files(kit.path, SERVER)
    settings = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] != "#")
    assert (settings["Restart"], settings["RestartSec"], settings["User"] != "") == ("always", "5", True)
    command = [part.replace("%%", "%").replace("$$", "$") for part in shlex.split(settings["ExecStart"])]
    assert command == [sys.executable, str(PROJECT_FILE.parent / "main.py"), "serve", str(kit.path.resolve())]


@pytest.mark.parametrize(
    ("host", "bind"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("::1", "::1"),
        ("fl.example.org", "0.0.0.0"),  # noqa: S104
        ("10.1.2.3", "0.0.0.0"),  # noqa: S104
        ("fd00::1", "::"),
    ],
)
def test_the_gateway_listens_to_others_unless_it_is_named_by_loopback(host: str, bind: str) -> None:
    assert default_bind(host) == bind


def test_a_server_is_told_its_folder_by_its_environment(tmp_path: Path) -> None:
    assert ServerFolder.own("/named", {SERVER_FOLDER: "/other"}).path == Path("/named")
    assert ServerFolder.own("", {SERVER_FOLDER: str(tmp_path)}).path == tmp_path
    with pytest.raises(UsageError, match="does not know its folder"):
        ServerFolder.own("", {})


def test_a_server_is_told_its_ledger_by_the_kit(tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path / "server")
    (tmp_path / "ledger").mkdir()
    with pytest.raises(LedgerError, match="is not running"):
        folder.ledger_url("")
    with announced(tmp_path / "ledger", "http://127.0.0.1:1/secret"):
        assert folder.ledger_url("") == "http://127.0.0.1:1/secret"
        assert folder.ledger_url("http://127.0.0.1:2") == "http://127.0.0.1:2"
