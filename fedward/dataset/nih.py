"""NIH ChestX-ray14: `Data_Entry*.csv` beside folders of images; findings separated by `|`, patient ids given."""

import csv
from collections import Counter
from pathlib import Path

from fedward.dataset.folders import list_files, printable, visible_folders
from fedward.dataset.records import Entry, Listing, Split
from fedward.errors import DataError

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
NO_FINDING = "No Finding"

_IMAGE, _LABELS, _PATIENT = "Image Index", "Finding Labels", "Patient ID"
# Split lists of the official release, used where they are there.
_SPLIT_LISTS: tuple[tuple[str, Split], ...] = (("train_val_list.txt", "train"), ("test_list.txt", "test"))


def find_table(source: Path) -> Path | None:
    """The metadata table of a folder in the NIH layout, or None."""
    tables = sorted(path for path in source.glob("Data_Entry*.csv") if path.is_file() and not path.is_symlink())
    return tables[0] if tables else None


def list_nih(source: Path, table: Path) -> Listing:
    """List the images that the table describes and that are there.

    Raises:
        DataError: the table cannot be read or lacks a column, or none of its images is there.
    """
    skipped: Counter[str] = Counter()
    rows = _read_rows(table)
    files = {path.name: path for folder in visible_folders(source) for path in list_files(folder, source, skipped)}
    given = _given_splits(source)
    entries: dict[str, Entry] = {}
    for row in rows:
        name = row[_IMAGE]
        if name in entries:
            skipped["rows that repeat an image"] += 1
        elif name not in files:
            skipped["rows without an image file"] += 1
        else:
            shown = printable(files[name].relative_to(source).as_posix())
            columns = {key: value for key, value in row.items() if key not in (_IMAGE, _LABELS, _PATIENT)}
            entries[name] = Entry(shown, _findings(row[_LABELS]), row[_PATIENT], given.get(name), files[name], columns)
    skipped["image files without a row"] = len(files) - len(entries)
    if not entries:
        raise DataError(
            f"None of the {len(rows)} images in {table.name} is below {source}.", "Put them into a folder images/."
        )
    listed = tuple(sorted(entries.values(), key=lambda entry: entry.name))
    occurring = {finding for entry in listed for finding in entry.classes}
    return Listing(
        layout="NIH",
        entries=listed,
        classes=tuple(sorted(occurring)),
        negative=NO_FINDING,
        exclusive=False,
        skipped=dict(+skipped),
        dropped={"file names": len(listed), "metadata table fields": sum(len(row) for row in rows) - len(rows)},
    )


def _read_rows(table: Path) -> list[dict[str, str]]:
    """The table's rows as dictionaries, all fields stripped."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in (_IMAGE, _LABELS, _PATIENT) if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{table} has no column '{missing[0]}'.", "Use the table of the NIH release unchanged.")
            return [{key: (row[key] or "").strip() for key in reader.fieldnames or ()} for row in reader]
    except OSError as error:
        raise DataError(f"{table} could not be read: {error.strerror}.", "Check its permissions.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{table} is not a CSV table in UTF-8.", "Use the table of the NIH release unchanged."
        ) from error


def _findings(labels: str) -> tuple[str, ...]:
    """`Cardiomegaly|Effusion` -> both; `No Finding` -> none."""
    names = {printable(name.strip()) for name in labels.split("|")} - {"", NO_FINDING}
    return tuple(sorted(names))


def _given_splits(source: Path) -> dict[str, Split]:
    """The official split lists, where the release's text files are there."""
    given: dict[str, Split] = {}
    for file_name, split in _SPLIT_LISTS:
        path = source / file_name
        if not path.is_file() or path.is_symlink():
            continue
        try:
            given.update(dict.fromkeys(path.read_text(encoding="utf-8").split(), split))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} could not be read.", "Use the list of the NIH release, or remove it.") from error
    return given
