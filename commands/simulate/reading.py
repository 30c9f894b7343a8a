"""Reads the images of a simulation, and shows how classes, patients and splits were understood before any training."""

import secrets

from commands import console
from data_preprocessing import PreparedData, preprocess
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
        data = preprocess(settings.data, settings.training.seed, key, report, lasting_key=lasting_key)
    console.err.print(understood_table(data.understood))
    _warn(data.understood)
    return data


def show_reading(settings: Settings) -> None:
    """Preprocess the images, print on stdout how they were understood, and keep nothing.

    Raises:
        DataError: as `read_data`.
        UsageError: as `read_data`.
    """
    with console.bar("Reading images") as report:
        data = preprocess(settings.data, settings.training.seed, secrets.token_bytes(32), report)
    console.out.print(understood_table(data.understood))
    _warn(data.understood)


def _warn(understood: Understood) -> None:
    """Repeat as warnings what nobody should miss in the table."""
    for sentence in (understood.left_out_line(), *understood.warnings):
        if sentence:
            console.warn(sentence)
