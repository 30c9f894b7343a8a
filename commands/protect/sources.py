"""The image files that are to be cloaked, and the labels that their folders tell."""

from collections.abc import Sequence
from pathlib import Path

from commands.image_files import image_files
from fedward.cloaking.protecting import Source
from fedward.files import resolved
from fedward.learning.stored_model import ModelCard

_FOLDERS_ABOVE = 3  # of an image: as far as class folders lie in the layouts that are read


def sources_of(images: Sequence[Path], card: ModelCard) -> list[Source]:
    """All image files, each once.

    Args:
        images: Files, or folders of them.
        card: Of the model; a folder named as one of its classes tells the label of what is inside.

    Raises:
        DataError: a path is missing, a folder cannot be read, or there is no image.
    """
    return [Source(file, _labels(resolved(file), card)) for file in image_files(images)[0]]


def _labels(path: Path, card: ModelCard) -> tuple[int, ...] | None:
    """The labels that the nearest folder named as a class tells; None where none is."""
    names = [name.casefold() for name in card.class_names]
    for folder in list(path.parents)[:_FOLDERS_ABOVE]:
        name = folder.name.casefold()
        if name in names and len(card.findings) == 1 and len(names) == 2:
            return (names.index(name),)
        if name in names and names == [finding.casefold() for finding in card.findings]:
            return tuple(int(name == each) for each in names)
    return None
