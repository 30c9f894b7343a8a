"""`main.py screen`: reads all images of a source, screens them, and says what is suspicious and what sticks out."""

from typing import Any

import numpy as np

from commands import console
from data_preprocessing import read_named
from fedward import settings as setting
from fedward.dataset.labeling import Choice
from fedward.screening import APART, FEWEST, SMALL, Screened, screen


def screen_images(data: str, finding: str | None, count: int, seed: int, as_json: bool) -> None:
    """Print what was found, label by label.

    Args:
        data: Folder, .npz file, or "synthetic".
        finding: As in the setting data.finding; None: its default.
        count: How many images of each label to name, those that stick out most first.
        seed: Of the classifier that is trained.
        as_json: Print JSON.

    Raises:
        DataError: the images are missing, unreadable or of one class only.
    """
    given = (("data.finding", finding),) if finding else ()
    settings = setting.load(None, ("data.source", data), ("training.seed", seed), *given)
    with console.bar("Reading images") as report:
        names, images, choice = read_named(settings.data, seed, report)
    with console.bar("Training a classifier on them") as report:
        found = screen(images, settings.training, seed)
        report(1, 1)
    told = [_told(each, choice, names, count) for each in found]
    if as_json:
        console.data({"images": len(names), "labels": told})
        return
    for each in told:
        _print(each)
    if not any(each["suspicious"] for each in told):
        console.note("No label's images form a small group apart. That is no proof that none were planted.")


def _told(found: Screened, choice: Choice, names: tuple[str, ...], count: int) -> dict[str, Any]:
    """One label's result, for JSON."""
    finding = choice.findings[found.finding]
    label = choice.class_names[found.label] if len(choice.findings) == 1 else ("no ", "")[found.label] + finding
    clusters, first = found.clusters, np.argsort(-found.scores, kind="stable")[:count]
    told: dict[str, Any] = {"label": label, "images": len(found.rows), "suspicious": False}
    if clusters is None:
        return told
    together = found.rows[clusters.smaller] if clusters.suspicious else found.rows[:0]
    return told | {
        "suspicious": clusters.suspicious,
        "group_share": clusters.share,
        "silhouette": clusters.apart,
        "group": [names[row] for row in together],
        "stick_out": [{"name": names[found.rows[at]], "deviations": float(found.scores[at])} for at in first],
    }


def _print(told: dict[str, Any]) -> None:
    if "silhouette" not in told:
        console.note(f"{told['label']}: {told['images']} images; with fewer than {FEWEST} nothing can be said.")
        return
    figures = f"the smaller of two groups has {told['group_share']:.0%} of them, silhouette {told['silhouette']:.2f}"
    limits = f"suspicious: at most {SMALL:.0%}, and at least {APART:.2f}"
    console.note(f"{told['label']}: {told['images']} images; {figures} ({limits}).")
    if told["suspicious"]:
        console.warn(f"{len(told['group'])} images labeled {told['label']} form a small group apart: look at them.")
    for name in told["group"]:
        console.out.print(console.plain(f"  group   {name}"))
    for each in told["stick_out"]:
        console.out.print(console.plain(f"  {each['deviations']:5.1f}   {each['name']}"))
