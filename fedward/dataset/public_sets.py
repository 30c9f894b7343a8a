"""Public sets whose labels stand in tables: CheXpert, RSNA, PadChest, VinDr-CXR and MIMIC-CXR-JPG, as released.

Each is recognized by its table's name, or by its folders; one that is recognized and lacks its table is refused,
because its folders would else be taken for classes. See docs/data.md for what is read of each.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from fedward.dataset.kinds import plain
from fedward.dataset.patients import BY_FOLDER
from fedward.dataset.records import LeftOut, Listing, Split
from fedward.dataset.tabled import CONTRADICTED, UNLABELED, Files, TableRow, incomplete, list_rows
from fedward.dataset.tables import read_rows
from fedward.dataset.walking import visible_folders
from fedward.errors import DataError

_MENTIONED = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
_CHEXPERT_COLUMNS = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
_PADCHEST_COLUMNS = ("Projection", "PatientSex_DICOM", "Manufacturer_DICOM")
_DEVICES = frozenset({"Support Devices"})
# PadChest's words for the state of a study rather than for a finding.
_PADCHEST_NOTHING = frozenset({"normal", "exclude", "unchanged", "suboptimal study", ""})


def recognize(source: Path) -> Listing | None:
    """List a source if it is one of these sets.

    Raises:
        DataError: it is, and incomplete or unreadable.
    """
    for attempt in (_chexpert, _rsna, _padchest, _vindr, _mimic):
        listing = attempt(source)
        if listing is not None:
            return listing
    return None


def is_root(source: Path) -> bool:
    """Whether one of the sets' tables lies in a folder."""
    tables = any(_tables(source, pattern) for pattern in (*_RSNA, *_PADCHEST, *_MIMIC))
    return tables or any(
        (source / name).is_file() for name in ("train.csv", "valid.csv", "annotations/image_labels_train.csv")
    )


_CHEXPERT_TABLES: tuple[tuple[str, Split], ...] = (
    ("train*.csv", "train"), ("valid.csv", "val"), ("val_labels.csv", "val"), ("test*.csv", "test")
)  # fmt: skip
_RSNA = ("stage_[12]_train_labels.csv", "stage_[12]_detailed_class_info.csv")
_PADCHEST = ("PADCHEST_*.csv", "PADCHEST_*.csv.gz", "chest_x_ray_images_labels*.csv*")
_MIMIC = ("mimic-cxr-2.*-chexpert.csv*", "mimic-cxr-2.*-negbio.csv*", "mimic-cxr-2.*-split.csv*")


def _tables(source: Path, pattern: str) -> list[Path]:
    return sorted(path for path in source.glob(pattern) if path.is_file() and not path.is_symlink())


# ---- CheXpert ----------------------------------------------------------------------------------------------------


def _chexpert(source: Path) -> Listing | None:
    """`train.csv` and `valid.csv` with a path an image; 1, 0, -1 (uncertain) or nothing for each finding."""
    tables = [
        (path, split)
        for pattern, split in _CHEXPERT_TABLES
        for path in _tables(source, pattern)
        if _has_columns(path, ("path", "nofinding"))
    ]
    has_patients = any(
        re.fullmatch(r"patient\d{5,6}", folder.name)
        for name in ("train", "valid", "test", ".")
        if (source / name).is_dir()
        for folder in visible_folders(source / name)[:5]
    )
    if not tables:
        if has_patients and any(path.name.startswith("study") for path in _third_level(source)):
            raise incomplete(source, "CheXpert", "train.csv (with a column Path)")
        return None
    if len([path for path, split in tables if split == "train"]) > 1:
        raise DataError(f"{source} holds several tables for training.", "Keep the one that is meant.")
    left_out: list[LeftOut] = []
    files = Files(source, left_out)
    rows = []
    for path, split in tables:
        for row in read_rows(path, ("Path",)):
            marks = _marks(row, _MENTIONED)
            if marks is None:
                left_out.append(LeftOut(row["Path"], UNLABELED))
                continue
            findings, uncertain = marks
            patient = next((part for part in row["Path"].split("/") if re.fullmatch(r"patient\d+", part)), "")
            columns: dict[str, str] = {
                key: row[key] for key in ("Sex", "Age", "Frontal/Lateral", "AP/PA") if key in row
            }
            image = re.sub(r"^.*?(?=(train|valid|val|test)/patient)", "", row["Path"])
            rows.append(TableRow(image, findings, patient, BY_FOLDER, split, columns, uncertain))
    return list_rows("CheXpert", files, rows, left_out, tables[0][0].name, _DEVICES)


def _third_level(source: Path) -> Iterable[Path]:
    """A few folders three levels down, to look at."""
    for first in visible_folders(source)[:4]:
        for second in visible_folders(first)[:3]:
            yield second
            yield from visible_folders(second)[:3]


def _marks(row: dict[str, str], names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Findings that are marked 1, and those marked -1; None where a mark is none of 1, 0, -1 and nothing."""
    found: dict[float, list[str]] = {1.0: [], -1.0: []}
    by_plain = {plain(key): value for key, value in row.items()}
    for name in names:
        mark = _mark(by_plain.get(plain(name), ""))
        if mark is None:
            return None
        found.setdefault(mark, []).append(name)
    return tuple(sorted(found[1.0])), tuple(sorted(found[-1.0]))


def _has_columns(path: Path, names: Iterable[str]) -> bool:
    """Whether a table's first line names all of these; the rest is not read."""
    with path.open("rb") as file:
        head = file.read(65536).replace(b"\0", b"").split(b"\n")[0].decode("latin-1")
    columns = {plain(name.strip('"\r\ufeff ï»¿ÿþ')) for name in re.split(r"[,;\t]", head)}
    return set(names) <= columns


# ---- RSNA Pneumonia Detection Challenge --------------------------------------------------------------------------


def _rsna(source: Path) -> Listing | None:
    """`stage_2_train_labels.csv`: a row a box, Target 1 where there is pneumonia; a patient an image."""
    tables = _tables(source, "stage_[12]_train_labels.csv")
    folders = [folder.name for folder in visible_folders(source)]
    if not tables:
        if any(re.fullmatch(r"stage_[12]_train_images", name) for name in folders):
            raise incomplete(source, "the RSNA Pneumonia Detection Challenge", "stage_2_train_labels.csv")
        return None
    left_out: list[LeftOut] = []
    files = Files(source, left_out)
    targets: dict[str, bool] = {}
    unlabeled: set[str] = set()
    for row in read_rows(tables[-1], ("patientId", "Target")):
        if _mark(row["Target"] or "?") not in (0.0, 1.0):
            unlabeled.add(row["patientId"])
        targets[row["patientId"]] = targets.get(row["patientId"], False) or _mark(row["Target"]) == 1.0
    left_out += [LeftOut(name, UNLABELED) for name in sorted(unlabeled)]
    rows = (
        TableRow(name, ("Pneumonia",) if target else (), name, "the table's column patientId (one an image)")
        for name, target in targets.items()
        if name not in unlabeled
    )
    note = "RSNA numbers each image as a patient of its own; NIH's patients behind them are in a table of its own."
    return list_rows("RSNA", files, rows, left_out, tables[-1].name, note=note)


def _mark(text: str) -> float | None:
    """What a table says of a finding: 1, 0 or -1, and 0 for nothing; None for anything else, which is no label."""
    if text.casefold() in ("", "nan"):
        return 0.0
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number in (1.0, 0.0, -1.0) else None


# ---- PadChest ----------------------------------------------------------------------------------------------------


def _padchest(source: Path) -> Listing | None:
    """`PADCHEST_chest_x_ray_images_labels_*.csv`: a list of labels an image, in folders 0 to 54."""
    tables = sorted({path for pattern in _PADCHEST for path in _tables(source, pattern)})
    if not tables:
        folders = visible_folders(source)
        numbers = [folder for folder in folders if folder.name.isdigit()]
        names = [path.stem for folder in numbers[:3] for path in sorted(folder.iterdir())[:10]]
        numbered = bool(names) and len(numbers) == len(folders)
        if numbered and all(re.fullmatch(r"\d{15,}(_[\w-]+)?", name) for name in names):
            raise incomplete(source, "PadChest", "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv")
        return None
    left_out: list[LeftOut] = []
    files = Files(source, left_out)
    rows = []
    for row in read_rows(tables[0], ("ImageID", "PatientID", "Labels")):
        labels = _listed(row["Labels"])
        if labels is None or "exclude" in labels:
            left_out.append(LeftOut(row["ImageID"], "rows that the table excludes or leaves without labels"))
            continue
        columns: dict[str, str] = {
            key: row[key] for key in ("Projection", "PatientSex_DICOM", "Manufacturer_DICOM") if key in row
        }
        findings = tuple(sorted(labels - _PADCHEST_NOTHING))
        rows.append(TableRow(row["ImageID"], findings, row["PatientID"], "the table's column PatientID", None, columns))
    return list_rows("PadChest", files, rows, left_out, tables[0].name)


def _listed(text: str) -> set[str] | None:
    """`['a', 'b ']` -> both; None where the table says nothing."""
    try:
        labels = ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(labels, list):
        return None
    return {str(label).strip().casefold() for label in labels}


# ---- VinDr-CXR ---------------------------------------------------------------------------------------------------


def _vindr(source: Path) -> Listing | None:
    """`annotations/image_labels_*.csv`: three radiologists an image of train; most of them decide."""
    official: tuple[Split, ...] = ("train", "test")
    found = [
        (path, split)
        for split in official
        for folder in (source / "annotations", source)
        for path in _tables(folder, f"image_labels_{split}.csv")
    ]
    if not found:
        for name in ("train", "test"):
            folder = source / name
            if folder.is_dir():
                files_there = [path for path in sorted(folder.iterdir())[:20] if path.is_file()]
                if files_there and all(re.fullmatch(r"[0-9a-f]{32}", path.stem) for path in files_there):
                    raise incomplete(source, "VinDr-CXR", "annotations/image_labels_train.csv")
        return None
    left_out: list[LeftOut] = []
    files = Files(source, left_out)
    rows: list[TableRow] = []
    for path, split in found:
        readings: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in read_rows(path, ("image_id",)):
            readings[row["image_id"]].append(row)
        for image, opinions in readings.items():
            if any(_mark(opinion[name] or "?") not in (0.0, 1.0) for opinion in opinions for name in _marked(opinion)):
                left_out.append(LeftOut(image, UNLABELED))
                continue
            names = [name for name in _marked(opinions[0]) if plain(name) != "nofinding"]
            votes = {name: sum(_mark(opinion[name]) == 1.0 for opinion in opinions) for name in names}
            agreed = tuple(sorted(name for name, marked in votes.items() if 2 * marked > len(opinions)))
            rows.append(TableRow(image, agreed, split=split))
    note = "VinDr-CXR: a finding counts where more than half of an image's radiologists marked it."
    return list_rows("VinDr-CXR", files, rows, left_out, found[0][0].name, note=note)


def _marked(opinion: dict[str, str]) -> list[str]:
    """The columns of VinDr-CXR's table that are findings."""
    return [name for name in opinion if plain(name) not in ("imageid", "radid")]


# ---- MIMIC-CXR-JPG -----------------------------------------------------------------------------------------------

_MIMIC_SPLITS: dict[str, Split] = {"train": "train", "validate": "val", "test": "test"}


def _mimic(source: Path) -> Listing | None:
    """`mimic-cxr-2.0.0-chexpert.csv` (a row a study) and `-split.csv` (a row an image)."""
    labels = _tables(source, "mimic-cxr-2.*-chexpert.csv*") or _tables(source, "mimic-cxr-2.*-negbio.csv*")
    splits = _tables(source, "mimic-cxr-2.*-split.csv*")
    if not labels or not splits:
        inner = source / "files" if (source / "files").is_dir() else source
        tens = [folder.name for folder in visible_folders(inner)]
        if labels or splits or (tens and all(re.fullmatch(r"p1\d", name) for name in tens)):
            missing = "mimic-cxr-2.0.0-split.csv" if labels else "mimic-cxr-2.0.0-chexpert.csv"
            raise incomplete(source, "MIMIC-CXR-JPG", f"{missing} (in the folder above files/)")
        return None
    left_out: list[LeftOut] = []
    files = Files(source, left_out)
    studies: dict[str, dict[str, str]] = {}
    contradicted = {
        row["study_id"]
        for row in read_rows(labels[0], ("subject_id", "study_id"))
        if studies.setdefault(row["study_id"], row) != row
    }
    rows = []
    for row in read_rows(splits[0], ("dicom_id", "study_id", "subject_id", "split")):
        study = studies.get(row["study_id"])
        if study is None:
            left_out.append(LeftOut(row["dicom_id"], "images of studies without labels"))
            continue
        marks = _marks(study, _MENTIONED)
        if marks is None or row["study_id"] in contradicted:
            left_out.append(LeftOut(row["dicom_id"], CONTRADICTED if marks else UNLABELED))
            continue
        findings, uncertain = marks
        split = _MIMIC_SPLITS.get(row["split"].casefold())
        by = "the table's column subject_id"
        rows.append(TableRow(row["dicom_id"], findings, row["subject_id"], by, split, {}, uncertain))
    return list_rows("MIMIC-CXR-JPG", files, rows, left_out, labels[0].name, _DEVICES)
