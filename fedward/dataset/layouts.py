"""Which layout a source has. Recognized by what is there, never by what it is called."""

from pathlib import Path

from fedward.dataset import nih, public_sets
from fedward.dataset.folders import list_class_folders, split_folders
from fedward.dataset.medmnist import list_medmnist
from fedward.dataset.naming import negative_class
from fedward.dataset.phantoms import list_phantoms
from fedward.dataset.records import LAYOUTS, LeftOut, Listing
from fedward.dataset.walking import describe_left_out, visible_folders
from fedward.errors import DataError, UsageError
from fedward.settings import DataSettings

SYNTHETIC = "synthetic"


def list_images(settings: DataSettings, seed: int) -> Listing:
    """List the images of a source without reading them (phantoms are drawn here).

    Raises:
        DataError: the source is missing, of no known layout, incomplete, or empty.
        UsageError: no source is named.
    """
    if settings.source == SYNTHETIC:
        return list_phantoms(settings.synthetic_images, settings.image_size, seed)
    if not settings.source.strip():
        raise UsageError("The path of the data is empty.", "Give --data a folder, a .npz file, or 'synthetic'.")
    source = _expanded(settings.source)
    if source.is_file():
        if not _starts_like_zip(source):
            raise _unknown(source)
        return list_medmnist(source)
    if not source.is_dir():
        raise _unknown(source)
    try:
        listing = _list_folder(_inner(source))
    except OSError as error:
        raise DataError(f"{source} could not be read: {error.strerror}.", "Check its permissions.") from error
    if not listing.entries:
        raise _unknown(source, listing.left_out)
    return listing


def _expanded(text: str) -> Path:
    """The path that a user means.

    Raises:
        DataError: there is nothing, or it names a user who does not exist, or a link that points at itself.
    """
    try:
        source = Path(text).expanduser()
        source.stat()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        known = f" ({reason})" if reason and "No such file" not in reason else ""
        raise DataError(f"There is no file or folder {text}{known}.", "Check the path given to --data.") from error
    return source


def _list_folder(source: Path) -> Listing:
    return nih.recognize(source) or public_sets.recognize(source) or list_class_folders(source)


def _inner(source: Path) -> Path:
    """The data set inside lone outer folders, as archives often unpack to (`chest_xray/chest_xray/train`)."""
    candidate = source
    for _ in range(3):
        folders = visible_folders(candidate)
        known = nih.find_table(candidate) or public_sets.is_root(candidate) or split_folders(candidate)
        if known or negative_class([folder.name for folder in folders]):
            return candidate
        if len(folders) != 1:
            return candidate if len(folders) > 1 else source
        candidate = folders[0]
    return source


def _starts_like_zip(source: Path) -> bool:
    """Whether a file may be an .npz archive."""
    try:
        with source.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise DataError(f"{source} could not be read: {error.strerror}.", "Check its permissions.") from error


def _unknown(source: Path, left_out: tuple[LeftOut, ...] = ()) -> DataError:
    return DataError(
        f"{source} has no layout that is recognized.{describe_left_out(left_out)}",
        f"Give one of these to --data: {LAYOUTS}.",
    )
