"""What all labs do with their folder: note what it is for, read images into it, print and keep tables."""

import dataclasses
import functools
import json
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from commands import console
from commands.lab.sheets import Sheet, as_markdown, as_tables
from data_preprocessing import preprocess
from fedward.errors import FedwardError, UsageError
from fedward.files import make_folder, parse_json, write_atomic
from fedward.labs.hospitals_data import has_hospitals, save_hospitals
from fedward.labs.lab_folder import LabFolder
from fedward.settings import Settings

TABLE, MARKDOWN, JSON = "table", "markdown", "json"  # ways to print


def settle(path: Path, wanted: dict[str, Any]) -> None:
    """Note in a lab's folder what it is for, or check that it is for the same.

    Args:
        path: The folder.
        wanted: What may not change between one call and the next, because results rest on it.

    Raises:
        UsageError: the folder is for something else.
    """
    note = path / "lab.json"
    plain = json.loads(json.dumps(wanted))
    if not note.exists():
        if path.exists() and any(path.iterdir()):
            raise UsageError(f"{path} has other files.", "Give --out another folder.")
        make_folder(path)
        write_atomic(note, json.dumps(plain, indent=1).encode())
    elif parse_json(note.read_bytes()) != plain:
        raise UsageError(f"{path} has a lab with other data or settings.", "Give --out another folder.")


class AskedOfSeeds(Protocol):
    """What was asked for of a lab whose folder has partitions by seed."""

    @property
    def data(self) -> str:
        """Where images come from."""
        ...

    def settings(self, plan: Any, seed: int) -> Settings:
        """The federation's settings of one seed."""
        ...


def begin(folder: LabFolder, asked: AskedOfSeeds, plan: Any, free: Sequence[str]) -> None:
    """Note what a lab's folder is for, or check it, and read the images of each seed that are missing there.

    Args:
        folder: The lab's.
        asked: What was asked for.
        plan: What to run: a dataclass with `seeds`.
        free: Its fields that may change from one call to the next: what was run stays.

    Raises:
        UsageError: the folder is for something else, or images have several findings.
        DataError: the images are missing, unreadable or too few.
    """
    fixed = {key: value for key, value in dataclasses.asdict(plan).items() if key not in free}
    settle(folder.path, {"data": asked.data, **fixed})
    seeds = ((folder.data(seed), f"seed {seed}", functools.partial(asked.settings, plan, seed)) for seed in plan.seeds)
    prepare(folder.path, list(seeds))


def prepare(path: Path, wanted: Sequence[tuple[Path, str, Callable[[], Settings]]]) -> None:
    """Read images and share them out, where that was not done yet; a folder of which nothing came is removed.

    Args:
        path: The lab's folder.
        wanted: Where partitions and settings belong, what to call them, and their settings.

    Raises:
        DataError: the images are missing, unreadable or too few.
        UsageError: they have several findings.
    """
    try:
        for place, title, settings_of in wanted:
            if not has_hospitals(place):
                _read(place, title, settings_of())
    except FedwardError:
        if not (path / "data").exists():
            shutil.rmtree(path)
        raise


def _read(place: Path, title: str, settings: Settings) -> None:
    with console.bar(f"Reading images ({title})") as report:
        data = preprocess(settings.data, settings.training.seed, secrets.token_bytes(32), report)
    if len(data.partitions[0].findings) > 1:
        raise UsageError(
            "The lab takes one finding, and these images have several.", "Choose with --set data.finding=NAME."
        )
    save_hospitals(place, settings, data.partitions)


def publish(path: Path, made: Mapping[str, str], summary: dict[str, Any], sheets: Sequence[Sheet], form: str) -> None:
    """Keep a summary and its tables in the lab's folder, and print them.

    Args:
        path: The lab's folder.
        made: How the figures came to be, see `Wishes.made`; kept with them, for reports.
        summary: All figures.
        sheets: The tables of them.
        form: `TABLE`, `MARKDOWN` or `JSON`.
    """
    write_atomic(path / "summary.json", json.dumps({"made": made, **summary}, indent=1).encode())
    for number, sheet in enumerate(sheets, 1):
        write_atomic(path / f"table-{number}.csv", sheet.as_csv().encode())
    if form == JSON:
        console.data(summary)
    elif form == MARKDOWN:
        print(as_markdown(sheets))
    else:
        for table in as_tables(sheets, console.out.width):
            console.out.print(table)
    console.note(f"Pictures and figures are in {path}.")
