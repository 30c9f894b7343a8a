"""NIH ChestX-ray14: `Data_Entry*.csv` (or Kaggle's `sample_labels.csv`) beside folders of images."""

import re
from pathlib import Path

from fedward.dataset.kinds import plain
from fedward.dataset.patients import BY_NAME, patient_in_name
from fedward.dataset.records import LeftOut, Listing, Split
from fedward.dataset.tabled import NO_FINDING, UNLABELED, Files, TableRow, incomplete, list_rows
from fedward.dataset.tables import read_names, read_rows
from fedward.dataset.walking import printable, visible_folders
from fedward.errors import DataError

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
NAME = "NIH"
BY_TABLE = "the table's column Patient ID"

_IMAGE, _LABELS, _PATIENT = "Image Index", "Finding Labels", "Patient ID"
_KNOWN = {plain(name): name for name in FINDINGS}
# Split lists of the official release and copies of it, used where they are there.
_SPLIT_LISTS: tuple[tuple[str, Split], ...] = (("train_val_list*.txt", "train"), ("test_list*.txt", "test"))
_FILE = re.compile(r"\d{8}_\d{3}\.png", re.IGNORECASE)
_ARCHIVE = re.compile(r"images(_\d{1,3})?", re.IGNORECASE)
_STRANGE_LIST = "split lists that name none of the images"


def find_table(source: Path) -> Path | None:
    """The metadata table of a folder in the NIH layout, or None.

    Raises:
        DataError: there are two with different content, or the table is a link.
    """
    found = sorted(path for pattern in ("Data_Entry*.csv", "sample_labels.csv") for path in source.glob(pattern))
    tables = [path for path in found if path.is_file() and not path.is_symlink()]
    if found and not tables:
        raise DataError(f"The table {found[0]} is a link, which is not followed.", "Copy it there.")
    if len(tables) > 1 and len({path.read_bytes() for path in tables}) > 1:
        raise DataError(
            f"{source} holds {tables[0].name} and {tables[1].name}, which differ.", "Keep the one that is meant."
        )
    return tables[0] if tables else None


def recognize(source: Path) -> Listing | None:
    """List the set if this is it.

    Raises:
        DataError: it is, and incomplete or unreadable.
    """
    table = find_table(source)
    if table is not None:
        return list_nih(source, table)
    folders = visible_folders(source)
    archives = [folder for folder in folders if _ARCHIVE.fullmatch(folder.name)]
    if archives and len(archives) == len(folders):
        inner = [folder / "images" if (folder / "images").is_dir() else folder for folder in archives]
        names = [path.name for folder in inner for path in sorted(folder.iterdir())[:20]]
        if names and all(_FILE.fullmatch(name) for name in names):
            raise incomplete(source, "NIH ChestX-ray14", "the table Data_Entry_2017.csv (or Data_Entry_2017_v2020.csv)")
    return None


def list_nih(source: Path, table: Path) -> Listing:
    """List the images that the table describes and that are there.

    Raises:
        DataError: the table cannot be read or lacks a column, or none of its images is there.
    """
    left_out: list[LeftOut] = []
    rows = read_rows(table, (_IMAGE, _LABELS, _PATIENT))
    files = Files(source, left_out)
    given = _given_splits(source, {row[_IMAGE].casefold() for row in rows}, left_out)
    found = []
    for row in rows:
        if not row[_LABELS]:
            left_out.append(LeftOut(row[_IMAGE], UNLABELED))
            continue
        columns = {key: value for key, value in row.items() if key not in (_IMAGE, _LABELS, _PATIENT)}
        patient, by = row[_PATIENT], BY_TABLE
        if not patient:
            patient, by = patient_in_name(row[_IMAGE]), BY_NAME
        split = given.get(row[_IMAGE].casefold())
        found.append(TableRow(row[_IMAGE], _findings(row[_LABELS]), patient, by if patient else "", split, columns))
    return list_rows(NAME, files, found, left_out, table.name)


def _findings(labels: str) -> tuple[str, ...]:
    """`Cardiomegaly|Effusion` -> both, in the release's spelling; `No Finding` -> none."""
    names = {printable(name.strip()) for name in labels.split("|")}
    return tuple(sorted(_KNOWN.get(plain(name), name) for name in names if plain(name) not in ("", plain(NO_FINDING))))


def _given_splits(source: Path, images: set[str], left_out: list[LeftOut]) -> dict[str, Split]:
    """The official split lists, where the release's text files are there."""
    given: dict[str, Split] = {}
    for pattern, split in _SPLIT_LISTS:
        for path in sorted(source.glob(pattern)):
            if not path.is_file() or path.is_symlink():
                continue
            names = {name.replace("\\", "/").rpartition("/")[2].casefold() for name in read_names(path)}
            if not names & images:
                left_out.append(LeftOut(path.name, _STRANGE_LIST))
            given.update(dict.fromkeys(names, split))
    return given
