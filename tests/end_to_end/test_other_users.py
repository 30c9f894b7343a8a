"""A simulation beside other users of the machine, and what is left of it however it ends."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from fedward.flower_home import PREFIX, _is_left_over
from fedward.folders.hospital import HospitalFolder

pytestmark = pytest.mark.end_to_end
ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--hospitals", "3", "--local-epochs", "1", "--set", "speed.clients-at-once=1")
TINY = (
    *(*SMALL, "--set", "data.synthetic-images=120", "--set", "data.image-size=16"),
    *("--set", "detectors.validation-loss.tolerance=100"),
)
LARGER = (*SMALL, "--set", "data.synthetic-images=240")
NOBODY = 65_534
# What a stranger tries at every port, with the libraries loaded before the process becomes another user's.
STRANGER = """
import http.client, json, os, sys
import grpc
METHODS = [
    "NodeInfoGcsService/GetAllNodeInfo", "JobInfoGcsService/GetNextJobID", "InternalKVGcsService/InternalKVKeys",
    "ActorInfoGcsService/GetAllActorInfo", "CoreWorkerService/PushTask", "CoreWorkerService/Exit",
    "CoreWorkerService/KillActor", "NodeManagerService/GetNodeStats", "NodeManagerService/RequestWorkerLease",
    "NodeManagerService/ShutdownRaylet", "ObjectManagerService/Pull", "RuntimeEnvGcsService/PinRuntimeEnvURI",
]
READ_ONLY = 4
REQUESTS = [
    ("GET", "/", None), ("GET", "/docs", None), ("GET", "/metrics", None), ("GET", "/api/jobs/", None),
    ("POST", "/", '{"id":1,"method":"eth_chainId"}'), ("POST", "/get_or_create_runtime_env", "x"),
    ("POST", "/api/v1/control/start-run", "{}"), ("PUT", "/", ""),
]
user, secret, *ports = sys.argv[1:]
metadata = [("authorization", f"Bearer {secret}")] if secret else None

def knock(port):
    answers = []
    for method in METHODS[:READ_ONLY] if secret else METHODS:  # with the secret the others would end the run
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=5, metadata=metadata)
                answers.append("OK")
            except grpc.RpcError as error:
                answers.append(error.code().name)
    for verb, path, body in REQUESTS:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
        try:
            connection.request(verb, path, body, {"Content-Type": "application/json"})
            answers.append(connection.getresponse().status)
        except (OSError, http.client.HTTPException):
            answers.append("nothing")
        finally:
            connection.close()
    return answers

knock(1)  # loads the libraries, which the other user could not read
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))
print(json.dumps({port: knock(port) for port in ports}))
"""
READER = """
import json, os, sys
user, *places = sys.argv[1:]
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))
read = []
for place in places:
    try:
        open(place, "rb").read(1) if not os.path.isdir(place) else os.listdir(place)
        read.append(place)
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        pass
print(json.dumps(read))
"""


def start(folder: Path, rounds: int, images: tuple[str, ...] = TINY, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "main.py", "simulate", *images, "--rounds", str(rounds), "--out", str(folder)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        umask=0o022,
    )


def await_event(folder: Path, event: str, process: "subprocess.Popen[str]") -> None:
    progress, deadline = folder / "server" / "progress.jsonl", time.monotonic() + 150
    while time.monotonic() < deadline and process.poll() is None:
        if progress.exists() and f'"{event}"' in progress.read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"no event {event!r}: {process.communicate()[1]}")


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    mine = psutil.Process(process.pid)
    return [mine, *mine.children(recursive=True)]


def environment(process: psutil.Process) -> dict[str, str]:
    """Of a process; nothing of one that has just ended."""
    try:
        return process.environ()
    except psutil.NoSuchProcess:
        return {}


def connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("inet")
    except psutil.NoSuchProcess:
        return []


def written(process: psutil.Process) -> set[str]:
    """Files that a process may write to, wherever they lie: those it has open, and those in its memory."""
    try:
        opened = {file.path for file in process.open_files() if file.mode != "r"}
        return opened | {part.path for part in process.memory_maps(grouped=False) if part.perms in ("rw-s", "-w-s")}
    except psutil.NoSuchProcess:
        return set()


def command_line(process: psutil.Process) -> str:
    """Of a process, which every user can see; nothing of one that has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def as_nobody(program: str, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program, str(NOBODY), *arguments], stdout=subprocess.PIPE, text=True, check=True, cwd="/"
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def reachable() -> Iterator[Path]:
    """A folder that every user can get to: what is in it protects itself."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="fw") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@dataclass(frozen=True)
class Going:
    """A simulation amid its rounds.

    Attributes:
        run: Its folder, which every user can get to.
        temporary: Its folder for temporary files.
        process: What was started.
    """

    run: Path
    temporary: Path
    process: "subprocess.Popen[str]"


@pytest.fixture(scope="module")
def one_going(reachable: Path) -> Iterator[Callable[[], Going]]:
    """The simulation that is going; a new one where none is, so that tests may end it and come in any order."""
    made: list[Going] = []

    def find() -> Going:
        if not made or made[-1].process.poll() is not None:
            place = reachable / str(len(made))
            place.mkdir()
            made.append(Going(place / "run", place, start(place / "run", 200, TMPDIR=str(place))))
            await_event(made[-1].run, "closed", made[-1].process)
        return made[-1]

    yield find
    for going in made:
        going.process.send_signal(signal.SIGINT)
        going.process.communicate(timeout=60)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.netns
def test_another_user_reads_nothing_of_a_run_and_none_of_its_ports_does_anything(
    one_going: Callable[[], Going],
) -> None:
    going = one_going()
    processes = family(going.process)
    sockets = {c for one in processes for c in connections(one) if c.status == psutil.CONN_LISTEN}
    assert {socket.laddr.ip for socket in sockets} <= {"127.0.0.1", "::ffff:127.0.0.1"}
    ports = sorted(str(socket.laddr.port) for socket in sockets)
    assert len(ports) >= 4, "the node's, and Ray's"
    for answers in as_nobody(STRANGER, "", *ports).values():
        assert "OK" not in answers
        assert not [status for status in answers if isinstance(status, int) and status < 400]
    # The same knocking opens a port for whoever knows the secret: it is knocked at the right doors.
    secrets = {environment(one).get("RAY_AUTH_TOKEN") for one in processes} - {None}
    (secret,) = secrets
    assert any("OK" in answers for answers in as_nobody(STRANGER, str(secret), *ports).values())

    homes = [Path(name) for name in {environment(one).get("FLWR_HOME") for one in processes} if name]
    places = [str(path) for top in (going.run, homes[0]) for path in (top, *top.rglob("*"))]
    assert len(places) > 50
    files = set.union(*(written(one) for one in processes))
    assert files & set(places), "else the search for files elsewhere means nothing"
    assert as_nobody(READER, *places, *files) == []
    # Command lines are everybody's to read: what opens the ports is not in them.
    node = urlsplit(HospitalFolder(going.run / "hospitals" / "hospital-1").ledger_node().url).path.strip("/")
    assert len(node) > 40
    assert not [line for line in map(command_line, processes) if node in line or str(secret) in line]
    lives = [one.pid for one in processes if one.is_running()]
    assert as_nobody(READER, *(f"/proc/{pid}/{what}" for pid in lives for what in ("environ", "mem"))) == []
    assert going.process.poll() is None, "the run went on"


def test_a_killed_run_leaves_no_process_and_the_next_start_removes_its_folder(one_going: Callable[[], Going]) -> None:
    going = one_going()
    processes = family(going.process)
    assert len(processes) > 4
    going.process.kill()
    going.process.communicate()
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert [one.name() for one in alive] == []
    place = going.temporary
    (left,) = place.glob(f"{PREFIX}*")
    foreign = place / f"{PREFIX}somebody"  # of no lock: nothing says that it is one of ours
    foreign.mkdir(mode=0o700)
    before = {path.name for path in Path("/tmp").iterdir()}  # noqa: S108
    again = start(place / "again", 1, TMPDIR=str(place))
    deadline = time.monotonic() + 150
    while left.exists() and again.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left.exists()
    again.send_signal(signal.SIGINT)  # tests/end_to_end/test_simulate.py sees what one leaves that goes on to its end
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 130, errors
    assert sorted(path.name for path in place.iterdir()) == ["again", foreign.name, "run"]
    new = {path.name for path in Path("/tmp").iterdir()} - before  # noqa: S108
    # Other tests start runs meanwhile; theirs are held.
    assert not [name for name in new if name.startswith("ray")]
    assert not [name for name in new if name.startswith(PREFIX) and _is_left_over(Path("/tmp") / name)]  # noqa: S108


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.netns
def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    try:
        process = start(disk / "run", 2, LARGER)
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 10, errors
        assert "could not be written" in errors or "No space" in errors
        left = list((disk / "run").rglob("*.part")) if (disk / "run").exists() else []
        assert left == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
