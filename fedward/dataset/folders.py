"""The layout that most public sets come in: a folder a class, alone or inside train/, val/ and test/."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from fedward.dataset.kinds import claims_to_be_image, is_mask_folder, is_no_class, is_system, unread_format
from fedward.dataset.naming import negative_class
from fedward.dataset.patients import FolderPatients, patient_in_names
from fedward.dataset.records import Entry, LeftOut, Listing, Split
from fedward.dataset.walking import LINKED_FOLDER, MASKS, SYSTEM, list_files, printable, shown, visible_folders
from fedward.errors import DataError

MAX_CLASSES = 50

NO_IMAGES = "folders without images"
NO_CLASS = "folders whose name says that they are no class"
BESIDE_SPLITS = "folders beside the splits"
LOOSE_IMAGE = "images outside any class folder"
LOOSE_FILE = "other files beside the class folders"

_SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
# Names of folders that number patients, studies, or parts of an archive.
_NUMBERED = (
    (re.compile(r"(patient|pat|subject|subj|sub|person|pt|pid|p)[ _-]?\d+", re.IGNORECASE), "patients"),
    (re.compile(r"(study|stud|series|session|visit|exam|case|s)[ _-]?\d+", re.IGNORECASE), "studies"),
    (re.compile(r"(images?|imgs?|part|batch|archive|folder|data|chunk|shard|zip)[ _-]?\d+", re.IGNORECASE), "parts"),
    (re.compile(r"[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+(\.\d+){4,}", re.IGNORECASE), "ids"),
)
_PARTS = re.compile(
    r"((stage|phase)[ _-]?\d[ _-])?((train|test|val|valid)(ing)?[ _-])?(images?|files|data|dicoms?|pngs?|jpe?gs?)"
)


def split_folders(source: Path) -> list[tuple[Path, Split]]:
    """The folders named like splits, with the split that each stands for."""
    folders = visible_folders(source)
    return [(folder, _SPLIT_NAMES[folder.name.lower()]) for folder in folders if folder.name.lower() in _SPLIT_NAMES]


def list_class_folders(source: Path) -> Listing:
    """List a folder of classes, or one of splits of classes. A class may hold further folders.

    Folders of masks, of papers and without images are no classes; each is named among what is left out.

    Raises:
        DataError: it is no such folder, its folders are no classes, or there are more than 50.
    """
    left_out: list[LeftOut] = []
    splits = split_folders(source)
    roots: list[tuple[Path, Split | None]] = [*splits] if splits else [(source, None)]
    if splits:
        _leave_beside(source, {folder.name for folder, _ in splits}, BESIDE_SPLITS, left_out)
    found: list[tuple[Path, str, Split | None, Path]] = []  # file, class, split, the class's folder
    spellings: dict[str, str] = {}  # of a class: train/NORMAL and test/Normal are one, under the first spelling
    for root, split in roots:
        class_folders = _class_folders(root, source, left_out)
        for class_folder, files in class_folders:
            name = printable(unicodedata.normalize("NFC", class_folder.name).strip())
            name = spellings.setdefault(" ".join(name.casefold().split()), name)
            found += [(path, name, split, class_folder) for path in files]
        _leave_beside(root, {folder.name for folder in visible_folders(root)}, "", left_out, source)
    classes = tuple(sorted({name for _, name, _, _ in found}))
    _refuse_what_is_no_class(source, classes)
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"{source} has {len(classes)} folders, too many to be classes (they look like patients).",
            "Put the images into one folder for each class.",
        )
    by_name = patient_in_names([path.name for path, *_ in found])
    by_folder = FolderPatients([path.relative_to(folder).parts[:-1] for path, _, _, folder in found])
    entries = []
    for row, (path, name, split, _) in enumerate(found):
        patient, told_by = by_folder.of(row) or by_name(path.name) or ("", "")
        entries.append(Entry(shown(path, source), (name,), patient, split, path, patient_by=told_by))
    return Listing(
        layout="class folders with splits" if splits else "class folders",
        entries=tuple(sorted(entries, key=lambda entry: entry.name)),
        classes=classes,
        negative=negative_class(classes),
        exclusive=True,
        left_out=tuple(left_out),
        dropped={"file names": len(entries)},
    )


def _class_folders(root: Path, source: Path, left_out: list[LeftOut]) -> list[tuple[Path, list[Path]]]:
    """The folders that are classes, each with its files."""
    classes = []
    for folder in visible_folders(root):
        if is_no_class(folder.name):
            left_out.append(LeftOut(shown(folder, source), MASKS if is_mask_folder(folder.name) else NO_CLASS))
            continue
        inside: list[LeftOut] = []
        files = list_files(folder, source, inside)
        left_out += inside
        if any(claims_to_be_image(path) or unread_format(path) for path in files):
            classes.append((folder, files))
        elif not inside or files:
            left_out.append(LeftOut(shown(folder, source), NO_IMAGES))
    return classes


def _leave_beside(
    folder: Path, known: set[str], folders: str, left_out: list[LeftOut], source: Path | None = None
) -> None:
    """Name what stands in a folder beside those that are used: links, loose files, and other folders if asked to."""
    source = source or folder
    try:
        others = sorted(path for path in folder.iterdir() if path.name not in known)
    except OSError as error:
        raise DataError(
            f"The folder {folder} could not be read: {error.strerror}.", "Check its permissions."
        ) from error
    for path in others:
        if path.is_symlink() and path.is_dir():
            reason = LINKED_FOLDER
        elif is_system(path.name):
            reason = SYSTEM
        elif path.is_dir():
            reason = folders
        elif folders:
            continue  # loose files of the source are named with its roots
        else:
            is_image = bool(path.suffix) and claims_to_be_image(path)
            reason = LOOSE_IMAGE if is_image or unread_format(path) else LOOSE_FILE
        if reason:
            left_out.append(LeftOut(shown(path, source), reason))


def _refuse_what_is_no_class(source: Path, classes: Sequence[str]) -> None:
    """Refuse folders that number patients or parts: a model would learn to tell one archive from another."""
    if not classes:
        return
    tables = sorted(path.name for path in source.iterdir() if path.suffix.lower() in (".csv", ".tsv", ".xlsx", ".json"))
    beside = f" Labels may stand in {printable(tables[0])}, which is of no layout that is known here." if tables else ""
    for pattern, kind in _NUMBERED:
        if all(pattern.fullmatch(name) for name in classes):
            raise _no_classes(source, classes, f"they number {kind}", beside)
    if all(_PARTS.fullmatch(name.casefold()) for name in classes):
        raise _no_classes(source, classes, "they are parts of a data set", beside)
    if len(classes) > 2 and tables and all(name.isdigit() for name in classes):
        raise _no_classes(source, classes, "they are numbers beside a table", beside)


def _no_classes(source: Path, classes: Sequence[str], reason: str, beside: str) -> DataError:
    named = ", ".join(repr(name) for name in classes[:3]) + (", ..." if len(classes) > 3 else "")
    return DataError(
        f"The folders in {source} ({named}) are no classes: {reason}.{beside}",
        "Put the images into one folder for each class, or keep a public data set as it was unpacked.",
    )
