"""The folder of a simulation's processes: where it fits, closed to others, and removed when nobody holds it."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fedward import flower_home as module
from fedward.errors import ResourceError
from fedward.flower_home import LOCK, PREFIX, RAY_PATH_BYTES, SOCKET_PATH_BYTES, flower_home

ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    "import sys, time\nfrom fedward.flower_home import flower_home\n"
    "with flower_home(lambda _: None) as home:\n print(home, flush=True)\n time.sleep(600)"
)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short folder that is the only place."""
    name = Path(tempfile.mkdtemp(dir="/tmp", prefix="p"))
    monkeypatch.setattr(module, "_places", lambda: [name])
    return name


def nothing(_home: Path) -> None:
    pass


def test_a_home_is_closed_to_others_and_gone_afterwards(place: Path) -> None:
    with flower_home(nothing) as home:
        assert home.parent == place
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        (home / "folder").mkdir()
    assert list(place.iterdir()) == []


def test_the_first_place_that_is_short_enough_and_can_be_written_is_taken(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, missing = tmp_path / ("f" * 82), place / "no"
    far.mkdir()
    monkeypatch.setattr(module, "_places", lambda: [far, missing, place])
    with flower_home(nothing) as home:
        assert home.parent == place
        assert len(os.fsencode(home)) + RAY_PATH_BYTES <= SOCKET_PATH_BYTES
    monkeypatch.setattr(module, "_places", lambda: [far, missing])
    with pytest.raises(ResourceError, match=r"bytes too long for sockets; .*no: No such file.*Set TMPDIR"):
        flower_home(nothing).__enter__()


def test_what_a_dead_process_left_is_removed_and_nothing_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def left(name: str, mode: int = 0o700, lock: bool = True) -> Path:
        folder = place / name
        folder.mkdir(mode=mode)
        folder.chmod(mode)
        if lock:
            (folder / LOCK).touch()
        return folder

    dead = left(f"{PREFIX}dead")
    kept = [
        left(f"{PREFIX}unlocked", lock=False),
        left(f"{PREFIX}open", mode=0o755),
        left("other"),
        place / f"{PREFIX}file",
        place / f"{PREFIX}link",
    ]
    kept[3].touch()
    kept[4].symlink_to(left("elsewhere"))
    stopped: list[Path] = []
    environment = {**os.environ, "TMPDIR": str(place)}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        held = Path(holder.stdout.readline().strip())
        assert not dead.exists(), "by the other process"
        dead = left(f"{PREFIX}dead")
        with flower_home(stopped.append):
            assert stopped == [dead]
            assert not dead.exists()
            assert held.exists()
            assert all(path.is_symlink() or path.exists() for path in kept)
        holder.kill()
    with flower_home(stopped.append):
        assert stopped == [dead, held]
        assert not held.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user needs root")
@pytest.mark.netns
def test_another_users_folder_is_left_alone(place: Path) -> None:
    foreign = place / f"{PREFIX}foreign"
    foreign.mkdir(mode=0o700)
    (foreign / LOCK).touch()
    os.chown(foreign, 65_534, 65_534)
    with flower_home(nothing):
        assert foreign.exists()
