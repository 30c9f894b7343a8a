"""Options of `main.py protect`."""

from pathlib import Path
from typing import Annotated

import typer


def protect(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them: DICOM, PNG, JPEG and others.")],
    model: Annotated[Path, typer.Option(metavar="RUN_OR_MODEL", help="The classifier to mislead: a run, kit or file.")],
    hospital: Annotated[
        Path, typer.Option("--hospital", "--kit", help="Your hospital's kit or folder: its images train the reader.")
    ],
    to: Annotated[
        str,
        typer.Option(metavar="REQUEST_OR_KEY", help="The receiver: its request.json, or X25519 key in hexadecimal."),
    ],
    out: Annotated[Path, typer.Option(help="New folder for images and reader file.")],
    method: Annotated[str, typer.Option(help="How images are perturbed; 'info' lists attacks.")] = "pgd",
    eps: Annotated[
        float | None, typer.Option(help="How far a pixel of the model's input may move, of 1. Default: 0.02.")
    ] = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Put the anonymous originals beside, encrypted for the receiver.")
    ] = False,
    keep_unhidden: Annotated[
        bool, typer.Option("--keep-unhidden", help="Write images as well whose label the model reads still.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """As a hospital: cloak images for another hospital, so that classifiers read the wrong label and people the X-ray.

    This is label cloaking, not cryptography: whoever looks sees the image. Only the reader file, and originals with
    --lossless, are encrypted. Images whose label the model reads still are named and left out, and the exit code is 3.
    """
    from commands.protect.protecting import protect_images
    from commands.protect.request import Request

    protect_images(Request(tuple(images), model, hospital, to, out, method, eps, lossless, keep_unhidden), as_json)
