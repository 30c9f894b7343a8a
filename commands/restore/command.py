"""Options of `main.py restore`."""

from pathlib import Path
from typing import Annotated

import typer


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of cloaked images that 'protect' wrote.")],
    hospital: Annotated[
        Path, typer.Option("--hospital", "--kit", help="Your hospital's kit or folder: its key opens the reader file.")
    ],
    reader: Annotated[Path | None, typer.Option(help="The reader file. Default: DIR/reader.sealed.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for images and labels.csv. Default: DIR-restored.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """As a hospital: restore images and labels that another hospital cloaked for this one.

    Without originals in the folder, images and labels are estimates of the reader. Files that are damaged are named and
    left out, and the exit code is 7. Cloaking is no cryptography; the reader file and originals are encrypted.
    """
    from commands.restore.restoring import restore_folder

    restore_folder(folder, reader or folder / "reader.sealed", hospital, out, as_json)
