"""What starts a hospital's SuperNode: whole paths, whatever they are called, and the restart delay."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.start_files import HOSPITAL, write_start_files


def test_script_and_unit_name_this_kit(tmp_path: Path) -> None:
    kit = HospitalKit(tmp_path / "St. Mary's 100% $ave")
    kit.path.mkdir()
    script, unit = write_start_files(kit.path, HOSPITAL)
    assert os.access(script, os.X_OK)
    words = shlex.split(script.read_text().splitlines()[-1])
    assert words[0] == "exec"
    assert words[1] == sys.executable
    assert words[3:] == ["serve", str(kit.path), "$@"]
    text = unit.read_text()
    assert f"RestartSec={HOSPITAL.restart_s}" in text
    assert "100%% $$ave" in text


def test_the_unit_names_the_user_by_number_where_the_machine_has_no_name_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 61_001)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    _, unit = write_start_files(tmp_path / "kit", HOSPITAL)
    assert "\nUser=61001\n" in unit.read_text()
