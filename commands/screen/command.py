"""Options of `main.py screen`."""

from pathlib import Path
from typing import Annotated

import typer

from fedward.dataset.naming import asked_finding
from fedward.errors import UsageError


def screen(
    data: Annotated[str, typer.Argument(help="Folder, .npz file, or 'synthetic'.")],
    finding: Annotated[str | None, typer.Option(help="auto, any, all, or a class or finding.")] = None,
    positive: Annotated[str | None, typer.Option(help="The class that counts as found; as --finding NAME.")] = None,
    count: Annotated[int, typer.Option("--list", min=0, help="How many images of each label to name.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the classifier that is trained on the images.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    model: Annotated[Path | None, typer.Option(metavar="RUN_OR_MODEL", help="With --incoming: whose triggers.")] = None,
    incoming: Annotated[list[Path] | None, typer.Option(help="Image files or folders to look at instead.")] = None,
) -> None:
    """Look among your own images, before training, for some that somebody may have planted.

    Trains a classifier on all of them and looks at how it represents those of each label: whether some form a small
    group apart (activation clustering), and which stick out most (spectral signatures). Neither proves anything: look
    at the images that are named. Fewer planted ones than about a tenth of a label form no group.

    With --model and --incoming it looks among incoming images for some with a trigger, at which the model decides the
    same whatever is laid over them (STRIP). Your own images tell what is usual.
    """
    if model is not None and incoming:
        from commands.screen.incoming import screen_incoming

        screen_incoming(data, model, incoming, seed, as_json)
        return
    if model is not None or incoming:
        raise UsageError("--model and --incoming belong together.", "Give both, or neither.")
    from commands.screen.screening import screen_images

    screen_images(data, asked_finding(finding, positive), count, seed, as_json)
