"""`main.py evaluate`: how good a trained model is on a folder of images."""

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Column, Table

from commands import console
from data_preprocessing import has_own_splits
from fedward import settings as setting
from fedward.figures.score_rows import DECIDED, decided, figure, threshold_text
from fedward.folders.run import RunFolder
from fedward.settings import DataSettings

if TYPE_CHECKING:
    from fedward.learning.model_file import ModelCard


class Split(StrEnum):
    """Which images are scored."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    ALL = "all"


_SPLITS: dict[Split, Literal["train", "val", "test", "all"]] = {
    Split.TRAIN: "train",
    Split.VAL: "val",
    Split.TEST: "test",
    Split.ALL: "all",
}


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run folder, or a model.keras.")],
    data: Annotated[str, typer.Option(help="Folder, .npz file, or 'synthetic'.")],
    split: Annotated[
        Split | None, typer.Option(help="Default: test; all where the data brings no splits and is not the run's own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a trained model on labeled images.

    Images are called positive by the model's own threshold of each finding, chosen on its validation images.
    """
    # TensorFlow takes seconds to import: --help and wrong options do not wait for it.
    from data_preprocessing import select_split
    from fedward.figures.scores import score, score_findings
    from fedward.learning.model_file import load_card, load_logits

    path = model / "model.keras" if model.is_dir() else model
    card = load_card(path)
    source, own = _data_settings(model, card, data)
    chosen = _SPLITS[split] if split else _default_split(source, own)
    with console.bar("Reading images") as report:
        images = select_split(source, card.seed, chosen, report, expected=card.findings)
    logits = load_logits(path, images.pixels())
    found = score(images, logits, card.thresholds).as_dict()
    findings = score_findings(images, logits, card.thresholds, card.findings)
    if as_json:
        console.data(found | {"findings": findings})
        return
    console.note(f"{path} on {data}, split {chosen}:")
    console.out.print(_table(found, len(findings)))
    if len(findings) > 1:
        console.out.print(_findings_table(findings))


def _table(found: dict[str, Any], findings: int) -> Table:
    """All figures of one set of images."""
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column()
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
    """Count, AUC, threshold and what it gives, of each finding."""
    names, decisions = (Column(heading, no_wrap=True) for heading in ("finding", DECIDED.replace(": ", ":\n")))
    table = Table(names, "positives", "AUC", decisions, title="By finding", title_justify="left")
    for name, found in findings.items():
        table.add_row(name, str(found["positives"]), figure(found, "auc", with_interval=True), decided(found))
    return table


def _data_settings(model: Path, card: "ModelCard", source: str) -> tuple[DataSettings, bool]:
    """Settings to read the data with, and whether it is what the run was trained on.

    The run's own data is read exactly as the run did, so that its own splits come out again.
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
    trained = setting.from_tables(RunFolder(model).load_record().settings).data
    same = trained.source == source or (
        "synthetic" not in (trained.source, source) and Path(trained.source).resolve() == Path(source).resolve()
    )
    return (dataclasses.replace(trained, source=source), True) if same else (defaults, False)


def _default_split(source: DataSettings, own: bool) -> Literal["test", "all"]:
    """The test split where there is one."""
    return "test" if own or has_own_splits(source) else "all"
