"""The hospitals of a lab on disk: partitions and the settings that they were made under, a folder for each seed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedward.dataset.storage import load_partition, save_partition
from fedward.files import make_folder, parse_json, write_atomic
from fedward.settings import Settings, from_tables, to_tables
from fedward.types import Partition


def save_hospitals(place: Path, settings: Settings, partitions: Sequence[Partition]) -> None:
    """Keep partitions and settings; the settings come last, and say that all is there."""
    make_folder(place)
    for index, partition in enumerate(partitions, 1):
        save_partition(place / f"hospital-{index:03d}.npz", partition)
    write_atomic(_settings(place), json.dumps(to_tables(settings), indent=1).encode())


def has_hospitals(place: Path) -> bool:
    """Whether they are there, all of them."""
    return _settings(place).exists()


def load_settings(place: Path) -> Settings:
    """The settings that the partitions were made under."""
    tables: dict[str, dict[str, Any]] = parse_json(_settings(place).read_bytes())
    return from_tables(tables)


def load_hospitals(place: Path) -> list[Partition]:
    """The partitions, in their order."""
    return [load_partition(path) for path in sorted(place.glob("hospital-*.npz"))]


def _settings(place: Path) -> Path:
    return place / "settings.json"
