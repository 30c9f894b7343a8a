"""Whoever writes a file follows no link, opens no name that somebody could have put there before, and leaves nothing.

The folder that is written to may be somebody else's. Until now temporary names were made of the file's name and the
process's number: a link of that name had the writer overwrite any file that it may write.
"""

import os
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blockchain.audit.sources import archive
from blockchain.consortium.trust import TrustFile
from blockchain.identity import Identity
from data_preprocessing import _read_key
from fedward.dataset import cache
from fedward.dataset.storage import save_partition
from fedward.errors import ResourceError
from fedward.figures.plots import plot_learning_curves
from fedward.figures.reporting import write_summary
from fedward.files import append_line, make_folder, making_folder, read_lines, write_atomic, writing
from fedward.folders.key_board import KeyBoardFolder
from fedward.types import Address, HospitalId, ImageSet, Partition

ADDRESS = Address("0x" + "11" * 20)
NAME = "file"


def in_pieces(path: Path) -> None:
    with writing(path) as file:
        file.write(b"n")
        file.write(b"ew")


def bundle(path: Path) -> None:
    path.unlink(missing_ok=True)  # what is there already is refused
    with archive.writing(path) as writer:
        writer.add("member", [b"content"])


def partition(path: Path) -> None:
    none = ImageSet(np.zeros((0, 8, 8), np.uint8), np.zeros((0, 1), np.float32), np.zeros(0, np.str_))
    save_partition(path, Partition(HospitalId("hospital-1"), ("a",), none, none, none))


def decoded(path: Path) -> None:
    pixels, digests = np.zeros((0, 8, 8), np.uint8), np.zeros((0, 32), np.uint8)
    none = np.zeros(0, np.bool_)
    cache.save(path, cache.DecodedFiles(pixels, digests, none, (), none, (), Counter(), 0))


def account(path: Path) -> None:
    path.with_name("account.key").unlink(missing_ok=True)
    Identity.create(path.parent)


Writer = Callable[[Path], object]
WRITERS: dict[str, tuple[str, Writer]] = {  # the name of the file that it writes, and how
    "write_atomic": (NAME, lambda path: write_atomic(path, b"new")),
    "writing": (NAME, in_pieces),
    "bundle": (NAME, bundle),
    "partition": (NAME, partition),
    "decoded images": (NAME, decoded),
    "trust file": (NAME, lambda path: TrustFile(1, ADDRESS, bytes(32), {}, (), ()).save(path)),
    "summary": (NAME, lambda path: write_summary(path, {})),
    "curves": (NAME, lambda path: plot_learning_curves(path, [], ("a",))),
    "account": ("account.key", account),
    "sealing key": ("x25519.key", account),
    "pseudonym key": (NAME, _read_key),
    "card": (f"{ADDRESS}.card", lambda path: KeyBoardFolder(path.parent.parent).save_card(ADDRESS, b"new")),
}


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_no_link_of_a_name_that_could_be_known_before_is_written_through(tmp_path: Path, kind: str) -> None:
    name, write = WRITERS[kind]
    folder, victim = tmp_path / "cards", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(b"untouched")
    for guess in (f".{name}.{os.getpid()}.part", f".part.{os.getpid()}.{name}", f".{name}.part", f"{name}.tmp"):
        (folder / guess).symlink_to(victim)
    before = set(folder.iterdir())
    write(folder / name)
    assert victim.read_bytes() == b"untouched"
    assert (folder / name).is_file()
    assert not (folder / name).is_symlink()
    assert not [path.name for path in set(folder.iterdir()) - before if path.name.endswith(".part")]


@pytest.mark.parametrize("kind", sorted(set(WRITERS) - {"account", "sealing key", "pseudonym key"}))  # never replaced
def test_a_link_in_the_files_place_is_replaced_not_written_through(tmp_path: Path, kind: str) -> None:
    name, write = WRITERS[kind]
    folder, victim = tmp_path / "cards", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(b"untouched")
    (folder / name).symlink_to(victim)
    write(folder / name)
    assert victim.read_bytes() == b"untouched"
    assert not (folder / name).is_symlink()


def test_a_log_is_not_continued_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"no line")
    (tmp_path / "log").symlink_to(victim)
    with pytest.raises(ResourceError, match="log could not be written: a symbolic link lies there"):
        append_line(tmp_path / "log", "line")
    assert victim.read_bytes() == b"no line"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_log_is_a_regular_file_and_nothing_else_is_waited_for(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "log")
    with pytest.raises(ResourceError, match="log could not be written"):
        append_line(tmp_path / "log", "line")


def half_a_file(path: Path) -> None:
    with writing(path) as file:
        file.write(b"half")
        raise KeyError


def half_a_folder(path: Path) -> None:
    with making_folder(path) as unfinished:
        (unfinished / "half").touch()
        raise KeyError


@pytest.mark.parametrize("stop", [half_a_file, half_a_folder])
def test_a_write_that_stops_halfway_leaves_nothing(tmp_path: Path, stop: Writer) -> None:
    with pytest.raises(KeyError):
        stop(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_folder_is_closed_to_others_and_takes_no_place_that_is_taken(tmp_path: Path) -> None:
    with making_folder(tmp_path / "above" / "folder") as unfinished:
        assert stat.S_IMODE(unfinished.stat().st_mode) == 0o700
    with pytest.raises(ResourceError, match="not empty"), making_folder(tmp_path / "above"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["above"]


def test_a_folder_in_place_of_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ResourceError, match="could not be written"):
        make_folder(tmp_path / "folder" / "below")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for write in (make_folder, lambda path: write_atomic(path, b""), lambda path: append_line(path, "")):
        with pytest.raises(ResourceError, match=r"could not be written: (Too many levels|File exists)"):
            write(tmp_path / "circle" / "below")


def test_a_long_name_is_written_like_any_other(tmp_path: Path) -> None:
    """The temporary name was longer than the file's own: a name of 250 characters could not be written."""
    write_atomic(tmp_path / ("n" * 255), b"new")
    append_line(tmp_path / ("l" * 255), "line")
    assert read_lines(tmp_path / ("l" * 255)) == ["line"]
