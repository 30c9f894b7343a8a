"""The manifest: what a preprocessing run made, in counts and hashes; it names nobody and no file."""

import dataclasses
from collections.abc import Sequence

from fedward.dataset.labeling import Choice
from fedward.dataset.records import SPLITS, Listing
from fedward.dataset.splitting import SplitTable
from fedward.dataset.storage import partition_digest
from fedward.dataset.understanding import Understood
from fedward.settings import DataSettings
from fedward.types import ImageSet, Partition

FORMAT_VERSION = 1


def write_manifest(
    listing: Listing,
    data: SplitTable,
    choice: Choice,
    partitions: Sequence[Partition],
    settings: DataSettings,
    seed: int,
    understood: Understood,
) -> dict[str, object]:
    """Describe a run. The source's path is left out: paths name people, too."""
    private = {"source", "patients", "patient_regex"}
    shown = {key.replace("_", "-"): value for key, value in dataclasses.asdict(settings).items() if key not in private}
    with_id = sum(bool(entry.patient) for entry in data.table.entries)
    if with_id == len(data.table):
        note = "The source names its patients; splits and hospitals never share one."
    else:
        note = f"{len(data.table) - with_id} images have no patient id: each of them counts as a patient of its own."
    return {
        "format_version": FORMAT_VERSION,
        "layout": listing.layout,
        "seed": seed,
        "settings": shown,
        "findings": list(choice.findings),
        "class_names": list(choice.class_names),
        "positive": {name: list(classes) for name, classes in understood.positive.items()},
        "images": len(data.table),
        "patients": len({int(group) for group in data.groups}),
        "patient_ids": {"images_with_id": with_id, "images_without_id": len(data.table) - with_id, "note": note}
        | {"told_by": dict(understood.patients_by), "warnings": list(understood.warnings)},
        "left_out": dict(understood.left_out),
        "partly_used": dict(understood.partly),
        "splits": {
            "given": list(data.given),
            "carved_from_train": [split for split in SPLITS[1:] if split not in data.given],
            "removed_because_shared": {split: dict(counts) for split, counts in data.removed.items()},
        },
        "hospitals": {
            partition.hospital: {
                "sha256": partition_digest(partition).hex(),
                "train": _counts(partition.train, choice),
                "val": _counts(partition.val, choice),
                "test": _counts(partition.test, choice),
            }
            for partition in partitions
        },
    }


def _counts(images: ImageSet, choice: Choice) -> dict[str, object]:
    """Images, patients, and images by class."""
    positives = [int(count) for count in images.labels.sum(axis=0)]
    if len(choice.findings) == 1:
        by_class = dict(zip(choice.class_names, (len(images) - positives[0], positives[0]), strict=True))
    else:
        by_class = dict(zip(choice.findings, positives, strict=True))
    return {"images": len(images), "patients": len(set(images.patients.tolist())), "by_class": by_class}
