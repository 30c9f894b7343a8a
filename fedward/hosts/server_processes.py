"""Run the server's processes on its host: the ledger's node, Flower's SuperLink with ServerApps, and the gateway.

Only the gateway listens to others. Node and SuperLink listen on loopback, and answer only who reads the kit's files.
"""

import ipaddress
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn
from urllib.parse import urlsplit

from fedward.errors import UsageError
from fedward.files import make_folder
from fedward.flower import QUIET_AND_LOCAL
from fedward.folders.server import SERVER_FOLDER
from fedward.folders.whereabouts import announced_url
from fedward.hosts.loopback import HOST
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.superlink_access import SuperLinkAccess
from fedward.hosts.supervision import Part, Say, keep_running, listens
from fedward.settings import PROJECT_FILE

PartName = Literal["ledger", "superlink", "gateway"]

_HERE = Path(__file__)


def serve_server(
    kit: ServerKit,
    only: PartName | None = None,
    bind: str | None = None,
    say: Say = lambda line: print(line, file=sys.stderr, flush=True),
) -> NoReturn:
    """Run the server's processes until this process is interrupted.

    Args:
        kit: The server's.
        only: One of the parts; None: all of them.
        bind: IP address that the gateway listens on; None: all of this machine's, or loopback where the project's file
            names the server by it.
        say: Tells people what happens, a sentence at a time.

    Raises:
        UsageError: the kit is not complete, or another process serves it already.
        ResourceError: the disk is full.
        KeyboardInterrupt: on Ctrl-C, and on SIGTERM under `fedward.entry`; everything has been stopped then.

    Guarantees:
        1. However this process ends, none of these processes goes on.
    """
    project = kit.load_project()
    deployed = project.require_deployed()
    for path in (kit.certificate, kit.certificate_key, kit.authority):
        if not path.exists():
            raise UsageError(f"The kit {kit.path} has no {path.name}.", "Provision it, or restore it from a backup.")
    for folder in (kit.superlink, kit.logs):
        make_folder(folder)
    parts: dict[PartName, Callable[[], Part]] = {
        "ledger": lambda: _ledger(kit, deployed.chain_id),
        "superlink": lambda: _superlink(kit),
        "gateway": lambda: _gateway(kit, bind or default_bind(project.server.host), project.server.port),
    }
    chosen = [make() for name, make in parts.items() if only in (None, name)]
    keep_running(chosen, kit.superlink.resolve(), kit.logs.resolve(), say)


def default_bind(host: str) -> str:
    """Which address the gateway listens on, where hospitals reach it by a name or address."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return "0.0.0.0"  # noqa: S104 - it is meant for others, and lets in only whom the administrator admitted
    if address.is_loopback:
        return str(address)
    return "0.0.0.0" if address.version == 4 else "::"  # noqa: S104 - as above


def _ledger(kit: ServerKit, chain_id: int) -> Part:
    """The embedded node, of which `node.json` in its folder tells where it answers."""
    command = [sys.executable, "-P", "-m", "blockchain.node.kept_node", str(kit.ledger.resolve()), str(chain_id)]

    def ready() -> bool:
        port = urlsplit(announced_url(kit.ledger) or "").port
        return port is not None and listens(HOST, port)

    return Part("ledger", (command,), _environment(kit, finds_fedward=True), ready, "answers on loopback")


def _superlink(kit: ServerKit) -> Part:
    """Flower's SuperLink, and the launcher that starts a ServerApp for each run."""
    access = SuperLinkAccess(kit)
    access.prepare()
    port, authority = access.port(), str(kit.authority.resolve())
    link = [sys.executable, "-P", str(_HERE.with_name("superlink_process.py")), str(access.control.resolve())]
    link += ["--host", HOST, "--port", str(port), "--enable-supernode-auth", "--ssl-ca-certfile", authority]
    link += ["--ssl-certfile", str(kit.certificate.resolve()), "--ssl-keyfile", str(kit.certificate_key.resolve())]
    link += ["--database", str(kit.superlink.resolve() / "state.db"), "--disable-runtime-dependency-installation"]
    link += ["--isolation", "process", "--superexec-auth-secret-file", str(access.launcher.resolve())]
    launcher = [sys.executable, "-P", str(_HERE.with_name("launcher_process.py")), "server"]
    launcher += [f"{HOST}:{port}", authority, str(access.launcher.resolve())]
    environment = _environment(kit, finds_fedward=False)
    return Part("superlink", (link, launcher), environment, lambda: listens(HOST, port), "answers on loopback")


def _gateway(kit: ServerKit, bind: str, port: int) -> Part:
    """What hospitals reach."""
    command = [sys.executable, "-P", "-m", "fedward.hosts.gateway_process", str(kit.path.resolve()), bind]
    reached = {"0.0.0.0": HOST, "::": "::1"}.get(bind, bind)  # noqa: S104 - compared, not bound
    shown = f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}"
    environment = _environment(kit, finds_fedward=True)
    return Part("gateway", (command,), environment, lambda: listens(reached, port), f"listens on {shown}")


def _environment(kit: ServerKit, *, finds_fedward: bool) -> dict[str, str]:
    """The environment of the server's processes, which call nobody outside of this machine.

    Args:
        kit: The server's.
        finds_fedward: Whether the process finds Fedward's modules here. ServerApps find those of their bundle only.
    """
    scratch = kit.superlink.resolve() / "tmp"
    make_folder(scratch)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and not name.lower().endswith("_proxy")
    }
    own = {
        "FLWR_HOME": str(kit.superlink.resolve()),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
        "TMPDIR": str(scratch),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        SERVER_FOLDER: str(kit.study.path.resolve()),
    }
    return kept | QUIET_AND_LOCAL | own | ({"PYTHONPATH": str(PROJECT_FILE.parent)} if finds_fedward else {})
