"""Reads the images of a simulation, and shows how classes, patients and splits were understood before any training."""

import secrets

from commands import console
from data_preprocessing import PreparedData, preprocess
from fedward.dataset.understanding import Understood, understood_table
from fedward.settings import Settings


def read_data(settings: Settings) -> PreparedData:
    """Preprocess the images, and show on stderr how they were understood.

    Raises:
        DataError: the images are missing, of no known layout, unreadable or too few.
        UsageError: the settings ask for what the data does not have.
    """
    with console.bar("Reading images") as report:
        data = preprocess(settings.data, settings.training.seed, secrets.token_bytes(32), report)
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
