"""What was understood of the images, shown before anything is trained."""

import secrets

from commands import console
from data_preprocessing import PreparedData, preprocess
from fedward.dataset.understanding import Understood, understood_table
from fedward.settings import Settings


def read_data(settings: Settings) -> PreparedData:
    """Preprocess, and show on stderr what was understood.

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
    """Preprocess, print what was understood on stdout, and keep nothing.

    Raises:
        DataError: as `read_data`.
        UsageError: as `read_data`.
    """
    with console.bar("Reading images") as report:
        data = preprocess(settings.data, settings.training.seed, secrets.token_bytes(32), report)
    console.out.print(understood_table(data.understood))
    _warn(data.understood)


def _warn(understood: Understood) -> None:
    """What the table holds, and must not be read past."""
    for sentence in (understood.left_out_line(), *understood.warnings):
        if sentence:
            console.warn(sentence)
