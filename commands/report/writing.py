"""Writes a finished run's `report.html`: one file that needs nothing else, for people who were not there.

What hospitals, classes and reasons are called comes from outside: Jinja2 escapes all of it, and the page forbids
scripts and every outside resource. It has no time at which it was made, and is the same for the same run.
"""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from commands.console import printable
from commands.report.content import page_values
from commands.report.kits import hospital_values, server_values
from commands.study.kits import kit_or_none
from commands.view.following import whole_ledger
from commands.view.pages import TEMPLATES as VIEW_TEMPLATES
from commands.view.shelf import read_run
from fedward.errors import EvidenceError, VerificationError
from fedward.files import read_file, write_atomic
from fedward.hosts.server_kit import ServerKit

TEMPLATES = Path(__file__).parent / "templates"
NAME = "report.html"
_PICTURES = {
    "learning_curves.png": "Loss and validation AUC by round",
    "roc.png": "ROC curve on the test images",
    "confusion_matrix.png": "Confusion matrix on the test images",
    "reliability.png": "How probabilities and shares of positive test images agree",
}
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_BYTES = 8 * 2**20  # of a picture
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)  # what a changed summary may cause


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of a run, or of what one party of a study on separate hosts holds; returns where it lies.

    Args:
        run: The run's folder, which nothing writes to meanwhile; or a server's or hospital's kit.
        out: Where to; None: `report.html` in the folder.

    Raises:
        EvidenceError: the run has not ended, or a file of it is missing.
        VerificationError: a file of it is damaged.
        ResourceError: the file cannot be written.
    """
    place = out or run / NAME
    write_atomic(place, render_report(run).encode())
    return place


def render_report(path: Path) -> str:
    """The report as HTML.

    Raises:
        EvidenceError, VerificationError: as for `write_report`.

    Guarantees:
        1. It names no outside resource, and has no script.
        2. Whatever the names, reasons and sentences in the run are, none of them becomes markup, and none has a
           character that cannot be seen or that turns the direction of what follows.
        3. The same run gives the same bytes.
    """
    kit = kit_or_none(path)
    try:
        if isinstance(kit, ServerKit):
            return _page("kit.html", server_values(kit))
        if kit is not None:
            return _page("kit.html", hospital_values(kit))
        return _page(NAME, _run_values(path), pictures=_pictures(path))
    except _MALFORMED as error:
        raise VerificationError(
            f"The summary or record in {path} is malformed ({type(error).__name__}).",
            "Restore it from a backup.",
        ) from error


def _run_values(path: Path) -> dict[str, Any]:
    """What the page of a run shows."""
    run = read_run(path)
    if run.summary is None:
        raise EvidenceError(f"The run in {path} has not ended: it has no summary.json.", "Continue it by --resume.")
    with whole_ledger(run) as chain:
        return page_values(run, run.summary, chain)


def _page(template: str, values: dict[str, Any], **more: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, VIEW_TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template(template).render(page=values, style=_style(), **more)


def _pictures(path: Path) -> list[dict[str, Any]]:
    """The run's pictures, as addresses that hold them."""
    found = []
    for name, words in _PICTURES.items():
        if (path / name).is_file():
            content = read_file(path / name, _MOST_BYTES, f"The picture {name}", "Restore it from a backup.")
            if not content.startswith(_PNG):
                raise VerificationError(f"{path / name} is no picture.", "Restore it from a backup.")
            found.append({"words": words, "address": f"data:image/png;base64,{base64.b64encode(content).decode()}"})
    return found


def _style() -> str:
    return (VIEW_TEMPLATES / "style.css").read_text()
