"""An archive is members one behind the other, their directory and its end; anything else in it is refused."""

import io
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from blockchain.audit.sources.archive import writing
from fedward.archive import Archive
from fedward.errors import EvidenceError, VerificationError

MEMBERS = {"a.json": b"{}", "b/0123": b"content" * 9, "c": b""}


def written(path: Path, members: dict[str, bytes] = MEMBERS) -> bytes:
    with writing(path) as archive:
        for name, content in members.items():
            archive.add(name, [content])
    return path.read_bytes()


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    return written(tmp_path / "whole")


def opened(path: Path, content: bytes, *, exact: bool = True) -> Archive:
    path.write_bytes(content)
    return Archive(path, 100, "Ask again.", exact=exact)


def read_all(archive: Archive) -> dict[str, bytes]:
    with archive:
        return {name: archive.read(name, 10_000) for name in archive.names()}


def zipped(add: Callable[[zipfile.ZipFile], object], method: int = zipfile.ZIP_STORED) -> bytes:
    """What the standard library makes of it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        add(archive)
    return buffer.getvalue()


def member(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("x")
    made.filename = made.orig_filename = name
    made.external_attr = mode << 16
    return made


def test_what_was_written_is_read(tmp_path: Path, whole: bytes) -> None:
    assert read_all(opened(tmp_path / "b", whole)) == MEMBERS
    assert read_all(opened(tmp_path / "b", whole, exact=False)) == MEMBERS


def test_other_tools_archives_are_read_where_bytes_need_not_be_exact(tmp_path: Path) -> None:
    content = zipped(lambda archive: [archive.writestr(name, each) for name, each in MEMBERS.items()])
    assert read_all(opened(tmp_path / "b", content, exact=False)) == MEMBERS
    with pytest.raises(VerificationError, match="no export writes"):
        opened(tmp_path / "b", content)


NAMES = [
    "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "./a", "a/./b", "C:\\x", "a\\b", "a:b", "\u202egnp.exe",
    "a\x1b[2J", "a\nb", "a\x00b", "\u00e9", "a b", " a", ".hidden", "..", ".", "~", "-x/../y", "x" * 201, "a\u200bb",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("exact", [False, True])
def test_a_name_that_is_not_plain_is_refused(name: str, exact: bool, tmp_path: Path) -> None:
    content = zipped(lambda archive: archive.writestr(member(name), b"x"))
    with pytest.raises(VerificationError) as refused:
        opened(tmp_path / "b", content, exact=exact)
    assert str(refused.value).isprintable()


def changed_at(content: bytes, place: int, to: bytes) -> bytes:
    return content[:place] + to + content[place + len(to) :]


def in_directory(content: bytes, offset: int, to: bytes) -> bytes:
    """Another value in the first record of the directory."""
    return changed_at(content, content.index(b"PK\x01\x02") + offset, to)


def moved(content: bytes, by: int) -> bytes:
    """All places moved, as for bytes before the archive that are accounted for."""
    start = content.index(b"PK\x01\x02")
    directory, at = bytearray(content[start:]), 0
    while directory[at : at + 4] == b"PK\x01\x02":
        (place,) = struct.unpack_from("<L", directory, at + 42)
        struct.pack_into("<L", directory, at + 42, place + by)
        at += 46 + sum(struct.unpack_from("<3H", directory, at + 28))
    struct.pack_into("<L", directory, at + 16, start + by)
    return content[:start] + bytes(directory)


def with_gap(content: bytes) -> bytes:
    """Bytes between the last member and the directory."""
    start = content.index(b"PK\x01\x02")
    longer = content[:start] + b"hidden" + content[start:]
    return changed_at(longer, len(longer) - 6, struct.pack("<L", start + 6))


def with_lying_end(content: bytes) -> bytes:
    """An end of large archives before that of small ones."""
    start = content.index(b"PK\x01\x02")
    length = len(content) - 22 - start
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 3, 3, length, start)
    return content[:-22] + end + struct.pack("<4sLQL", b"PK\x06\x07", 0, start + length, 1) + content[-22:]


STRUCTURES: dict[str, Callable[[bytes], bytes]] = {
    "bytes before": lambda content: b"#!/bin/sh\n" + content,
    "bytes before that are accounted for": lambda content: b"#!/bin/sh\n" + moved(content, 10),
    "bytes behind": lambda content: content + b"x",
    "a comment": lambda content: content[:-2] + b"\x01\x00x",
    "bytes before the directory": with_gap,
    "a lying end": with_lying_end,
    "cut short": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "an endless directory": lambda content: changed_at(content, len(content) - 10, b"\xff\xff\xff\x7f"),
    "more members": lambda content: changed_at(content, len(content) - 14, b"\x09\x00\x09\x00"),
    "fewer members": lambda content: changed_at(content, len(content) - 14, b"\x02\x00\x02\x00"),
    "encrypted": lambda content: in_directory(content, 8, b"\x01"),
    "streamed": lambda content: in_directory(content, 8, b"\x08"),
    "a name of another script": lambda content: in_directory(content, 9, b"\x08"),
    "another disk": lambda content: in_directory(content, 34, b"\x01"),
    "overlapping": lambda content: in_directory(content, 42, b"\x01"),
    "a longer member": lambda content: in_directory(content, 20, struct.pack("<2L", 3, 3)),
    "a huge member": lambda content: in_directory(content, 20, b"\xff" * 8),
    "another name in its own header": lambda content: changed_at(content, 30, b"z"),
    "another checksum in its own header": lambda content: changed_at(content, 14, bytes([content[14] ^ 1])),
    "a link": lambda _: zipped(lambda archive: archive.writestr(member("a", 0o120777), "/etc/passwd")),
    "a pipe": lambda _: zipped(lambda archive: archive.writestr(member("a", 0o010644), b"")),
    "a folder": lambda _: zipped(lambda archive: archive.writestr(member("a/", 0o040755), b"")),
    "compressed": lambda _: zipped(lambda archive: archive.writestr("a", bytes(10**6)), zipfile.ZIP_DEFLATED),
    "twins": lambda _: zipped(lambda archive: [archive.writestr(member("a"), each) for each in (b"1", b"2")]),
    "twins but for case": lambda _: zipped(lambda archive: [archive.writestr(member(each), b"") for each in "aA"]),
    "too many members": lambda _: zipped(
        lambda archive: [archive.writestr(member(f"m{index}"), b"") for index in range(101)]
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("exact", [False, True])
def test_an_archive_of_another_structure_is_refused(name: str, exact: bool, tmp_path: Path, whole: bytes) -> None:
    with pytest.raises((VerificationError, EvidenceError)) as refused:
        opened(tmp_path / "b", STRUCTURES[name](whole), exact=exact)
    assert str(refused.value).isprintable()


def test_changed_content_is_found_by_its_checksum(tmp_path: Path, whole: bytes) -> None:
    with (
        opened(tmp_path / "b", whole.replace(b"content", b"c0ntent", 1)) as archive,
        pytest.raises(VerificationError, match="checksum"),
    ):
        archive.read("b/0123", 1000)


def test_every_byte_counts_where_bytes_have_to_be_exact(tmp_path: Path, whole: bytes) -> None:
    for place in range(len(whole)):
        for flipped in (0x01, 0x10, 0x80):
            with pytest.raises((VerificationError, EvidenceError)):
                read_all(opened(tmp_path / "b", changed_at(whole, place, bytes([whole[place] ^ flipped]))))


def test_members_in_another_order_are_refused_where_bytes_have_to_be_exact(tmp_path: Path) -> None:
    written(tmp_path / "b", dict(reversed(MEMBERS.items())))
    with pytest.raises(VerificationError, match="another order"):
        Archive(tmp_path / "b", 100, "Ask again.", exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("count", [65_534, 65_535, 65_536, 70_000])
def test_more_members_than_a_small_archive_has_are_read(count: int, tmp_path: Path) -> None:
    written(tmp_path / "many", {f"{number:06d}": b"" for number in range(count)})
    with Archive(tmp_path / "many", 70_000, "Ask again.", exact=True) as archive:
        assert len(archive.names()) == count


def test_pipes_and_folders_are_no_archives(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "absent"):
        with pytest.raises(EvidenceError):
            Archive(path, 100, "Ask again.")


def test_a_member_is_read_up_to_a_bound_and_in_pieces(tmp_path: Path, whole: bytes) -> None:
    with opened(tmp_path / "b", whole) as archive:
        with pytest.raises(VerificationError, match="longer than 10 bytes"):
            archive.read("b/0123", 10)
        with pytest.raises(EvidenceError, match="has no d"):
            archive.read("d", 10)
        stream = archive.stream("b/0123")
        assert b"".join(iter(lambda: stream.take(40), b"")) == b"content" * 9
