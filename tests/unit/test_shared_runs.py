"""Runs that tests share: made once for all processes of a session, and whoever changes one is found out."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shared_runs import SharedRuns


def make(place: Path) -> None:
    (place / "run" / "server").mkdir(parents=True)
    time.sleep(0.1)
    (place / "run" / "server" / "sum").write_bytes(b"1 + 2 = 3")
    with (place.parent / "how-often").open("a") as log:
        log.write("made\n")


def test_it_is_made_once_whoever_asks(tmp_path: Path) -> None:
    """Locks are those of open files, so threads that open it each for itself stand for processes."""
    with ThreadPoolExecutor(4) as threads:
        folders = list(threads.map(lambda _: SharedRuns(tmp_path).folder("name", make), range(8)))
    assert set(folders) == {tmp_path / "name"}
    assert (tmp_path / "how-often").read_text() == "made\n"
    runs = SharedRuns(tmp_path)
    assert runs.folder("name", make) == runs.folder("name", make) == tmp_path / "name"
    assert runs.check() == []


def test_one_that_was_not_made_to_its_end_is_made_anew(tmp_path: Path) -> None:
    def fails(place: Path) -> None:
        make(place)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        SharedRuns(tmp_path).folder("name", fails)
    (tmp_path / "name" / "left").touch()
    folder = SharedRuns(tmp_path).folder("name", make)
    assert [path.name for path in folder.iterdir()] == ["run"]


@pytest.mark.parametrize("change", ["another byte", "removed", "added"])
def test_a_change_is_found(tmp_path: Path, change: str) -> None:
    runs = SharedRuns(tmp_path)
    folder = runs.folder("name", make) / "run" / "server"
    if change == "another byte":
        (folder / "sum").write_bytes(b"1 + 2 = 4")
    elif change == "removed":
        (folder / "sum").unlink()
    else:
        (folder / "new").touch()
    assert runs.check() == ["name/run/server/new" if change == "added" else "name/run/server/sum"]
