"""Tables from outside: CSV with commas, semicolons or tabs, in UTF-8, UTF-16 or Windows' own, packed or not."""

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path

from fedward.dataset.kinds import plain
from fedward.dataset.walking import printable
from fedward.errors import DataError
from fedward.files import opened_regular

MAX_TABLE_BYTES = 1024 * 2**20

Row = Mapping[str, str]

_END = "\x03"  # a line of its own behind the table: whatever swallows it ends inside quotes


def read_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table as dictionaries, all fields stripped.

    Columns are found whatever their case and spaces, and given under the names that were asked for.

    Args:
        path: The table; `.gz` is unpacked.
        needed: Columns that must be there.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    lines = read_lines(path)
    known = {plain(name): name for name in needed}
    head = [known.get(plain(name), name.strip()) for name in (lines[0] if lines else [])]
    for name in needed:
        if name not in head:
            raise DataError(f"{path} has no column '{name}'.", "Use the table of the release unchanged.")
    twice = next((name for name in head if name and head.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} has two columns '{twice}'.", "Use the table of the release unchanged.")
    least = max((head.index(name) for name in needed), default=-1)
    short = next((line for line in lines[1:] if len(line) <= least), None)
    if short is not None:
        raise DataError(
            f"{path} has a line that is too short, beginning with '{printable(short[0])[:60]}'.",
            "Use the table of the release unchanged.",
        )
    return [
        {name: (line[place].strip() if place < len(line) else "") for place, name in enumerate(head) if name}
        for line in lines[1:]
    ]


def read_lines(path: Path) -> list[list[str]]:
    """All lines of a table that are not empty, the names first, each as its fields.

    Table programs leave out empty fields at a line's end; that is no fault. But a table that was cut, or whose quotes
    or separators are wrong, would give images the labels of others, or none.

    Raises:
        DataError: it cannot be read, ends inside a field or a line, or a line has more fields than there are names.
    """
    text = decode_text(read_bytes_of(path), path)
    try:
        lines = list(csv.reader(StringIO(f"{text}\n{_END}", newline=""), delimiter=delimiter_of(text)))
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV table: {error}.", "Use the table of the release unchanged.") from error
    if lines.pop() != [_END]:
        raise DataError(f"{path} ends inside a quoted field.", "A quotation mark is missing, or the file was cut.")
    lines = [line for line in lines if any(field.strip() for field in line)]
    if lines and lines[0][0].strip().casefold().startswith("sep="):
        lines = lines[1:]
    for line in lines[1:]:
        if any(field.strip() for field in line[len(lines[0]) :]):
            raise DataError(
                f"{path} has a line of more fields than its first line, beginning with '{printable(line[0])[:60]}'.",
                "Put fields that hold the separator into quotes.",
            )
    if len(lines) > 1 and len(lines[-1]) < len(lines[0]) and not text.endswith(("\n", "\r")):
        raise DataError(f"{path} ends in the middle of a line.", "It was cut: take a whole copy.")
    return lines


def read_names(path: Path) -> list[str]:
    """The lines of a list, without byte order marks, blanks and quotes.

    Raises:
        DataError: it cannot be read.
    """
    text = decode_text(read_bytes_of(path), path)
    return [name for line in text.splitlines() if (name := line.strip().strip("\"'").strip(",;"))]


def read_bytes_of(path: Path) -> bytes:
    """A table's bytes, of bounded size.

    Raises:
        DataError: it cannot be read, or is too large.
    """
    try:
        with opened_regular(path, through_link=True) as table:
            content = table.read(MAX_TABLE_BYTES + 1)
        if len(content) > MAX_TABLE_BYTES:
            raise _too_large(path)
        if content[:2] == b"\x1f\x8b":
            with gzip.open(BytesIO(content)) as file:
                content = file.read(MAX_TABLE_BYTES + 1)
    except (OSError, ValueError, EOFError, zlib.error) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise DataError(f"{path} could not be read: {reason}.", "Check the file and its permissions.") from error
    if len(content) > MAX_TABLE_BYTES:
        raise _too_large(path)
    return content


def decode_text(content: bytes, path: Path) -> str:
    """Text by its byte order mark, else UTF-8, else Windows' Western code page.

    Raises:
        DataError: it is no text.
    """
    try:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16")
        if b"\0" in content[:200]:
            return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 or UTF-16.", "Save it as CSV in UTF-8.") from error


def delimiter_of(text: str) -> str:
    """What separates the fields: the sign that the first line has most of."""
    lines = text.lstrip("\ufeff").splitlines() or [""]
    if lines[0].casefold().startswith("sep=") and len(lines[0]) > 4:
        return lines[0][4]
    outside = "".join(lines[0].split('"')[::2])
    return max(",;\t|", key=outside.count)


def _too_large(path: Path) -> DataError:
    return DataError(
        f"{path} is larger than {MAX_TABLE_BYTES // 2**20} MiB.", "Use the table of the release unchanged."
    )
