"""Write the files with which a hospital's host starts its SuperNode: a script, and a unit for systemd."""

import getpass
import shlex
import sys
from pathlib import Path

from fedward.files import make_folder, write_atomic
from fedward.hosts.hospital_kit import HospitalKit
from fedward.settings import PROJECT_FILE

SCRIPT, UNIT = "start.sh", "fedward-hospital.service"
# The server takes a SuperNode that crashed for running on, and refuses a second one for about a minute.
RESTART_S = 65

_SCRIPT = """\
#!/bin/sh
# Runs this hospital's SuperNode until Ctrl-C; it dials out to the server and listens on loopback only.
exec {command}
"""
_UNIT = """\
# Copy to /etc/systemd/system/{unit}, then: systemctl enable --now {unit}
[Unit]
Description=Fedward: the SuperNode of the hospital in {kit}
Wants=network-online.target
After=network-online.target

[Service]
User={user}
ExecStart={command}
Restart=always
RestartSec={restart}
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec=60
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


def write_start_files(kit: HospitalKit) -> tuple[Path, Path]:
    """Write script and unit into a hospital's kit.

    Returns:
        Paths of the script and of the unit.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    command = [sys.executable, str(PROJECT_FILE.parent / "main.py"), "serve", str(kit.path.resolve())]
    script, unit = kit.path / SCRIPT, kit.path / "systemd" / UNIT
    make_folder(unit.parent)
    write_atomic(script, _SCRIPT.format(command=shlex.join(command)).encode(), 0o755)
    text = _UNIT.format(
        unit=UNIT,
        kit=escaped(str(kit.path.resolve())),
        user=getpass.getuser(),
        command=" ".join(f'"{escaped(part)}"' for part in command),
        restart=RESTART_S,
    )
    write_atomic(unit, text.encode())
    return script, unit


def escaped(text: str) -> str:
    """A text as systemd reads it: percent signs and dollars stand for themselves."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return quoted.replace("%", "%%").replace("$", "$$")
