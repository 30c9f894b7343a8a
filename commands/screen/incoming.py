"""`main.py screen --model --incoming`: which incoming images keep a model's decision whatever is laid over them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from commands import console
from commands.image_files import image_files
from data_preprocessing import read_named
from fedward import settings as setting
from fedward.dataset.reading import read_files
from fedward.dataset.records import Entry, Listing
from fedward.dataset.walking import printable
from fedward.errors import DataError, UsageError
from fedward.learning.model_file import load_classifier
from fedward.strip import FEWEST, OVERLAYS, RATE, rarity, usual


def screen_incoming(data: str, model: Path, incoming: Sequence[Path], seed: int, as_json: bool) -> None:
    """Print of each incoming image how rare it is among own ones that so few blends turn the decision.

    Args:
        data: Own images that are trusted: folder, .npz file, or "synthetic".
        model: A run's folder, or a model file.
        incoming: Files, or folders of them.
        seed: Of which own images are blended in.
        as_json: Print JSON.

    Raises:
        UsageError: the model has several findings.
        DataError: images or model are missing or damaged, or there are too few own images; or some incoming ones could
            not be read, after the others were told.
    """
    classifier, card = load_classifier(model / "model.keras" if model.is_dir() else model)
    if len(card.findings) > 1:
        raise UsageError(f"{model} has several findings.", "Use a model with one: only those were measured.")
    settings = setting.load(None, ("data.source", data), ("data.image-size", card.image_size))
    with console.bar("Reading own images") as report:
        _, own, _ = read_named(settings.data, seed, report)
    if len(own) < OVERLAYS + FEWEST:
        raise DataError(f"There are {len(own)} own images.", f"Give {OVERLAYS + FEWEST} or more.")
    files, _ = image_files(incoming)
    entries = tuple(Entry(str(place), (), "", None, path) for place, path in enumerate(files))
    listing = Listing("files", entries, card.class_names, "", exclusive=False)
    with console.bar("Reading incoming images") as report:
        table = read_files(listing, card.image_size, report, workers=0, cache_folder=None)

    def logits(pixels: np.ndarray) -> np.ndarray:
        return classifier.whole_logits(pixels)

    order = np.random.default_rng(seed).permutation(len(own))
    than = usual(logits, own.pixels()[order], np.array(card.thresholds))
    shown = (table.images[..., None] / np.float32(255)).astype(np.float32)
    rare = rarity(logits, shown, than)
    told: list[dict[str, Any]] = [
        {
            "image": printable(str(files[int(entry.name)])),
            "rarity": None if np.isnan(rare[row, 0]) else float(rare[row, 0]),
        }
        for row, entry in enumerate(table.entries)
    ]
    for each in told:
        each["suspicious"] = each["rarity"] is not None and each["rarity"] <= RATE
    if as_json:
        console.data({"own": len(than.entropies), "rate": RATE, "incoming": told})
    else:
        _print(told)
    unread = [printable(str(files[int(item.name)])) for item in (*table.unreadable, *table.not_images)]
    if unread:
        named = ", ".join(unread[:40])
        raise DataError(f"{len(unread)} of {len(files)} files could not be read: {named}.", "Replace them.")


def _print(told: Sequence[dict[str, Any]]) -> None:
    for each in sorted(told, key=lambda one: 2.0 if one["rarity"] is None else one["rarity"]):
        rare = "too few own images are called alike" if each["rarity"] is None else f"{each['rarity']:.3f}"
        mark = "  suspicious" if each["suspicious"] else ""
        console.out.print(console.plain(f"{each['image']}  {rare}{mark}"), soft_wrap=True)
    count = sum(each["suspicious"] for each in told)
    console.note(
        f"{count} of {len(told)} images keep their decision under blends as at most {RATE:.0%} of own images do. "
        "Of clean images so many are suspected as well; look at those that are named."
    )
