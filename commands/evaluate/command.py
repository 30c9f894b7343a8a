"""Options of `main.py evaluate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fedward.dataset.naming import asked_finding

Split = Literal["train", "val", "test", "all"]


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run folder, or a model.keras.")],
    data: Annotated[str, typer.Option(help="Folder, .npz file, or 'synthetic'.")],
    split: Annotated[
        Split | None, typer.Option(help="Default: test; all where the data brings no splits and is not the run's own.")
    ] = None,
    finding: Annotated[
        str | None, typer.Option(help="What the data calls the model's finding, if otherwise: a class, or 'any'.")
    ] = None,
    positive: Annotated[str | None, typer.Option(help="The class that counts as found; as --finding NAME.")] = None,
    hospital: Annotated[
        Path | None, typer.Option(help="Your hospital's folder: tells which images the model was trained on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a trained model on labeled images.

    Images are called positive by the model's own threshold of each finding, chosen on its validation images.
    """
    from commands.evaluate.scoring import score_model

    score_model(model, data, split, as_json, asked_finding(finding, positive), hospital)
