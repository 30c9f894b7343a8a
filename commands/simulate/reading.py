"""Reads the images of a simulation, and shows how classes, patients and splits were understood before any training."""

import secrets

from commands import console
from data_preprocessing import PreparedData, preprocess
from fedward.dataset import cache
from fedward.dataset.understanding import Understood, understood_table
from fedward.settings import Settings


def read_data(settings: Settings, lasting_key: bytes | None = None) -> PreparedData:
    """Preprocess the images, and show on stderr how they were understood.

    Args:
        settings: They say where the images are.
        lasting_key: For pseudonyms by which a record of studies knows patients again; None: none.

    Raises:
        DataError: the images are missing, of no known layout, unreadable or too few.
        UsageError: the settings ask for what the data does not have.
    """
    with console.bar("Reading images") as report:
        key = secrets.token_bytes(32)
        cached = not settings.image_encryption.at_rest
        data = preprocess(settings.data, settings.training.seed, key, report, lasting_key=lasting_key, cached=cached)
    console.err.print(understood_table(data.understood))
    _warn(data.understood)
    warn_of_cache(settings)
    return data


def show_reading(settings: Settings) -> None:
    """Preprocess the images, print on stdout how they were understood, and keep nothing.

    Raises:
        DataError: as `read_data`.
        UsageError: as `read_data`.
    """
    with console.bar("Reading images") as report:
        cached = not settings.image_encryption.at_rest
        data = preprocess(settings.data, settings.training.seed, secrets.token_bytes(32), report, cached=cached)
    console.out.print(understood_table(data.understood))
    _warn(data.understood)


def warn_of_cache(settings: Settings) -> None:
    """Warn of decoded images that earlier runs left in the clear, where images are to be sealed.

    They are not deleted here: other studies may use them, and whoever reads this knows which.
    """
    folder = cache.left_behind() if settings.image_encryption.at_rest else None
    if folder:
        console.warn(
            f"{folder} holds decoded images of earlier runs in the clear, which image-encryption.method does not "
            "change. If these images are among them, delete that folder."
        )


def _warn(understood: Understood) -> None:
    """Repeat as warnings what nobody should miss in the table."""
    for sentence in (understood.left_out_line(), *understood.warnings):
        if sentence:
            console.warn(sentence)
