"""What preprocessing understood of a source, for people: shown before anything is trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from fedward.dataset.labeling import Choice
from fedward.dataset.patients import Told
from fedward.dataset.records import SPLITS, LeftOut, Listing
from fedward.dataset.splitting import SplitTable

_MANY = 25  # classes that are shown by name


@dataclass(frozen=True)
class Understood:
    """The reading of a source, in counts; names no file and nobody.

    Attributes:
        layout: Which layout was recognized.
        classes: Images by class of the source, among those that are used.
        positive: For each output of the model, the classes that make its label 1.
        class_names: Names without and with the finding; or the findings, where there are several.
        patients: How many there are.
        patients_by: Images by the way in which their patient is known.
        splits: For train, val and test: images, patients and images with each output's finding.
        given: The splits that the source brought.
        left_out: Counts by reason.
        partly: Counts by reason of images of which something was not used.
        warnings: Whole sentences.
    """

    layout: str
    classes: Mapping[str, int]
    positive: Mapping[str, tuple[str, ...]]
    class_names: tuple[str, ...]
    patients: int
    patients_by: Mapping[str, int]
    splits: Mapping[str, Mapping[str, int]]
    given: tuple[str, ...]
    left_out: Mapping[str, int]
    partly: Mapping[str, int]
    warnings: tuple[str, ...]

    def left_out_line(self) -> str:
        """One line with counts by reason, "" where everything was used."""
        parts = [f"{count} {reason}" for reason, count in _commonest(self.left_out)]
        whole = f"Left out: {', '.join(parts)}." if parts else ""
        parts = [f"{count} images with {reason}" for reason, count in _commonest(self.partly)]
        return " ".join(filter(None, (whole, f"Not used: {', '.join(parts)}." if parts else "")))


def understand(
    listing: Listing, data: SplitTable, choice: Choice, told: Told, left_out: Sequence[LeftOut]
) -> Understood:
    """Count what was understood.

    Args:
        listing: The source.
        data: Its images in their splits.
        choice: What the labels mean.
        told: How patients were told apart.
        left_out: Everything that is not used.
    """
    classes = Counter(name for entry in data.table.entries for name in entry.classes)
    if not listing.exclusive:
        classes[listing.negative or "none"] = sum(not entry.classes for entry in data.table.entries)
    splits: dict[str, dict[str, int]] = {}
    for part, name in enumerate(SPLITS):
        rows = data.split == part
        counts = {"images": int(rows.sum()), "patients": len(np.unique(data.groups[rows]))}
        counts |= {
            finding: int(total) for finding, total in zip(choice.findings, data.labels[rows].sum(axis=0), strict=True)
        }
        splits[name] = counts
    return Understood(
        layout=listing.layout,
        classes=dict(sorted(classes.items())),
        positive={name: tuple(sorted(found)) for name, found in zip(choice.findings, choice.positive, strict=True)},
        class_names=choice.class_names,
        patients=len(np.unique(data.groups)),
        patients_by=told.ways,
        splits=splits,
        given=data.given,
        left_out=dict(sorted(Counter(_short(item.reason) for item in left_out).items())),
        partly=dict(sorted(Counter(item.reason.partition(" (")[0] for item in data.table.partly).items())),
        warnings=(*told.warnings, *([listing.note] if listing.note else [])),
    )


def understood_table(understood: Understood) -> Table:
    """The one table: layout, classes with the positive marked, patients, splits, and what was left out."""
    table = Table(title="What was understood", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("Layout", understood.layout)
    positive = {name for names in understood.positive.values() for name in names}
    for place, (name, count) in enumerate(understood.classes.items()):
        if place == _MANY:
            table.add_row("", f"and {len(understood.classes) - _MANY} more")
            break
        mark = " (positive)" if name in positive else ""
        table.add_row("Classes" if not place else "", f"{name}: {count} images{mark}")
    table.add_row("Positive", "; ".join(_meaning(name, names) for name, names in understood.positive.items()))
    ways = "; ".join(f"{by} ({count} images)" for by, count in _commonest(understood.patients_by))
    table.add_row("Patients", f"{understood.patients}, told by {ways}")
    for name, counts in understood.splits.items():
        origin = "" if not counts["images"] else " (given)" if name in understood.given else " (carved by patient)"
        findings = ", ".join(f"{key} {value}" for key, value in list(counts.items())[2:][:_MANY])
        text = f"{counts['images']} images of {counts['patients']} patients; {findings}{origin}"
        table.add_row(name, text)
    left_out = ", ".join(f"{count} {reason}" for reason, count in _commonest(understood.left_out))
    table.add_row("Left out", left_out or "nothing")
    return table


def _meaning(output: str, classes: tuple[str, ...]) -> str:
    """`any = Edema, Mass`, or the name alone where it is the class's own."""
    more = ", ..." if len(classes) > 6 else ""
    return output if classes == (output,) else f"{output} = {', '.join(classes[:6])}{more}"


def _commonest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _short(reason: str) -> str:
    """A whole sentence about one file as the end of a count."""
    return f"files ({reason})" if reason.startswith(("it ", "its ", "the file ")) else reason
