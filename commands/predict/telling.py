"""What `main.py predict` says of each image: as lines, as JSON, and as CSV."""

import csv
import dataclasses
from io import StringIO
from typing import Any

from commands import console
from commands.predict.report import Prediction, Report
from fedward.learning.stored_model import ModelCard

NOT_FOR_DIAGNOSIS = "Not for diagnosis: this is research software, and no medical device."
_NOTHING = "nothing"
# A spreadsheet takes what begins like this for a formula; names of files come from outside.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def tell(report: Report) -> None:
    """Print one line an image: probability and decision; of several findings those that are called."""
    card = report.card
    names = [console.printable(each.image) for each in report.predictions]
    width = max(map(len, ["image", *names]))
    single = len(card.findings) == 1
    words = max(map(len, [_named(card.findings[0]), _not_called(card)]))
    heading = f"probability  {'decision':{words}}" if single else "called"
    console.out.print(f"[bold]{'image':{width}}  {heading}[/]".rstrip(), soft_wrap=True)
    for name, each in zip(names, report.predictions, strict=True):
        if each.problem:
            told = f"unreadable: {each.problem}"
        elif single:
            decision = _named(card.findings[0]) if each.called[0] else _not_called(card)
            told = f"{shown(each.probabilities[0]):11}  {decision:{words}}"
        else:
            told = _called(card, each)
        told += f"  unlike: {each.unlike}" if each.unlike else ""
        told += _pictured(each)
        console.out.print(console.plain(f"{name:{width}}  {told}".rstrip()), soft_wrap=True)
    thresholds = ", ".join(
        f"{_named(name)} {limit:.4f}" for name, limit in zip(card.findings, card.thresholds, strict=True)
    )
    console.note(report.calibration)
    console.note(f"Called is what the model scores at its threshold or above, before calibration: {thresholds}.")
    if report.pictures:
        console.note(f"Pictures: {report.pictures}. They show patients.")
    console.note(NOT_FOR_DIAGNOSIS)


def _pictured(each: Prediction) -> str:
    """The end of an image's line, where a picture was asked for."""
    if each.explanation is None:
        return ""
    return f"  {each.explanation.picture or f'no picture: {each.explanation.problem}'}"


def _named(name: str) -> str:
    """A finding's or class's name on one line."""
    return console.printable(name)


def _not_called(card: ModelCard) -> str:
    """The word for an image without the only finding: the other class, where there are two."""
    others = [name for name in card.class_names if name not in card.findings]
    return _named(others[0] if len(others) == 1 else f"no {card.findings[0]}")


def _called(card: ModelCard, prediction: Prediction) -> str:
    """The findings that are called, with their probabilities."""
    named = [
        f"{_named(name)} {shown(probability)}"
        for name, probability, called in zip(card.findings, prediction.probabilities, prediction.called, strict=True)
        if called
    ]
    return ", ".join(named) or _NOTHING


def shown(value: float) -> str:
    """Three digits, and no certainty."""
    return "<0.001" if value < 0.0005 else ">0.999" if value > 0.9995 else f"{value:.3f}"


def as_json_value(report: Report) -> dict[str, Any]:
    """All of it for programs; every image has every finding."""
    card = report.card
    pictures = {"pictures": report.pictures} if report.pictures else {}
    return {
        "model": report.model,
        "calibration": report.calibration,
        "note": NOT_FOR_DIAGNOSIS,
        "thresholds": dict(zip(card.findings, card.thresholds, strict=True)),
        "images": [_image_as_json(card, each) for each in report.predictions if not each.problem],
        "unreadable": [{"image": each.image, "reason": each.problem} for each in report.predictions if each.problem],
        **pictures,
    }


def _image_as_json(card: ModelCard, each: Prediction) -> dict[str, Any]:
    findings = {
        name: {"probability": probability, "score": score, "called": called}
        for name, probability, score, called in zip(
            card.findings, each.probabilities, each.scores, each.called, strict=True
        )
    }
    told: dict[str, Any] = {"image": each.image, "findings": findings, "unlike": each.unlike}
    if each.explanation is not None:
        told["explanation"] = dataclasses.asdict(each.explanation)
    return told


def as_csv(report: Report) -> str:
    """A heading, and a row an image; cells of files that could not be read are empty but for the reason."""
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    kinds = ("probability", "score", "called")
    writer.writerow(
        [
            "image",
            *(f"{kind} of {name}" for name in report.card.findings for kind in kinds),
            "unlike",
            "unreadable",
            "picture",
        ]
    )
    for each in report.predictions:
        cells: list[object] = []
        for k in range(len(report.card.findings)):
            numbers = (each.probabilities[k], each.scores[k], int(each.called[k])) if not each.problem else ("",) * 3
            cells += numbers
        writer.writerow(
            [_cell(each.image), *cells, each.unlike, each.problem, each.explanation.picture if each.explanation else ""]
        )
    return buffer.getvalue()


def _cell(name: str) -> str:
    """A file's name that no spreadsheet takes for a formula: a path that begins like one gets `./` before it."""
    return f"./{name}" if name.startswith(_FORMULA) else name
