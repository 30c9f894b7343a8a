"""The image files that a command is given: files by name, and what lies in folders."""

from collections.abc import Sequence
from pathlib import Path

from fedward.dataset.kinds import claims_to_be_image, unread_format
from fedward.dataset.records import LeftOut
from fedward.dataset.walking import list_files
from fedward.errors import DataError
from fedward.files import resolved


def image_files(paths: Sequence[Path]) -> tuple[list[Path], list[LeftOut]]:
    """All image files, each once, in the order given; those of a folder by name.

    Of a folder, files are taken whose names let one expect an image, in formats that are read here or not. A file that
    is named itself is taken whatever its name is.

    Args:
        paths: Files, or folders of them.

    Returns:
        The files; and what else of the folders was left out for a reason that users should know.

    Raises:
        DataError: a path is missing, a folder cannot be read, or there is no image.
    """
    found: dict[Path, Path] = {}
    left_out: list[LeftOut] = []
    for path in paths:
        if path.is_dir():
            files = [
                file for file in list_files(path, path, left_out) if claims_to_be_image(file) or unread_format(file)
            ]
        elif path.is_file():
            files = [path]
        else:
            raise DataError(f"There is no file or folder {path}.", "Name images, or folders of them.")
        for file in files:
            found.setdefault(resolved(file), file)
    if not found:
        raise DataError(f"There are no images in {', '.join(map(str, paths))}.", "Name images, or folders of them.")
    return list(found.values()), left_out
