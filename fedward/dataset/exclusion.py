"""Which of the images are not used, though they were read or should have been; and when that is too many to go on."""

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.labeling import Choice, are_uncertain, contradict, label_images
from fedward.dataset.records import ImageTable, LeftOut, Listing
from fedward.dataset.walking import told
from fedward.errors import DataError
from fedward.settings import DataSettings

UNCERTAIN = "images of whose finding the source is not sure"
CONTRADICTED = "images that are there again under another label"


def label_table(
    table: ImageTable, choice: Choice, settings: DataSettings
) -> tuple[ImageTable, NDArray[np.float32], list[LeftOut]]:
    """Labels, without the images whose label is uncertain or contradicts another copy's.

    Args:
        table: The readable images.
        choice: What the labels mean.
        settings: `uncertain` and `contradictions`.

    Returns:
        The images that are used, their labels, and those that are not.

    Raises:
        DataError: none is left.
    """
    excluded: list[LeftOut] = []
    if settings.uncertain == "leave-out":
        unsure = are_uncertain(table.entries, choice)
        excluded += [LeftOut(table.entries[row].name, UNCERTAIN) for row in np.flatnonzero(unsure)]
        table = table.take(np.flatnonzero(~unsure))
    labels = label_images(table.entries, choice, float(settings.uncertain == "positive"))
    if settings.contradictions == "leave-out":
        for_training = np.array([entry.split in (None, "train") for entry in table.entries], dtype=np.bool_)
        twice = for_training.copy()  # copies in given val and test splits stay, and send theirs out of train later
        twice[for_training] = contradict(labels[for_training], table.digests[for_training])
        excluded += [LeftOut(table.entries[row].name, CONTRADICTED) for row in np.flatnonzero(twice)]
        table, labels = table.take(np.flatnonzero(~twice)), labels[~twice]
    if not len(table):
        raise DataError(f"No image is left to use: {told(excluded)}.", "Check the labels.")
    return table, labels, excluded


def refuse_lost_classes(listing: Listing, table: ImageTable) -> None:
    """Stop when a class had files and none of them could be read: it would vanish from the model.

    Raises:
        DataError: there is such a class.
    """
    if not listing.exclusive:
        return
    for lost in sorted(set(listing.classes) - {name for entry in table.entries for name in entry.classes}):
        files = {entry.name for entry in listing.entries if lost in entry.classes}
        reasons = [item.reason for item in (*table.unreadable, *table.not_images) if item.name in files]
        raise DataError(
            f"None of the {len(files)} files of the class {lost!r} could be read ({reasons[0]}).",
            "Convert or remove them.",
        )


def refuse_bad_files(table: ImageTable, settings: DataSettings) -> None:
    """Stop when nothing, or too little, could be read.

    Raises:
        DataError: more than `max-bad-share` of the files could not.
    """
    bad, count = table.unreadable, len(table) + len(table.unreadable)
    named = "; ".join(f"{file.name}: {file.reason}" for file in (bad or table.not_images)[:3])
    count = count or len(table.not_images)
    if not len(table):
        raise DataError(
            f"None of the {count} files in {settings.source} could be read as an image ({named or 'no images'}).",
            "Check --data and the files.",
        )
    if len(bad) / count > settings.max_bad_share:
        raise DataError(
            f"{len(bad)} of {count} files in {settings.source} could not be read, more than data.max-bad-share = "
            f"{settings.max_bad_share:g} allows ({named}).",
            "Repair or remove them, or raise that share.",
        )
