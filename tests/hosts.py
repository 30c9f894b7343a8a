"""A study on separate hosts for tests: kits, processes, and where root may, each host's own network and user."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w
from host_users import HostUsers, may_be_others

from fedward.hosts.loopback import free_port
from fedward.hosts.spoken import spoken

ROOT = Path(__file__).resolve().parents[1]
HOSPITALS = ("north", "east", "south", "west")
READY_S = 180.0
# What prints the ledger's events, whole: where they stand, what they say.
EVENTS = """
import sys
from contextlib import closing
from pathlib import Path

from blockchain.ledger.ledger import Ledger
from fedward.folders.whereabouts import announced_url
from fedward.hosts.server_kit import ServerKit

kit = ServerKit(Path(sys.argv[1]))
deployed = kit.load_project().require_deployed()
with closing(Ledger.attach(announced_url(kit.ledger), deployed.contract, None, deployed.chain_id)) as ledger:
    for topics, data in ledger.raw_events():
        print((b"".join(topics) + data).hex())
"""
# How many of each host's folders this user can list.
READ = """
import contextlib, json, os, sys
found = {}
for name, places in json.loads(sys.argv[1]).items():
    found[name] = 0
    for place in places:
        with contextlib.suppress(PermissionError):
            os.listdir(place)
            found[name] += 1
print(json.dumps(found))
"""
IMAGES_OF_A_CLASS, IMAGE_SIZE = 160, 32


def may_make_namespaces() -> bool:
    """Whether this process can make network namespaces."""
    if os.geteuid() != 0:
        return False
    made = subprocess.run(["ip", "netns", "add", "fwtry"], capture_output=True)
    subprocess.run(["ip", "netns", "del", "fwtry"], capture_output=True)
    return made.returncode == 0


@dataclass
class Network:
    """A namespace for each host, all on one bridge in a namespace of its own; nothing in the machine's own."""

    name: str
    addresses: dict[str, str] = field(default_factory=dict)

    def make(self, hosts: Sequence[str]) -> None:
        """Make the bridge and the hosts, `10.77.0.1` for the first."""
        self._ip("netns", "add", self._space("hub"))
        self._in("hub", "ip", "link", "set", "lo", "up")
        self._in("hub", "ip", "link", "add", "bridge", "type", "bridge")
        self._in("hub", "ip", "link", "set", "bridge", "up")
        for index, host in enumerate(hosts, start=1):
            self._ip("netns", "add", self._space(host))
            self._in("hub", "ip", "link", "add", f"to{index}", "type", "veth", "peer", "name", "eth0", "netns",
                     self._space(host))  # fmt: skip
            self._in("hub", "ip", "link", "set", f"to{index}", "master", "bridge", "up")
            self.addresses[host] = f"10.77.0.{index}"
            self._in(host, "ip", "address", "add", f"{self.addresses[host]}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                self._in(host, "ip", "link", "set", device, "up")

    def cut(self, host: str, down: bool) -> None:
        """Cut a host's link, or join it again."""
        self._in(host, "ip", "link", "set", "eth0", "down" if down else "up")

    def remove(self) -> None:
        """Remove all namespaces."""
        for space in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout.split():
            if space.startswith(f"{self.name}-"):
                subprocess.run(["ip", "netns", "del", space], capture_output=True)

    def command(self, host: str) -> list[str]:
        """What runs a command on a host."""
        return ["ip", "netns", "exec", self._space(host)]

    def _space(self, host: str) -> str:
        return f"{self.name}-{host}"

    def _in(self, host: str, *command: str) -> None:
        subprocess.run([*self.command(host), *command], check=True, capture_output=True)

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass
class Hosts:
    """The kits of a study, and their running processes.

    Attributes:
        path: Where the kits lie: `server`, and one named as each hospital.
        network: None where all hosts are this machine's loopback.
        users: None where all hosts' processes are this process's user's.
    """

    path: Path
    network: Network | None
    users: HostUsers | None = None
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def server(self) -> Path:
        """The server's kit."""
        return self.path / "server"

    def run(
        self, host: str, *arguments: object, ok: bool = True, typed: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of main.py on a host, in the folder of the kits; `typed` is what a person answers."""
        command = [*self._on(host), sys.executable, str(ROOT / "main.py"), *(str(part) for part in arguments)]
        settings: dict[str, Any] = {"env": self.environment(host), "cwd": self.path, "input": typed}
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, **settings)
        assert not ok or done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done

    def json(self, host: str, *arguments: object) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.run(host, *arguments, "--json").stdout)

    def start(self, host: str, ready: str) -> None:
        """Start a host's processes as its start.sh does, and wait until it says that a part of it is ready."""
        kit = self.path / host
        (kit / "logs").mkdir(exist_ok=True)
        self.give(host, kit / "logs")
        log = kit / "logs" / "serve.log"
        with log.open("wb") as output:
            command = [*self._on(host), "bash", str(kit / "start.sh")]
            self.running[host] = subprocess.Popen(
                command, stdout=output, stderr=output, env=self.environment(host), start_new_session=True
            )
        deadline = time.monotonic() + READY_S
        while ready.encode() not in log.read_bytes():
            if self.running[host].poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{host} did not start: {log.read_text()}")
            time.sleep(0.1)

    def rounds(self) -> list[tuple[int, str]]:
        """Number and outcome of the rounds that have ended, as the server's own log of rounds has them."""
        log = self.server / "server" / "metrics.jsonl"
        rounds = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [(one["round"], one["phase"]) for one in rounds]

    def ledger_events(self) -> list[str]:
        """All events of the ledger, oldest first, read on the server's host."""
        command = [*self._on("server"), sys.executable, "-c", EVENTS, str(self.server)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100)
        assert done.returncode == 0, f"{done.stderr}\n{self.logs()}"
        return done.stdout.split()

    def stop(self, host: str) -> None:
        """Stop a host's processes as Ctrl-C does; all of them are gone afterwards."""
        process = self.running.pop(host)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, [one.cmdline() for one in alive]

    def stop_all(self) -> None:
        """Stop what runs, whatever became of it."""
        for host in list(self.running):
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired, psutil.Error):
                self.stop(host)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(self.path) in " ".join(process.cmdline()):
                    process.kill()

    def environment(self, host: str) -> dict[str, str]:
        """What a process of a host finds in its environment."""
        places = {"FEDWARD_PASSWORD_FILE": str(self.path / f"{host}.password")}
        if self.users:
            home = self.users.home(host)
            places |= {name: str(home / name) for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME")}
            places |= {"HOME": str(home), "TMPDIR": str(home)}
        return {**os.environ, **places}

    def give(self, host: str, path: Path) -> None:
        """Hand a host a file or folder that its user may not yet read, where it has a user of its own."""
        if self.users:
            self.users.give(host, path)

    def sent(self, host: str, name: str) -> Path:
        """A file of a host's kit as it sends it to others, who do not read the kit: a copy that all can read."""
        copy = self.path / "sent" / host / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.path / host / name, copy)
        return copy

    def trust(self, names: Sequence[str]) -> list[object]:
        """What an audit is told of the hospitals, each of which has concluded."""
        return [part for name in names for part in ("--trust", self.sent(name, "trust.json"))]

    def read_by_others(self) -> list[tuple[str, str]]:
        """Which hosts' users can enter another's kit or home: reader and read. Every host reads its own."""
        assert self.users
        names = self.users.hosts
        places = {name: [str(self.path / name), str(self.users.home(name))] for name in names}
        found = []
        for reader in names:
            command = [*self._on(reader), sys.executable, "-c", READ, json.dumps(places)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
            read = json.loads(done.stdout)
            assert read.pop(reader) == len(places[reader])
            found += [(reader, name) for name, count in read.items() if count]
        return found

    def logs(self) -> str:
        """The ends of all logs, for a failure."""
        return "\n".join(
            f"== {log}\n{log.read_text(errors='replace')[-2000:]}" for log in self.path.glob("*/logs/*.log")
        )

    def _on(self, host: str) -> list[str]:
        where = self.network.command(host) if self.network else []
        return [*where, *(self.users.command(host) if self.users else [])]


def few_images(real_data: Path, target: Path) -> Path:
    """Partitions of some of the real X-rays: what matters here is not how good the model becomes."""
    source = target / "source"
    for name in ("NORMAL", "PNEUMONIA"):
        (source / name).mkdir(parents=True)
        for path in sorted((real_data / "chest_xray" / "train" / name).iterdir())[:IMAGES_OF_A_CLASS]:
            shutil.copyfile(path, source / name / path.name)
    command = [sys.executable, "data_preprocessing.py", str(source), str(target / "images")]
    options = ["--hospitals", str(len(HOSPITALS)), "--image-size", str(IMAGE_SIZE)]
    subprocess.run([*command, *options], cwd=ROOT, check=True, capture_output=True)
    (target / "images").chmod(0o711)  # each partition becomes its hospital's own when that enrolls
    return target / "images"


def quick_study(rounds: int) -> dict[str, dict[str, object]]:
    """Settings of a study that takes no longer than it must."""
    return {
        "data": {"image-size": IMAGE_SIZE},
        "training": {"rounds": rounds, "local-epochs": 1},
        "detectors": {"validation-loss": {"tolerance": 100.0}},
    }


def number(path: Path) -> str:
    """What the other side reads out over the telephone."""
    return spoken(path.read_bytes())


def found(hosts: Hosts, images: Path, settings: dict[str, dict[str, object]], names: Sequence[str] = HOSPITALS) -> None:
    """Provision, enroll and start the server; `images` has a partition for each hospital, in order."""
    manifest = json.loads((images / "manifest.json").read_bytes())
    address = hosts.network.addresses["server"] if hosts.network else "localhost"
    content = {
        "study": {
            "name": "test",
            "hospitals": list(names),
            "findings": manifest["findings"],
            "class-names": manifest["class_names"],
        },
        "server": {"host": address, "port": 8443 if hosts.network else free_port()},
        "settings": settings,
    }
    (hosts.path / "project.toml").write_text(tomli_w.dumps(content))
    password = hosts.path / "server.password"
    given = ("--out", hosts.server, "--password-file", password, "--no-witness")
    hosts.run("server", "provision", hosts.path / "project.toml", *given)
    for index, name in enumerate(names, start=1):
        enroll(hosts, name, images / f"hospital-{index}.npz")
    hosts.start("server", "gateway")


def enroll(hosts: Hosts, name: str, partition: Path) -> None:
    """Enroll a hospital from the server's project file."""
    project = hosts.sent("server", "project.toml")
    hosts.give(name, partition)
    given = ("--partition", partition, "--password-file", hosts.path / f"{name}.password", "--number", number(project))
    hosts.run(name, "enroll", project, "--name", name, "--out", hosts.path / name, *given)


def admit(hosts: Hosts, names: Sequence[str]) -> None:
    """Admit hospitals."""
    requests = [hosts.sent(name, "request.json") for name in names]
    numbers = [part for request in requests for part in ("--number", number(request))]
    hosts.run("server", "admit", hosts.server, *requests, *numbers)


def agree(hosts: Hosts, names: Sequence[str]) -> None:
    """Let hospitals agree to the roster as it is, the dealer first."""
    roster = hosts.json("server", "status", hosts.server)["roster_number"]
    for name in names:
        hosts.run(name, "agree", hosts.path / name, "--number", roster)


@contextmanager
def hosts_in(
    path: Path, namespaces: bool, names: Sequence[str] = HOSPITALS, readable: Sequence[Path] = ()
) -> Iterator[Hosts]:
    """Hosts whose kits lie in a folder; everything is stopped and removed at the end.

    Args:
        path: The folder.
        namespaces: Whether each has a network and, where this process may, a user of its own.
        names: The hosts beside the server.
        readable: What every user may read, wherever it lies.
    """
    with ExitStack() as stack:
        network = users = None
        if namespaces:
            network = Network(f"fw{os.getpid()}")
            stack.callback(network.remove)
            network.make(["server", *names])
        if network and may_be_others():
            users = HostUsers(["server", *names], path, readable)
            users.make()
        hosts = Hosts(path, network, users)
        stack.callback(hosts.stop_all)
        yield hosts
