"""What starts a hospital's SuperNode: whole paths, whatever they are called, and the restart delay."""

import os
import shlex
import sys
from pathlib import Path

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
