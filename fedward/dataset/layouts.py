"""Which layout a source has. Recognized by what is there, never by what it is called."""

from pathlib import Path

from fedward.dataset.folders import is_negative, list_class_folders, split_folders, visible_folders
from fedward.dataset.medmnist import list_medmnist
from fedward.dataset.nih import find_table, list_nih
from fedward.dataset.phantoms import list_phantoms
from fedward.dataset.records import LAYOUTS, Listing
from fedward.errors import DataError
from fedward.settings import DataSettings

SYNTHETIC = "synthetic"


def list_images(settings: DataSettings, seed: int) -> Listing:
    """List the images of a source without reading them (phantoms are drawn here).

    Raises:
        DataError: the source is missing, of no known layout, or empty.
    """
    if settings.source == SYNTHETIC:
        return list_phantoms(settings.synthetic_images, settings.image_size, seed)
    source = Path(settings.source).expanduser()
    if not source.exists():
        raise DataError(f"There is no file or folder {source}.", "Check the path given to --data.")
    if source.is_file():
        if not _starts_like_zip(source):
            raise _unknown(source)
        return list_medmnist(source)
    if not source.is_dir():
        raise _unknown(source)
    listing = _list_folder(_inner(source))
    if not listing.entries:
        raise _unknown(source)
    return listing


def _list_folder(source: Path) -> Listing:
    table = find_table(source)
    return list_nih(source, table) if table else list_class_folders(source)


def _inner(source: Path) -> Path:
    """The data set inside lone outer folders, as archives often unpack to (`chest_xray/chest_xray/train`)."""
    candidate = source
    for _ in range(3):
        folders = visible_folders(candidate)
        if find_table(candidate) or split_folders(candidate) or any(is_negative(folder.name) for folder in folders):
            return candidate
        if len(folders) != 1:
            break
        candidate = folders[0]
    return source


def _starts_like_zip(source: Path) -> bool:
    """Whether a file may be an .npz archive."""
    try:
        with source.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise DataError(f"{source} could not be read: {error.strerror}.", "Check its permissions.") from error


def _unknown(source: Path) -> DataError:
    return DataError(f"{source} has no layout that is recognized.", f"Give one of these to --data: {LAYOUTS}.")
