"""Options of `main.py screen`."""

from typing import Annotated

import typer

from fedward.dataset.naming import asked_finding


def screen(
    data: Annotated[str, typer.Argument(help="Folder, .npz file, or 'synthetic'.")],
    finding: Annotated[str | None, typer.Option(help="auto, any, all, or a class or finding.")] = None,
    positive: Annotated[str | None, typer.Option(help="The class that counts as found; as --finding NAME.")] = None,
    count: Annotated[int, typer.Option("--list", min=0, help="How many images of each label to name.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the classifier that is trained on the images.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look among your own images, before training, for some that somebody may have planted.

    Trains a classifier on all of them and looks at how it represents those of each label: whether some form a small
    group apart (activation clustering), and which stick out most (spectral signatures). Neither proves anything: look
    at the images that are named. Fewer planted ones than about a tenth of a label form no group.
    """
    from commands.screen.screening import screen_images

    screen_images(data, asked_finding(finding, positive), count, seed, as_json)
