"""`main.py evaluate`: scores a trained model on labeled images, and prints all figures as tables or JSON."""

import dataclasses
import hashlib
import secrets
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.table import Column, Table

from commands import console
from commands.beside_a_model import hospital_folders, keeps_sealed
from commands.evaluate.command import Split
from data_preprocessing import has_own_splits, load_partition, read_split
from fedward import settings as setting
from fedward.dataset.trained_images import has_trained, which_trained
from fedward.dataset.understanding import Understood
from fedward.errors import DataError
from fedward.figures.score_rows import DECIDED, decided, figure, threshold_text
from fedward.figures.scores import score, score_findings
from fedward.files import resolved
from fedward.folders.simulation import SimulationFolder
from fedward.learning.model_file import load_card, load_logits
from fedward.learning.stored_model import ModelCard
from fedward.settings import DataSettings
from fedward.tables import one_table
from fedward.types import ImageSet

# Settings of data that older run.json files lack, with the values that those runs used.
_OLDER_RUNS = {"patients": "", "patient-regex": "", "uncertain": "leave-out", "contradictions": "keep"}


def score_model(
    model: Path,
    data: str,
    split: Split | None,
    as_json: bool,
    finding: str | None = None,
    hospital: Path | None = None,
) -> None:
    """Print all figures of a model on a set of images.

    Args:
        model: A run folder, or a model file.
        data: Folder, .npz file, or "synthetic".
        split: Which images; None: the test split where there is one.
        as_json: Print JSON rather than tables.
        finding: What the data calls the model's finding; None: as the model does, or as its class names say.
        hospital: Folder of a hospital that trained the model; None: those beside the model, where there are any.

    Raises:
        DataError: model or images are missing, damaged, or do not fit each other.
        EvidenceError: the run folder is damaged.
    """
    path = model / "model.keras" if model.is_dir() else model
    card = load_card(path)
    source, own = _data_settings(model, card, data)
    if finding is not None:
        source = dataclasses.replace(source, finding=finding)
    chosen = split or _default_split(source, own)
    cached = not keeps_sealed(path.parent, hospital)
    with console.bar("Reading images") as report:
        images, understood = read_split(source, card.seed, chosen, report, expected=card.findings, cached=cached)
    for sentence in filter(None, (understood.left_out_line(), *understood.warnings)):
        console.warn(sentence)
    trained_on = _trained_on(path.parent, images, hospital)
    _warn_of_trained(trained_on, len(images))
    logits = load_logits(path, images.pixels())
    found = score(images, logits, card.thresholds).as_dict()
    findings = score_findings(images, logits, card.thresholds, card.findings)
    if as_json:
        positive = {name: list(classes) for name, classes in understood.positive.items()}
        told = {"positive": positive, "trained_on": trained_on, "left_out": dict(understood.left_out)}
        console.data(found | {"findings": findings} | told)
        return
    console.note(f"{path} on {data}, split {chosen}:")
    console.out.print(_table(found, len(findings), understood))
    if len(findings) > 1:
        console.out.print(_findings_table(findings))


def _trained_on(beside: Path, images: ImageSet, hospital: Path | None = None) -> int | None:
    """How many of the images the model was trained on; None where no hospital's folder tells.

    Each hospital keeps keyed digests of the gray images that the model was trained on, at its size, wherever the model
    lies later: `fedward.dataset.trained_images`. Each by itself could find only its own images; in a simulation all
    hospitals' folders are there.

    Args:
        beside: The folder that the model lies in: a run's, a hospital's, or any other.
        images: What is scored.
        hospital: A hospital's folder that the user named.
    """
    if hospital is not None and not has_trained(hospital) and not (hospital / "partition.npz").exists():
        raise DataError(
            f"{hospital} does not tell which images a model was trained on.", "Name a hospital's folder, or none."
        )
    told = [_trained_at(folder, images) for folder in hospital_folders(beside, hospital)]
    known = [each for each in told if each is not None]
    return sum(any(each) for each in zip(*known, strict=True)) if known else None


def _trained_at(folder: Path, images: ImageSet) -> list[bool] | None:
    """For each image, whether a hospital trained on it; None where its folder does not tell.

    Hospitals' folders of earlier versions tell only while the images that were trained on lie there.
    """
    if has_trained(folder):
        return which_trained(folder, images.images)
    if not (folder / "partition.npz").exists():
        return None
    key = secrets.token_bytes(32)  # digests of patients' images are worth nothing without it
    trained = {_keyed(square, key) for square in load_partition(folder / "partition.npz").train.images}
    return [_keyed(square, key) in trained for square in images.images]


def _keyed(square: NDArray[np.uint8], key: bytes) -> bytes:
    return hashlib.blake2b(square.tobytes(), key=key, digest_size=16).digest()


def _warn_of_trained(trained_on: int | None, count: int) -> None:
    """Warn if the figures are too good because the model was trained on some of these images."""
    if trained_on is None:
        console.note(
            "Whether the model was trained on these images is not known: name a hospital's folder by --hospital."
        )
    elif trained_on:
        console.warn(f"The model was trained on {trained_on} of these {count} images: figures of them are too good.")


def _table(found: dict[str, Any], findings: int, understood: Understood) -> Table:
    """All figures of one set of images."""
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for output, classes in list(understood.positive.items())[:1] if findings == 1 else ():
        same = classes == (output,)
        text = output if same else f"{output}: {', '.join(classes)} in this data"
        table.add_row("positive", console.plain(text))
    for name in ("n", "patients", "positives"):
        table.add_row(name, str(found[name]))
    for name in found["intervals"]:
        table.add_row("recall (sensitivity)" if name == "recall" else name, figure(found, name, with_interval=True))
    for name in ("brier", "ece"):
        table.add_row(name, figure(found, name))
    table.add_row("threshold", threshold_text(found, findings))
    for name, count in found["confusion"].items():
        table.add_row(name.replace("_", " "), str(count))
    return table


def _findings_table(findings: dict[str, dict[str, Any]]) -> Table:
    """For each finding its count, AUC and threshold, and the figures at that threshold."""
    names, decisions = (Column(heading, no_wrap=True) for heading in ("finding", DECIDED.replace(": ", ":\n")))
    table = Table(names, "positives", "AUC", decisions, title="By finding", title_justify="left")
    for name, found in findings.items():
        table.add_row(
            console.plain(name), str(found["positives"]), figure(found, "auc", with_interval=True), decided(found)
        )
    return table


def _data_settings(model: Path, card: ModelCard, source: str) -> tuple[DataSettings, bool]:
    """Settings to read the data with, and whether the data is what the run was trained on.

    The run's own data is read exactly as the run read it, so that the same splits result.
    """
    defaults = dataclasses.replace(
        setting.load().data,
        source=source,
        image_size=card.image_size,
        val_share=card.val_share,
        test_share=card.test_share,
    )
    if not model.is_dir():
        return defaults, False
    stored = SimulationFolder(model).server.load_record().settings
    trained = one_table("data", DataSettings, _OLDER_RUNS | stored.get("data", {}))
    same = trained.source == source or (
        "synthetic" not in (trained.source, source) and resolved(Path(trained.source)) == resolved(Path(source))
    )
    return (dataclasses.replace(trained, source=source), True) if same else (defaults, False)


def _default_split(source: DataSettings, own: bool) -> Literal["test", "all"]:
    """The test split where there is one."""
    return "test" if own or has_own_splits(source) else "all"
