"""The demonstration: runs the commands that an administrator and four hospitals would run, each as its own process."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from commands import console
from commands.new_folder import check_new
from fedward import settings as setting
from fedward.errors import FedwardError, ResourceError, error_of
from fedward.files import make_folder, resolved
from fedward.hosts.loopback import free_port
from fedward.hosts.project import Place, Project, Study
from fedward.hosts.spoken import spoken
from fedward.settings import PROJECT_FILE
from fedward.tables import parse_assignment
from fedward.types import HospitalId

HOSPITALS = ("north", "east", "south", "west")
READY_S = 120.0
_MAIN = PROJECT_FILE.parent / "main.py"


@dataclass(frozen=True)
class Demo:
    """Where the kits lie."""

    path: Path

    @property
    def server(self) -> Path:
        """The server's kit."""
        return self.path / "server"

    @property
    def witness(self) -> Path:
        """The witness's kit."""
        return self.path / "witness"

    def hospital(self, name: str) -> Path:
        """A hospital's kit."""
        return self.path / name

    @property
    def password(self) -> Path:
        """The file of everybody's password: on hosts of their own, each has one of its own."""
        return self.path / "password"


def run_demo(data: str, out: Path, rounds: int, assignments: Sequence[str]) -> None:
    """Provision, enroll, run, conclude and audit a study of four hospitals on this machine; stop everything.

    Args:
        data: Images, shared out over the hospitals by patient.
        out: The new folder for all kits.
        rounds: How many rounds.
        assignments: Settings, as `table.key=value`.

    Raises:
        UsageError: the folder is in use, or a setting is wrong.
        FedwardError: a command failed, with that command's exit code.
    """
    check_new(out)
    demo = Demo(resolved(out))
    make_folder(demo.path)
    os.environ["FEDWARD_PASSWORD_FILE"] = str(demo.password)
    findings, class_names = _prepare(demo, data, assignments)
    _write_project(demo, rounds, assignments, findings, class_names)
    _command("enroll-witness", "--out", demo.witness, "--password-file", demo.password)
    request = demo.witness / "request.json"
    named = ("--witness", request, "--witness-number", _number(request), "--password-file", demo.password)
    _command("provision", demo.path / "project.toml", "--out", demo.server, *named)
    number = _number(demo.server / "project.toml")
    _command("join-witness", demo.witness, demo.server / "project.toml", "--number", number)
    for index, name in enumerate(HOSPITALS):
        images = demo.path / "images" / f"hospital-{index + 1}.npz"
        given = ("--name", name, "--partition", images, "--number", number, "--password-file", demo.password)
        _command("enroll", demo.server / "project.toml", "--out", demo.hospital(name), *given)
    with ExitStack() as running:
        running.enter_context(_serving(demo.server, "gateway"))
        running.enter_context(_serving(demo.witness, "follows the study"))
        requests = [demo.hospital(name) / "request.json" for name in HOSPITALS]
        numbers = [part for request in requests for part in ("--number", _number(request))]
        _command("admit", demo.server, *requests, *numbers)
        for name in HOSPITALS:
            _command("agree", demo.hospital(name), "--number", _roster_number(demo.server))
        for name in HOSPITALS:
            running.enter_context(_serving(demo.hospital(name), "SuperNode"))
        _command("start-study", demo.server)
        _command("status", demo.server)
        for name in HOSPITALS:
            _command("conclude", demo.hospital(name))
    trust = [part for name in HOSPITALS for part in ("--trust", demo.hospital(name) / "trust.json")]
    _command("audit", demo.server, *trust, "--html", demo.path / "audit.html")
    _compare(demo)


def _prepare(demo: Demo, data: str, assignments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Share the images out as four hospitals would have them; returns findings and class names."""
    settings = setting.load(None, *(parse_assignment(text) for text in assignments))
    command = [sys.executable, PROJECT_FILE.parent / "data_preprocessing.py", data, demo.path / "images"]
    options = ["--hospitals", len(HOSPITALS), "--image-size", settings.data.image_size]
    if settings.data.finding != "auto":
        options += ["--finding", settings.data.finding]
    _run([*command, *options, "--synthetic-images", settings.data.synthetic_images])
    manifest = json.loads((demo.path / "images" / "manifest.json").read_bytes())
    return manifest["findings"], manifest["class_names"]


def _write_project(
    demo: Demo, rounds: int, assignments: Sequence[str], findings: list[str], class_names: list[str]
) -> None:
    """The file that the administrator would write."""
    given = [parse_assignment(text) for text in assignments]
    settings = setting.load(None, ("training.rounds", rounds), *given)
    study = Study("hosts-demo", tuple(map(HospitalId, HOSPITALS)), tuple(findings), tuple(class_names))
    Project(study, Place("localhost", free_port()), settings, None).save(demo.path / "project.toml")


def _number(path: Path) -> str:
    """What the other side would read out over the telephone."""
    return spoken(path.read_bytes())


def _roster_number(server: Path) -> str:
    """The roster's number, as the administrator reads it out."""
    shown = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(_MAIN), "status", str(server), "--json"], capture_output=True, text=True, check=False
    )
    if shown.returncode:
        raise error_of(shown.returncode, f"`status` failed: {shown.stderr.strip()[-300:]}", "See above.")
    return str(json.loads(shown.stdout)["roster_number"])


def _command(*arguments: object) -> None:
    """Run a command as a user would."""
    _run([sys.executable, _MAIN, *arguments])


def _run(command: Sequence[object]) -> None:
    """Show a command and run it.

    Raises:
        FedwardError: it failed; the error has its exit code.
    """
    shown = shlex.join(str(part) for part in command[1:])
    console.note(f"$ {shown}")
    done = subprocess.run([str(part) for part in command], check=False)  # noqa: S603 - our own programs
    if done.returncode:
        raise error_of(done.returncode, f"This command failed: {shown}", "See what it says above.")


@contextmanager
def _serving(kit: Path, ready: str) -> Iterator[None]:
    """Run a kit's processes, as its start.sh does, until the `with` block ends."""
    console.note(f"$ {kit / 'start.sh'} &")
    log = kit / "logs" / "serve.log"
    make_folder(log.parent)
    with log.open("wb") as output:
        process = subprocess.Popen(["bash", str(kit / "start.sh")], stdout=output, stderr=output)  # noqa: S603, S607
    try:
        _await(log, ready, process)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def _await(log: Path, ready: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a kit says that a part of it is ready."""
    deadline = time.monotonic() + READY_S
    while ready.encode() not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            words = log.read_text(errors="replace").strip()[-300:]
            raise ResourceError(f"{log.parent.parent} did not start: {words}", f"See {log.parent}.")
        time.sleep(0.1)


def _compare(demo: Demo) -> None:
    """Say that all hospitals have the same model.

    Raises:
        FedwardError: they do not.
    """
    found = {
        name: json.loads((demo.hospital(name) / "summary.json").read_bytes())["weights_sha256"] for name in HOSPITALS
    }
    if len(set(found.values())) != 1:
        raise FedwardError(f"The hospitals have different models: {found}.", "This is a mistake in Fedward.")
    console.out.print(f"All four hospitals have the same model, {found[HOSPITALS[0]][:16]}.")
