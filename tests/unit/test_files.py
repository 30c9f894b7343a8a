"""Files that are whole or not there, logs that survive a torn line, and the tree of hashes."""

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from fedward.errors import EvidenceError, ResourceError, VerificationError
from fedward.files import (
    append_line,
    bound_log,
    make_folder,
    making_folder,
    merkle_root,
    read_file,
    read_lines,
    sha256,
    write_atomic,
    writing,
)


def full_disk(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_content_and_permissions_are_as_asked(tmp_path: Path) -> None:
    write_atomic(tmp_path / "key", b"\0secret", 0o600)
    assert (tmp_path / "key").read_bytes() == b"\0secret"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    write_atomic(tmp_path / "key", b"", 0o600)
    assert (tmp_path / "key").read_bytes() == b""
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ResourceError, match="No space left") as failed:
        write_atomic(path, b"new")
    assert failed.value.exit_code == 10
    assert str(path) in failed.value.what
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    with pytest.raises(ResourceError):
        write_atomic(tmp_path / "never there", b"new")
    assert not (tmp_path / "never there").exists()


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash right after the rename must not show an empty file."""
    synced = watch_syncs(monkeypatch, tmp_path / "file")
    write_atomic(tmp_path / "file", b"whole")
    assert synced == [(b"whole", False), (tmp_path, True)]


def test_a_new_name_is_flushed_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose folder is not flushed may be gone after a power loss, whole as it was."""
    log = tmp_path / "log"
    synced = watch_syncs(monkeypatch, log)
    append_line(log, "first")
    append_line(log, "second")
    assert synced == [(b"first\n", True), (tmp_path, True), (b"first\nsecond\n", True)]
    synced.clear()
    make_folder(tmp_path / "a" / "b")
    assert synced == [(tmp_path, True), (tmp_path / "a", True)]
    synced.clear()
    with making_folder(tmp_path / "new") as unfinished:
        (unfinished / "file").touch()
    assert [place for place, _ in synced] == [tmp_path, tmp_path], "when it was begun, and when it got its name"


def watch_syncs(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[tuple[bytes | Path, bool]]:
    """What is flushed from now on: a file's content or a folder's path, and whether `path` is there by then."""
    synced: list[tuple[bytes | Path, bool]] = []

    def watch(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").resolve()
        synced.append((place if place.is_dir() else place.read_bytes(), path.exists()))

    monkeypatch.setattr(os, "fsync", watch)
    return synced


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_flush_folders_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_atomic(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_missing_folder_is_a_resource_error(tmp_path: Path) -> None:
    for write in (lambda path: write_atomic(path, b""), lambda path: append_line(path, "")):
        with pytest.raises(ResourceError, match="no-such-folder"):
            write(tmp_path / "no-such-folder" / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.netns
def test_a_really_full_disk(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=True)
    try:
        write_atomic(tmp_path / "file", b"o" * 16_384)
        append_line(tmp_path / "log", "first")
        with pytest.raises(ResourceError, match="No space left"):
            write_atomic(tmp_path / "file", b"n" * 65_536)
        with pytest.raises(ResourceError, match="No space left"):
            append_line(tmp_path / "log", "n" * 65_536)
        assert (tmp_path / "file").read_bytes() == b"o" * 16_384
        assert read_lines(tmp_path / "log") == ["first"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "log"]
        append_line(tmp_path / "log", "second")
        assert read_lines(tmp_path / "log") == ["first", "second"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert read_lines(log) == []
    for line in ("one", "", "drei ß"):
        append_line(log, line)
    assert read_lines(log) == ["one", "", "drei ß"]


@pytest.mark.parametrize("torn", ["tw", "two", "tw\0\0", '{"a": '])
def test_what_a_crash_left_of_a_line_is_not_read_and_then_removed(tmp_path: Path, torn: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"one\n{torn}")
    assert read_lines(log) == ["one"]
    append_line(log, "three")
    assert log.read_bytes() == b"one\nthree\n"


def test_a_log_that_is_one_torn_line_starts_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("torn")
    assert read_lines(log) == []
    append_line(log, "one")
    assert read_lines(log) == ["one"]


def test_a_line_that_could_not_be_flushed_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    append_line(log, "one")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_disk)
        with pytest.raises(ResourceError):
            append_line(log, "two")
    assert log.read_bytes() == b"one\n"
    append_line(log, "three")
    assert read_lines(log) == ["one", "three"]


def slow_merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 as it is written there: split at the largest power of two below the number of leaves."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + slow_merkle_root(leaves[:split]) + slow_merkle_root(leaves[split:]))


def leaves_of(count: int) -> list[bytes]:
    return [sha256(str(index).encode()) for index in range(count)]


@pytest.mark.parametrize("count", [*range(35), 63, 64, 65, 100, 425])
def test_the_root_is_rfc_6962s(count: int) -> None:
    assert merkle_root(leaves_of(count)) == slow_merkle_root(leaves_of(count))


def test_every_leaf_and_its_place_count() -> None:
    leaves = leaves_of(7)
    others = [[*leaves[:index], sha256(b"x"), *leaves[index + 1 :]] for index in range(7)]
    others += [leaves[::-1], leaves[:6], [*leaves, leaves[-1]], leaves[1:] + leaves[:1]]
    roots = {merkle_root(other) for other in others}
    assert len(roots) == len(others)
    assert merkle_root(leaves) not in roots


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8])
def test_no_inner_node_poses_as_a_leaf(count: int) -> None:
    """The second preimage that unprefixed trees have: the two halves' roots as the only two leaves."""
    leaves, split = leaves_of(count), 1
    while split * 2 < count:
        split *= 2
    halves = [merkle_root(leaves[:split]), merkle_root(leaves[split:])]
    assert merkle_root(halves) != merkle_root(leaves)
    assert merkle_root([halves[0] + halves[1]]) != merkle_root(leaves)
    assert merkle_root([merkle_root(leaves)]) != merkle_root(leaves)


def test_a_folder_that_cannot_be_made_is_a_resource_error(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="could not be written"):
        make_folder(tmp_path / "file" / "b")


def read(path: Path, most: int = 10, *, through_link: bool = False) -> bytes:
    return read_file(path, most, "The thing", "Do something.", through_link=through_link)


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    assert read(file) == b"0123456789"
    with pytest.raises(VerificationError, match=r"^The thing in .*file is longer than 9 bytes\. Do something\.$"):
        read(file, 9)
    with file.open("wb") as endless:
        endless.truncate(2**40)
    with pytest.raises(VerificationError, match="longer than 10 bytes"):
        read(file)


@pytest.mark.parametrize("through_link", [False, True])
def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path: Path, through_link: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "long").symlink_to("/dev/zero")
    names = ("pipe", "folder", "circle", "long", "absent", "x" * 300, "nul\0byte", "absent/below")
    for name in names:
        with pytest.raises(EvidenceError, match=r"^The thing could not be read from "):
            read(tmp_path / name, through_link=through_link)
    with pytest.raises(EvidenceError, match="not a regular file"):
        read(Path("/dev/zero"))


def test_a_link_is_followed_only_where_the_user_named_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read(tmp_path / "link", through_link=True) == b"content"
    with pytest.raises(EvidenceError, match=r"could not be read from .*link: a symbolic link lies there"):
        read(tmp_path / "link")


def test_a_log_that_is_no_file_is_missing_evidence_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(EvidenceError, match=r"The log could not be read from .*log: not a regular file"):
        read_lines(tmp_path / "log")


def test_a_log_that_grew_large_moves_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a" * 10)
        bound_log(log, 10)
        assert log.read_bytes() == b"a" * 10, "not larger than it may be"
        writer.write(b"b")
        bound_log(log, 10)
        writer.write(b"c")
    assert log.read_bytes() == b"c"
    assert (tmp_path / "x.log.1").read_bytes() == b"a" * 10 + b"b"


def test_what_need_not_last_is_whole_and_not_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedward.files.os.fsync", lambda _file: 1 / 0)
    with writing(tmp_path / "a", flushed=False) as file:
        file.write(b"content")
    assert (tmp_path / "a").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
