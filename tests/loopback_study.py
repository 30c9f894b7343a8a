"""A real SuperLink on loopback with TLS and authentication, and a hospital's kit that may use it; with a tiny app."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedward import settings as setting
from fedward.files import make_folder, sha256, write_atomic
from fedward.flower import QUIET_AND_LOCAL, stop_left_over
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.loopback import HOST, free_port, write_certificate
from fedward.hosts.project import Deployed, Place, Project, Study
from fedward.tables import Scalar, nested, run_tables
from fedward.types import Address, HospitalId

Found = TypeVar("Found")

BIN = Path(sys.executable).parent
NOBODY = Address("0x" + "00" * 20)

# The app writes what happened into the folder that the run's settings name: which is not among the approved ones.
CLIENT = """
import os
import random
import sys
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query()
def answer(message, context):
    (Path(context.run_config["run.folder"]) / "ran").touch()
    found = {"folder": str(context.node_config.get("hospital-folder")), "path": "\\n".join(sys.path)}
    found |= {"process": os.getpid(), "parent": os.getppid(), "numpy": np.random.random(), "python": random.random()}
    return Message(RecordDict({"found": ConfigRecord(found)}), reply_to=message)
"""
SERVER = """
import json
import time
from pathlib import Path

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.1)
    ids = list(grid.push_messages([Message(RecordDict(), nodes[0], MessageType.QUERY)]))
    while not (replies := list(grid.pull_messages(ids))):
        time.sleep(0.1)
    reply = replies[0]
    if reply.has_error():
        told = {"error": reply.error.code, "reason": reply.error.reason}
    else:
        told = dict(reply.content["found"])
    folder = Path(context.run_config["run.folder"])
    (folder / "replies.part").write_text(json.dumps(told))
    (folder / "replies.part").rename(folder / "replies.json")
"""


@dataclass
class Link:
    """A running SuperLink.

    Attributes:
        home: Flower's folder, with a configuration that names the SuperLink `study`.
        port: Where it listens on loopback.
        certificate: PEM; its own, which it signs itself.
        process: Its process.
    """

    home: Path
    port: int
    certificate: Path
    process: "subprocess.Popen[bytes]"

    def flwr(self, *arguments: str) -> str:
        """Run Flower's command; returns what it prints."""
        command = [str(BIN / "flwr"), *arguments]
        done = subprocess.run(command, env=environment(self.home), cwd=self.home, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def admit(self, kit: HospitalKit) -> None:
        """Let a hospital's SuperNode in."""
        self.flwr("supernode", "register", str(kit.transport_public), "study")

    def run(self, app: Path, **changed: Scalar) -> Path:
        """Start a run of an app with other settings than its own; returns the folder where it writes to."""
        folder = Path(f"{app}-run-{time.monotonic_ns()}")
        folder.mkdir()
        config = {"run.folder": str(folder), **changed}
        given = Path(f"{folder}.toml")
        given.write_text(tomli_w.dumps(nested(run_tables(config))))
        self.flwr("run", str(app), "study", "--run-config", str(given))
        return folder


def environment(home: Path) -> dict[str, str]:
    quiet = {name: value for name, value in QUIET_AND_LOCAL.items() if name.startswith("FLWR_")}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **quiet, "FLWR_HOME": str(home), "PATH": path}


@contextmanager
def superlink(home: Path) -> Iterator[Link]:
    """Start a SuperLink, and stop it with all that it started."""
    make_folder(home)
    certificate, key = write_certificate(home)
    port = free_port()
    connection = {"address": f"{HOST}:{port}", "root-certificates": str(certificate)}
    (home / "config.toml").write_text(tomli_w.dumps({"superlink": {"default": "study", "study": connection}}))
    command = [str(BIN / "flower-superlink"), "--host", HOST, "--port", str(port), "--enable-supernode-auth"]
    command += ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key), "--ssl-ca-certfile", str(certificate)]
    command += ["--database", str(home / "state.db"), "--disable-runtime-dependency-installation"]
    with (home / "superlink.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment(home), cwd=home, stdout=log, stderr=log)
    try:
        wait_for(lambda: _answers(port), "the SuperLink")
        yield Link(home, port, certificate, process)
    finally:
        process.terminate()
        stop_left_over(home)
        process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def wait_for(what: Callable[[], Found], name: str, timeout_s: float = 60.0) -> Found:
    """Wait until a function returns something; returns that."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {name}"
        time.sleep(0.1)
    return found


def enrolled_kit(path: Path, link: Link, settings: setting.Settings) -> HospitalKit:
    """A hospital's kit with what its SuperNode needs; nothing is approved yet."""
    kit = HospitalKit(path)
    for folder in (kit.path, kit.authority.parent, kit.transport_key.parent, kit.hospital.path):
        make_folder(folder)
    certificate = link.certificate.read_text()
    deployed = Deployed(NOBODY, 1, "0" * 64, settings.digest().hex(), "0" * 64, "0" * 64, certificate)
    study = Study("test", (HospitalId("a"), HospitalId("b")), ("x",), ("no", "yes"))
    Project(study, Place(HOST, link.port), settings, deployed).save(kit.project)
    write_atomic(kit.authority, certificate.encode())
    key = ec.generate_private_key(ec.SECP384R1())
    kinds = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    write_atomic(kit.transport_key, key.private_bytes(serialization.Encoding.PEM, *kinds), 0o600)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_atomic(kit.transport_public, public)
    return kit


def tiny_app(path: Path, client: str = CLIENT) -> Path:
    """An app with Fedward's settings, whose hospital writes a file when it runs."""
    path.mkdir()
    (path / "client.py").write_text(client)
    (path / "server.py").write_text(SERVER)
    app: dict[str, Any] = {"publisher": "fedward", "fab-include": ["client.py", "server.py"]}
    app |= {"components": {"serverapp": "server:app", "clientapp": "client:app"}}
    app["config"] = nested(setting.default_tables())
    project = {"name": "tiny", "version": "1.0.0", "description": "", "dependencies": []}
    content = {"project": project, "tool": {"flwr": {"app": app}}}
    (path / "pyproject.toml").write_text(tomli_w.dumps(content))
    return path


def built(app: Path, home: Path) -> bytes:
    """An app's bundle, as Flower ships it."""
    make_folder(home)
    folder = app.with_name(f"{app.name}-built-{time.monotonic_ns()}")
    folder.mkdir()
    command = [str(BIN / "flwr"), "build", "--app", str(app)]
    subprocess.run(command, cwd=folder, env=environment(home), check=True, capture_output=True)
    (bundle,) = folder.glob("*.fab")
    return bundle.read_bytes()


def digest(content: bytes) -> str:
    return sha256(content).hex()


def replies(folder: Path, timeout_s: float = 90.0) -> dict[str, object]:
    """What the server of a run was answered."""
    path = folder / "replies.json"
    wait_for(path.exists, f"replies in {folder}", timeout_s)
    found: dict[str, object] = json.loads(path.read_text())
    return found
