"""Going through folders of files from outside: what is there, and each thing that is left out, with its reason."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from fedward.dataset.kinds import is_mask_folder, is_system, masked_stem
from fedward.dataset.records import LeftOut
from fedward.errors import DataError
from fedward.files import resolved

LINKED_FOLDER = "links to folders, which are not followed"
LINK_OUT = "links that lead out of the folder"
DEAD_LINK = "links that lead nowhere"
SYSTEM = "hidden and system files"
UNOPENED = "folders that cannot be opened"
SPECIAL = "pipes, sockets and devices"
MASKS = "folders of masks"
MASK_FILE = "masks beside their images"


def printable(name: str) -> str:
    """A file or folder name that can be shown and written as UTF-8, whatever bytes it has on the disk."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def shown(path: Path, source: Path) -> str:
    """A path inside a source, as it may be shown."""
    return printable(path.relative_to(source).as_posix())


def told(left_out: Iterable[LeftOut]) -> str:
    """One line of what was left out: counts by reason, the commonest first; "" where nothing was."""
    counts = Counter(item.reason for item in left_out)
    return ", ".join(
        f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def describe_left_out(left_out: Iterable[LeftOut]) -> str:
    """What was left out as the end of a paragraph, "" where nothing was."""
    text = told(left_out)
    return f" Left out: {text}." if text else ""


def visible_folders(folder: Path) -> list[Path]:
    """The real folders (no links) in a folder that are neither hidden nor an archive program's litter, by name.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and not is_system(path.name)
        )
    except OSError as error:
        raise DataError(
            f"The folder {folder} could not be read: {error.strerror}.", "Check its permissions."
        ) from error


def list_files(folder: Path, source: Path, left_out: list[LeftOut]) -> list[Path]:
    """All regular files below a folder that may be images, sorted; what is left out is added to the list given."""
    root = resolved(source)
    found: list[Path] = []

    def leave(path: Path, reason: str) -> None:
        left_out.append(LeftOut(shown(path, source), reason))

    def unopened(error: OSError) -> None:
        leave(Path(os.fsdecode(error.filename)), UNOPENED)

    for base, folders, files in os.walk(folder, onerror=unopened):
        kept = []
        for name in sorted(folders):
            path = Path(base, name)
            reason = LINKED_FOLDER if path.is_symlink() else SYSTEM if is_system(name) else ""
            reason = reason or (MASKS if is_mask_folder(name) else "")
            if reason:
                leave(path, reason)
            else:
                kept.append(name)
        folders[:] = kept
        stems = {Path(name).stem for name in files}
        for name in sorted(files):
            path = Path(base, name)
            reason = _reason_against(path, root) or (MASK_FILE if masked_stem(path.stem) in stems else "")
            if reason:
                leave(path, reason)
            else:
                found.append(path)
    return found


def _reason_against(path: Path, root: Path) -> str:
    """Why a file is not looked at, "" where it is."""
    if is_system(path.name):
        return SYSTEM
    if path.is_symlink():
        try:
            if not path.resolve(strict=True).is_relative_to(root):
                return LINK_OUT
        except (OSError, RuntimeError):
            return DEAD_LINK
    return "" if path.is_file() else SPECIAL  # reading a pipe could wait for ever
