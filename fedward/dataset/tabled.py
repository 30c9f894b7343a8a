"""What layouts share whose labels stand in a table beside the images."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fedward.dataset.kinds import claims_to_be_image, unread_format
from fedward.dataset.records import Entry, LeftOut, Listing, Split
from fedward.dataset.walking import describe_left_out, list_files, shown
from fedward.errors import DataError

NO_ROW = "image files without a row in the table"
NO_FILE = "rows without an image file"
REPEATED = "rows that repeat an image"
CONTRADICTED = "images to which the table gives unlike labels or patients"
UNLABELED = "rows whose labels are missing or are none"
OTHER_FILE = "files beside the images that are none"

NO_FINDING = "No Finding"


@dataclass(frozen=True)
class TableRow:
    """What a table says of one image.

    Attributes:
        image: Path inside the source, or the file's name, with or without suffix.
        findings: What the image shows; empty for nothing.
        patient: "" where the table has none.
        patient_by: How the patient is known.
        split: None where the table has none.
        columns: What may be partitioned by.
        uncertain: Findings of which the table is not sure.
    """

    image: str
    findings: tuple[str, ...]
    patient: str = ""
    patient_by: str = ""
    split: Split | None = None
    columns: dict[str, str] = field(default_factory=dict)
    uncertain: tuple[str, ...] = ()


class Files:
    """The files of a source, found by path, name or stem, whatever the case of letters."""

    def __init__(self, source: Path, left_out: list[LeftOut]) -> None:
        """Walk through the source once."""
        self.source = source
        self.images: list[Path] = []
        for path in list_files(source, source, left_out):
            if claims_to_be_image(path) and (path.suffix or path.parent != source):
                self.images.append(path)
            elif path.parent != source:
                left_out.append(LeftOut(shown(path, source), (unread_format(path) and NO_ROW) or OTHER_FILE))
        self._by_key: dict[str, Path | None] = {}
        for path in self.images:
            relative = path.relative_to(source).as_posix().casefold()
            base = path.name.casefold()
            for key in {relative, base, base.rpartition(".")[0] or base}:
                self._by_key[key] = path if self._by_key.get(key, path) == path else None  # None: several

    def find(self, image: str) -> Path | None:
        """The one file that a table means."""
        key = image.replace("\\", "/").strip("/").casefold()
        return self._by_key.get(key) or self._by_key.get(key.rpartition("/")[2])


def list_rows(
    layout: str,
    files: Files,
    rows: Iterable[TableRow],
    left_out: list[LeftOut],
    table: str,
    no_findings: frozenset[str] = frozenset(),
    note: str = "",
) -> Listing:
    """Bring rows and files together; what is on one side only is named.

    Args:
        layout: The data set's name.
        files: What is there.
        rows: What the table says.
        left_out: Added to.
        table: The table's name, for errors.
        no_findings: Columns that are no findings.
        note: What else the reader should know.

    Raises:
        DataError: none of the rows' images is there.
    """
    entries, count = _joined(files, rows, left_out)
    if not entries:
        raise DataError(
            f"None of the {count} images in {table} is below {files.source} and usable.{describe_left_out(left_out)}",
            "Unpack the images beside the table. Links to folders are not followed.",
        )
    listed = tuple(sorted(entries.values(), key=lambda entry: entry.name))
    occurring = {finding for entry in listed for finding in (*entry.classes, *entry.uncertain)}
    return Listing(
        layout=layout,
        entries=listed,
        classes=tuple(sorted(occurring)),
        negative=NO_FINDING,
        exclusive=False,
        left_out=tuple(left_out),
        dropped={"file names": len(listed), "metadata table fields": sum(len(e.columns) + 2 for e in listed)},
        no_findings=no_findings,
        note=note,
    )


def _joined(files: Files, rows: Iterable[TableRow], left_out: list[LeftOut]) -> tuple[dict[Path, Entry], int]:
    """The images of which both a row and a file are there, and how many rows there are."""
    entries: dict[Path, Entry] = {}
    contradicted: set[Path] = set()
    count = 0
    for row in rows:
        count += 1
        path = files.find(row.image)
        if path is None:
            left_out.append(LeftOut(row.image, NO_FILE))
        elif path in entries:
            left_out.append(LeftOut(row.image, REPEATED))
            first = entries[path]
            if (first.classes, first.uncertain, first.patient) != (row.findings, row.uncertain, row.patient):
                contradicted.add(path)
        else:
            entries[path] = Entry(
                shown(path, files.source), row.findings, row.patient, row.split, path, row.columns, row.patient_by,
                uncertain=row.uncertain,
            )  # fmt: skip
    left_out += [LeftOut(entries.pop(path).name, CONTRADICTED) for path in sorted(contradicted)]
    without = [path for path in files.images if path not in entries and path not in contradicted]
    left_out += [LeftOut(shown(path, files.source), NO_ROW) for path in without]
    return entries, count


def incomplete(source: Path, name: str, missing: str) -> DataError:
    """The error for a data set that is recognized and lacks a part."""
    return DataError(
        f"{source} looks like {name}, but {missing} is missing.",
        "Its labels stand there, so its folders are no classes: put the file beside the images as in the release.",
    )
