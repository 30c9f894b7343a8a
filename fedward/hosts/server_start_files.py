"""Write the files with which the server's host starts its processes: a script, and a unit for systemd."""

import getpass
import shlex
from pathlib import Path

from fedward.files import make_folder, write_atomic
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.server_processes import serve_arguments
from fedward.hosts.start_files import escaped

SCRIPT, UNIT = "start.sh", "fedward-server.service"
RESTART_S = 5

_SCRIPT = """\
#!/bin/bash
# Runs the server's processes until Ctrl-C: the ledger's node, Flower's SuperLink and the gateway.
set -euo pipefail
exec {command} "$@"
"""
_UNIT = """\
# Copy to /etc/systemd/system/{unit}, then: systemctl enable --now {unit}
[Unit]
Description=Fedward: the server of the study in {kit}
Wants=network-online.target
After=network-online.target

[Service]
User={user}
ExecStart={command}
Restart=always
RestartSec={restart}
SuccessExitStatus=130
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec=30
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


def write_start_files(kit: ServerKit) -> tuple[Path, Path]:
    """Write script and unit into a server's kit.

    Returns:
        Paths of the script and of the unit.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    command = serve_arguments(kit)
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
