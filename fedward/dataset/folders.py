"""The layout that most public sets come in: a folder a class, alone or inside train/, val/ and test/."""

import os
import re
from collections import Counter
from pathlib import Path

from fedward.dataset.records import Entry, Listing, Split
from fedward.errors import DataError

MAX_CLASSES = 50

_SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "dicomdir"})
_NEGATIVE_NAMES = frozenset({"normal", "negative", "nofinding", "0"})

# Names that carry a patient: the Kaggle set's `person123_bacteria_456`, `IM-0115-0001`, `NORMAL2-IM-0115-0001`
# (the last two are different patients), and NIH's `00000001_000`.
_PATIENT_NAMES = (
    re.compile(r"(person\d+)_(?:bacteria|virus)_\d+"),
    re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?"),
    re.compile(r"(\d{8})_\d{3}"),
)


def is_negative(name: str) -> bool:
    """Whether a class name says "nothing found": normal, negative, no_finding or 0."""
    return re.sub(r"[\s_-]", "", name.lower()) in _NEGATIVE_NAMES


def printable(name: str) -> str:
    """A file or folder name that can be shown and written as UTF-8, whatever bytes it has on the disk."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def visible_folders(folder: Path) -> list[Path]:
    """The real folders (no links) in a folder that are neither hidden nor an archive program's litter, by name.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if _is_real_folder(path) and not _is_ignored(path.name))
    except OSError as error:
        raise DataError(
            f"The folder {folder} could not be read: {error.strerror}.", "Check its permissions."
        ) from error


def split_folders(source: Path) -> list[tuple[Path, Split]]:
    """The folders named like splits, with the split that each stands for."""
    folders = visible_folders(source)
    return [(folder, _SPLIT_NAMES[folder.name.lower()]) for folder in folders if folder.name.lower() in _SPLIT_NAMES]


def list_class_folders(source: Path) -> Listing:
    """List a folder of classes, or one of splits of classes. A class may hold further folders; they do not count.

    Raises:
        DataError: it is no such folder, or has more than 50 classes.
    """
    skipped: Counter[str] = Counter()
    entries: list[Entry] = []
    splits = split_folders(source)
    roots: list[tuple[Path, Split | None]] = [*splits] if splits else [(source, None)]
    for root, split in roots:
        skipped["linked folders"] += sum(path.is_symlink() and path.is_dir() for path in root.iterdir())
        for class_folder in visible_folders(root):
            for path in list_files(class_folder, source, skipped):
                name = printable(path.relative_to(source).as_posix())
                patient = patient_in_name(path.name)
                entries.append(Entry(name, (printable(class_folder.name),), patient, split, path))
    classes = tuple(sorted({entry.classes[0] for entry in entries}))
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"{source} has {len(classes)} folders, too many to be classes (they look like patients).",
            "Put the images into one folder for each class.",
        )
    negatives = [name for name in classes if is_negative(name)]
    return Listing(
        layout="class folders with splits" if splits else "class folders",
        entries=tuple(sorted(entries, key=lambda entry: entry.name)),
        classes=classes,
        negative=negatives[0] if len(negatives) == 1 else "",
        exclusive=True,
        skipped=dict(+skipped),
        dropped={"file names": len(entries)},
    )


def patient_in_name(file_name: str) -> str:
    """The patient that a known naming scheme puts into a file name; "" for any other name."""
    stem = file_name.split(".")[0]
    for pattern in _PATIENT_NAMES:
        match = pattern.fullmatch(stem)
        if match:
            return match.group(1)
    return ""


def list_files(folder: Path, source: Path, skipped: Counter[str]) -> list[Path]:
    """All regular files below a folder, sorted; links that lead out of the source are counted and left out."""
    root = source.resolve()
    found: list[Path] = []
    for base, folders, files in os.walk(folder):
        links = [name for name in folders if Path(base, name).is_symlink()]
        skipped["linked folders"] += len(links)
        folders[:] = sorted(name for name in folders if not _is_ignored(name) and name not in links)
        for name in sorted(files):
            path = Path(base, name)
            if _is_ignored(name):
                skipped["hidden and system files"] += 1
            elif path.is_symlink() and not path.resolve().is_relative_to(root):
                skipped["links out of the source"] += 1
            elif path.exists() and not path.is_file():
                skipped["pipes, sockets and devices"] += 1  # reading one could wait for ever
            else:
                found.append(path)
    return found


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED_NAMES


def _is_real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
