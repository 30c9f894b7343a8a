"""Options of `main.py predict`."""

from pathlib import Path
from typing import Annotated

import typer


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run folder, or a model.keras.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them: DICOM, PNG, JPEG and others.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    explain: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New folder for pictures: each image beside its heat map.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="New file to write as CSV, a row an image.")] = None,
) -> None:
    """Say of each image how probable the model's findings are, and what is called by the model's own thresholds.

    Not for diagnosis: this is research software. With a run's folder, probabilities are calibrated on the validation
    images that the run counted; with a model file alone they are the model's own. Files that cannot be read are named,
    the others go on, and the exit code is 3. Images that do not look like an upright chest X-ray are marked.

    Pictures show what speaks for the most likely finding of each image: PNG, and for DICOM a secondary capture without
    patient data. They show patients, and only you can read them.
    """
    from commands.predict.predicting import predict_images

    predict_images(model, images, as_json, csv, explain)
