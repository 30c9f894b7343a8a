"""Write the files with which a kit's processes are started on its host: a script, and a unit for systemd."""

import os
import pwd
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from fedward.files import make_folder, write_atomic
from fedward.settings import PROJECT_FILE

SCRIPT = "start.sh"

_SCRIPT = """\
#!/bin/bash
# Runs {what} until Ctrl-C: {explained}.
set -euo pipefail
exec {command} "$@"
"""
_UNIT = """\
# Copy to /etc/systemd/system/{unit}, then: systemctl enable --now {unit}
[Unit]
Description=Fedward: {what} of {kit}
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
TimeoutStopSec=60
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Started:
    """What the files of a kit start.

    Attributes:
        unit: Name of systemd's unit.
        what: For people, as in "the server's processes".
        explained: What these are.
        restart_s: How long systemd waits before it starts them again.
    """

    unit: str
    what: str
    explained: str
    restart_s: int


SERVER = Started(
    "fedward-server.service", "the server's processes", "the ledger's node, Flower's SuperLink and the gateway", 5
)
HOSPITAL = Started(
    "fedward-hospital.service",
    "the hospital's SuperNode",
    "it dials out to the server and listens on loopback only",
    10,
)
WITNESS = Started("fedward-witness.service", "the witness", "it dials out to the server, and attests to each round", 5)


def serve_arguments(kit: Path) -> tuple[str, ...]:
    """The command that serves a kit: program and arguments, by absolute paths."""
    return (sys.executable, str(PROJECT_FILE.parent / "main.py"), "serve", str(kit.resolve()))


def write_start_files(kit: Path, started: Started) -> tuple[Path, Path]:
    """Write script and unit into a kit.

    Args:
        kit: Its folder.
        started: What they start.

    Returns:
        Paths of the script and of the unit.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    command, script, unit = serve_arguments(kit), kit / SCRIPT, kit / "systemd" / started.unit
    make_folder(unit.parent)
    text = _SCRIPT.format(what=started.what, explained=started.explained, command=shlex.join(command))
    write_atomic(script, text.encode(), 0o755)
    text = _UNIT.format(
        unit=started.unit,
        what=started.what,
        kit=_escaped(str(kit.resolve())),
        user=_own_user(),
        command=" ".join(f'"{_escaped(part)}"' for part in command),
        restart=started.restart_s,
    )
    write_atomic(unit, text.encode())
    return script, unit


def _own_user() -> str:
    """The user that runs this: by name, or by number where the machine has no name for it (systemd takes either)."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _escaped(text: str) -> str:
    """A text as systemd reads it: percent signs and dollars stand for themselves."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return quoted.replace("%", "%%").replace("$", "$$")
