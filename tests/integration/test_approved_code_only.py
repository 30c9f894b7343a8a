"""A hospital's SuperNode runs the code that the hospital approved, under the settings that it approved: nothing else.

With a real SuperLink, and the hospital's real processes. The app writes a file when a line of its hospital's side runs.
"""

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from flwr.common.constant import ErrorCode
from loopback_study import CLIENT, Link, built, digest, enrolled_kit, replies, superlink, tiny_app, wait_for

from fedward import settings as setting
from fedward.hosts.approvals import Approvals
from fedward.hosts.hospital_kit import HospitalKit

SERVE = (
    "import sys; from pathlib import Path; from fedward import entry; from fedward.hosts.supernode import "
    "serve_hospital; from fedward.hosts.hospital_kit import HospitalKit; "
    "entry.run(lambda: serve_hospital(HospitalKit(Path(sys.argv[1]))), print)"
)
ITS_PROCESSES = 3  # SuperNode, launcher, and what forks for each message
EVIL = CLIENT.replace("app = ClientApp()", "app = ClientApp()\nPath(__file__).with_name('evil').touch()")


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    with superlink(tmp_path_factory.mktemp("link") / "home") as link:
        yield link


@pytest.fixture(scope="module")
def kit(link: Link, tmp_path_factory: pytest.TempPathFactory) -> HospitalKit:
    kit = enrolled_kit(tmp_path_factory.mktemp("hospital") / "kit", link, setting.load())
    link.admit(kit)
    return kit


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_app(tmp_path_factory.mktemp("app") / "app")


@pytest.fixture(scope="module")
def served(kit: HospitalKit, app: Path, link: Link) -> Iterator["subprocess.Popen[bytes]"]:
    """The hospital's processes, while they run; the app is approved under the default settings."""
    Approvals(kit.approvals).approve(digest(built(app, link.home)), setting.load().digest().hex())
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(kit.path)])
    yield process
    process.terminate()
    process.wait()


def pids(kit: HospitalKit) -> set[int]:
    return {process.pid for process in processes_of(kit)}


def all_anew(kit: HospitalKit, before: set[int]) -> bool:
    return len(now := pids(kit)) == ITS_PROCESSES and not before & now


def processes_of(kit: HospitalKit) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FLWR_HOME") == str(kit.flower.resolve()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.mark.usefixtures("served")
def test_approved_code_runs_and_finds_no_modules_but_its_own(kit: HospitalKit, app: Path, link: Link) -> None:
    folder = link.run(app)
    found = replies(folder)
    assert (folder / "ran").exists()
    assert found["folder"] == str(kit.hospital.path.resolve())
    own, *others = str(found["path"]).split("\n")
    assert Path(own).is_relative_to(kit.flower.resolve() / "apps")
    assert not any((Path(other) / "fedward").exists() for other in others)
    assert Approvals(kit.approvals).kept(digest(built(app, link.home))), "a later update is shown as a difference"


@pytest.mark.usefixtures("served")
def test_each_message_has_a_process_of_its_own_which_draws_its_own_numbers(
    kit: HospitalKit, app: Path, link: Link
) -> None:
    """They are forked from one process: what had been seeded before would be drawn by all of them."""
    one, other = replies(link.run(app)), replies(link.run(app))
    assert one["process"] != other["process"]
    assert one["parent"] == other["parent"]
    assert one["numpy"] != other["numpy"]
    assert one["python"] != other["python"]
    wait_for(lambda: len(processes_of(kit)) == ITS_PROCESSES, "the end of those that answered")
    assert not list((kit.flower / "tmp").glob("task-*")), "no token is left"


@pytest.mark.usefixtures("served")
def test_settings_that_affect_speed_may_change_and_others_may_not(kit: HospitalKit, app: Path, link: Link) -> None:
    assert "folder" in replies(link.run(app, **{"speed.poll-interval-s": 0.3}))
    folder = link.run(app, **{"privacy.noise-multiplier": 0.5})
    assert replies(folder)["error"] == ErrorCode.INVALID_FAB
    assert not (folder / "ran").exists()
    assert "Refused to run what the server sent: the run has settings" in (kit.logs / "supernode.log").read_text()


@pytest.mark.usefixtures("served")
def test_other_code_is_not_run_and_not_even_unpacked(kit: HospitalKit, app: Path, link: Link, tmp_path: Path) -> None:
    evil = tiny_app(tmp_path / "evil", EVIL)
    folder = link.run(evil)
    assert replies(folder)["error"] == ErrorCode.INVALID_FAB
    assert not (folder / "ran").exists()
    assert not list(kit.flower.rglob("evil"))
    assert digest(built(evil, link.home))[:8] not in {path.name[-8:] for path in (kit.flower / "apps").iterdir()}

    Approvals(kit.approvals).approve(digest(built(evil, link.home)), setting.load().digest().hex())
    assert "folder" in replies(link.run(evil)), "an approval counts at once"
    assert list(kit.flower.rglob("evil")), "the check of the check: it would have left a file"
    assert replies(link.run(app))["error"] == ErrorCode.INVALID_FAB, "what was approved before is approved no more"
    Approvals(kit.approvals).approve(digest(built(app, link.home)), setting.load().digest().hex())


FAILING = CLIENT.replace(
    "def answer(message, context):", "def answer(message, context):\n    raise KeyError('patient 17')"
)


@pytest.mark.usefixtures("served")
def test_an_unforeseen_error_tells_the_server_nothing(kit: HospitalKit, app: Path, link: Link, tmp_path: Path) -> None:
    """Flower would send the error's text, which may quote what it was about."""
    failing = tiny_app(tmp_path / "failing", FAILING)
    Approvals(kit.approvals).approve(digest(built(failing, link.home)), setting.load().digest().hex())
    found = replies(link.run(failing))
    assert found["error"] == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert "did not foresee" in str(found["reason"])
    assert "patient" not in str(found)
    assert "patient 17" in (kit.logs / "supernode.log").read_text()
    assert b"patient 17" not in (link.home / "state.db").read_bytes()
    assert "patient 17" not in (link.home / "superlink.log").read_text()
    Approvals(kit.approvals).approve(digest(built(app, link.home)), setting.load().digest().hex())


def test_a_node_that_dies_starts_again_and_nothing_is_left_behind(
    kit: HospitalKit, app: Path, link: Link, served: "subprocess.Popen[bytes]"
) -> None:
    for script in ("launcher_process", "clientapp_process", "supernode_process"):
        wait_for(lambda: len(processes_of(kit)) == ITS_PROCESSES, "the hospital's processes")
        before = {process.pid for process in processes_of(kit)}
        (one,) = [process for process in processes_of(kit) if script in " ".join(process.cmdline())]
        one.kill()
        wait_for(functools.partial(all_anew, kit, before), "all of them anew")
        assert "folder" in replies(link.run(app))
    # Without that, the server would not let the next one in before the heartbeat of the one that was killed is overdue.
    assert (kit.logs / "supernode.log").read_text().count("Signed off SuperNode") == 1
    served.kill()
    served.wait()
    wait_for(lambda: not processes_of(kit), "the end of what the killed process had started", 20)
