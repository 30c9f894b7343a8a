"""Stage 1, preprocess: image files -> one `Partition` a hospital. Runs at the hospital; nothing leaves it.

    list      which images a source holds, in any recognized layout
    read      each one as a grey square, in parallel, cached; what cannot be read is named
    label     by the findings chosen
    split     train, val and test, by patient; given splits are kept
    share out over the hospitals, by patient
    anonymize nothing but pixels, labels and keyed pseudonyms goes on

Also runs by itself: `python data_preprocessing.py SOURCE OUT`.
"""

import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress as ProgressBar

from fedward import entry
from fedward import settings as settings_module
from fedward.dataset import cache
from fedward.dataset.anonymization import lasting_pseudonyms, pseudonymize, write_report
from fedward.dataset.exclusion import label_table, refuse_bad_files, refuse_lost_classes
from fedward.dataset.labeling import Choice, choose_findings, require_two_classes
from fedward.dataset.layouts import SYNTHETIC, list_images
from fedward.dataset.manifest import write_manifest
from fedward.dataset.naming import asked_finding
from fedward.dataset.partitioning import share_out
from fedward.dataset.patients import settle_patients
from fedward.dataset.reading import read_array, read_files
from fedward.dataset.records import SPLITS, LeftOut, Listing
from fedward.dataset.single_image import read_image
from fedward.dataset.splitting import TEST, TRAIN, SplitTable, split_by_patient
from fedward.dataset.storage import load_partition, partition_digest, save_partition
from fedward.dataset.understanding import Understood, understand, understood_table
from fedward.errors import DataError, UsageError
from fedward.files import making_folder, resolved, write_atomic
from fedward.progress import Progress, silent
from fedward.settings import DataSettings, Settings
from fedward.tables import Scalar
from fedward.types import HospitalId, ImageSet, Partition

__all__ = [
    "PreparedData",
    "has_own_splits",
    "load_partition",
    "partition_digest",
    "preprocess",
    "read_image",
    "read_named",
    "read_split",
    "save_partition",
    "select_split",
]


@dataclass(frozen=True)
class PreparedData:
    """What the stage hands on.

    Attributes:
        partitions: One a hospital, `hospital-1` first.
        findings: Names of the labels' columns.
        class_names: Names without and with the finding; or the findings, where there are several.
        manifest: Counts by class, split and hospital, hashes, seed and settings; names nobody and no file.
        report: What was dropped and what could not be read; names files, and stays at the hospital.
        understood: What is shown before training: layout, classes, patients, splits, and what was left out.
        lasting: For each partition, the lasting pseudonym of the patient of each training image, in no order; empty
            where no key was given for them. They go into the hospital's record of studies, and nowhere else.
    """

    partitions: tuple[Partition, ...]
    findings: tuple[str, ...]
    class_names: tuple[str, ...]
    manifest: dict[str, Any]
    report: dict[str, object]
    understood: Understood
    lasting: tuple[NDArray[np.str_], ...] = ()


def preprocess(
    settings: DataSettings,
    seed: int,
    pseudonym_key: bytes,
    progress: Progress = silent,
    workers: int = 0,
    cache_folder: Path | None = None,
    lasting_key: bytes | None = None,
    only: HospitalId | None = None,
    cached: bool = True,
) -> PreparedData:
    """Read, label, split, share out and anonymize a source.

    Args:
        settings: Where the images are and how they are shared out.
        seed: Decides who is carved for val and test, and who goes to which hospital.
        pseudonym_key: At least 16 secret bytes of the hospital; see `fedward.dataset.anonymization`.
        progress: Told how many files have been read.
        workers: Threads that read; 0: one a core.
        cache_folder: Where decoded images are kept; None: `$XDG_CACHE_HOME/fedward`.
        lasting_key: Of the hospital's record of studies, for pseudonyms that are the same in each study; None: none.
        only: The hospital that the whole source belongs to; None: it is shared out over hospitals.
        cached: Whether decoded images are kept between runs; False: the cache is neither read nor written.

    Raises:
        DataError: the source is missing, unrecognized, unreadable beyond `max-bad-share`, of one class only, or of
            too few patients.
        UsageError: the settings ask for a column without naming it, or the key is too short.

    Guarantees:
        1. No patient and no identical image is in two splits or at two hospitals.
        2. The same source, settings, seed and key give the same bytes, whatever the number of workers and the cache.
        3. The partitions and the manifest hold nothing from file names, EXIF blocks or DICOM headers but keyed
           pseudonyms and the names of classes.
    """
    listing, data, choice, understood, left_out = _split(
        settings, seed, progress, None, workers, _cache(cache_folder, cached)
    )
    _require_training_data(data, choice)
    notes: dict[str, int] = {}
    chosen = {only: np.ones(len(data.split), dtype=np.bool_)} if only else {}
    if not only:
        sharing = share_out(data, settings, seed)
        notes = sharing.notes
        chosen = {HospitalId(f"hospital-{at + 1}"): sharing.hospital == at for at in range(settings.hospitals)}
    partitions = _partitions(data, choice, chosen, pseudonymize(data.table, pseudonym_key))
    lasting: tuple[NDArray[np.str_], ...] = ()
    if lasting_key:
        names, trained = lasting_pseudonyms(data.table, lasting_key), data.split == TRAIN
        lasting = tuple(names[rows & trained] for rows in chosen.values())
    return PreparedData(
        partitions=partitions,
        findings=choice.findings,
        class_names=choice.class_names,
        manifest=write_manifest(listing, data, choice, partitions, settings, seed, understood),
        report=write_report(listing, data.table, notes, left_out),
        understood=understood,
        lasting=lasting,
    )


def _partitions(
    data: SplitTable, choice: Choice, chosen: dict[HospitalId, NDArray[np.bool_]], patients: NDArray[np.str_]
) -> tuple[Partition, ...]:
    """Each hospital's partition, of the rows that are chosen for it."""
    return tuple(
        Partition(
            hospital, choice.findings, *(_image_set(data, patients, rows & (data.split == part)) for part in range(3))
        )
        for hospital, rows in chosen.items()
    )


def select_split(
    settings: DataSettings,
    seed: int,
    split: Literal["train", "val", "test", "all"],
    progress: Progress = silent,
    expected: tuple[str, ...] | None = None,
    workers: int = 0,
    cache_folder: Path | None = None,
) -> ImageSet:
    """One split of a source as a whole, for evaluation; see `read_split`."""
    return read_split(settings, seed, split, progress, expected, workers, cache_folder)[0]


def read_split(
    settings: DataSettings,
    seed: int,
    split: Literal["train", "val", "test", "all"],
    progress: Progress = silent,
    expected: tuple[str, ...] | None = None,
    workers: int = 0,
    cache_folder: Path | None = None,
    cached: bool = True,
) -> tuple[ImageSet, Understood]:
    """One split of a source as a whole, and what was understood of the source.

    Args:
        settings: As for `preprocess`; hospitals, partition, alpha and column have no influence.
        seed: As for `preprocess`.
        split: Which one; "all" takes the images of all three.
        progress: Told how many files have been read.
        expected: The findings that a trained model outputs; the labels then have these columns.
        workers: Threads that read; 0: one a core.
        cache_folder: Where decoded images are kept; None: `$XDG_CACHE_HOME/fedward`.
        cached: As for `preprocess`.

    Raises:
        DataError: as `preprocess`; or the split is empty, or the source lacks the expected findings.

    Guarantees:
        1. For the same source, settings and seed, this is the union of that split over all partitions of
           `preprocess`, whatever the hospitals, the partition and the key (the order and the pseudonyms differ).
    """
    _, data, _, understood, _ = _split(settings, seed, progress, expected, workers, _cache(cache_folder, cached))
    chosen = np.ones(len(data.split), dtype=np.bool_) if split == "all" else data.split == SPLITS.index(split)
    if not chosen.any():
        raise DataError(f"{settings.source} has no images in the split {split!r}.", "Choose another --split, or all.")
    return _image_set(data, pseudonymize(data.table, secrets.token_bytes(32)), chosen), understood


def _cache(folder: Path | None, cached: bool) -> Path | None:
    """Where decoded images are kept between runs; None: nowhere."""
    return (folder or cache.default_folder()) if cached else None


def has_own_splits(settings: DataSettings) -> bool:
    """Whether a source brings splits of its own (any of train, val, test); nothing is read but names.

    Raises:
        DataError: the source is missing or of no known layout.
    """
    return settings.source != SYNTHETIC and bool(list_images(settings, seed=0).splits)


def read_named(
    settings: DataSettings, seed: int, progress: Progress = silent, cached: bool = True
) -> tuple[tuple[str, ...], ImageSet, Choice]:
    """All images of a source with their names, for whoever has to look some of them up: nothing for others.

    Returns:
        Names as the source has them, the images in the same order, and what the labels' columns mean.

    Raises:
        DataError: as `preprocess`.
    """
    _, data, choice, _, _ = _split(settings, seed, progress, None, 0, _cache(None, cached))
    patients = pseudonymize(data.table, secrets.token_bytes(32))
    names = tuple(entry.name for entry in data.table.entries)
    return names, ImageSet(data.table.images, data.labels, patients), choice


def _split(
    settings: DataSettings,
    seed: int,
    progress: Progress,
    expected: tuple[str, ...] | None,
    workers: int,
    cache_folder: Path | None,
) -> tuple[Listing, SplitTable, Choice, Understood, tuple[LeftOut, ...]]:
    """Everything that does not depend on hospitals: list, read, tell patients apart, label, split."""
    listing = list_images(settings, seed)
    choice = choose_findings(listing, settings.finding, expected)
    if listing.pixels is not None:
        table = read_array(listing, listing.pixels, settings.image_size, progress)
    else:
        table = read_files(listing, settings.image_size, progress, workers, cache_folder)
    refuse_bad_files(table, settings)
    refuse_lost_classes(listing, table)
    table, told = settle_patients(table, settings.patients, settings.patient_regex)
    table, labels, excluded = label_table(table, choice, settings)
    data = split_by_patient(table, labels, settings.val_share, settings.test_share, seed)
    left_out = (*listing.left_out, *table.unreadable, *table.not_images, *excluded, *data.left_out)
    return listing, data, choice, understand(listing, data, choice, told, left_out), left_out


def _require_training_data(data: SplitTable, choice: Choice) -> None:
    """Stop when the splits leave nothing to learn from, or nothing to test on."""
    if not (data.split == TRAIN).any():
        raise DataError("The source has no images to train on.", "Give data with a train split, or without any splits.")
    patients = len(np.unique(data.groups))
    if not (data.split == TEST).any():
        raise DataError(
            f"The source has {patients} patients, too few to keep some for testing.", "Give data of more patients."
        )
    require_two_classes(data.labels[data.split == TRAIN], choice)


def _image_set(data: SplitTable, patients: NDArray[np.str_], chosen: NDArray[np.bool_]) -> ImageSet:
    """The chosen images, ordered by their pixels' digest: the order of file names says something, too."""
    keys = {row: data.table.digests[row].tobytes() + data.labels[row].tobytes() for row in np.flatnonzero(chosen)}
    rows = np.array(sorted(keys, key=lambda row: (keys[row], patients[row])), dtype=np.intp)
    return ImageSet(data.table.images[rows], data.labels[rows], patients[rows])


def write_partitions(out: Path, data: PreparedData) -> None:
    """Write all partitions, manifest.json and report.json into a new folder; all of it or nothing.

    Raises:
        UsageError: the folder is in use.
        ResourceError: the disk is full or the folder cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is in use.", "Choose a new folder.")
    out = resolved(out)
    with making_folder(out) as unfinished:
        for partition in data.partitions:
            save_partition(unfinished / f"{partition.hospital}.npz", partition)
        for name, content in (("manifest.json", data.manifest), ("report.json", data.report)):
            write_atomic(unfinished / name, (json.dumps(content, indent=2) + "\n").encode(), mode=0o600)


def _read_key(path: Path | None) -> bytes:
    """The pseudonym key: from a file (made when missing, 0600), or a fresh one that is kept nowhere."""
    if path is None:
        return secrets.token_bytes(32)
    try:
        if path.exists():
            return path.read_bytes()
    except OSError as error:
        raise UsageError(f"The key file {path} could not be read: {error.strerror}.", "Check --key-file.") from error
    key = secrets.token_bytes(32)
    write_atomic(path, key, mode=0o600)
    return key


def main(
    source: Annotated[str, typer.Argument(help="Folder, .npz file, or 'synthetic'.")],
    out: Annotated[Path, typer.Argument(help="New folder for partitions, manifest.json and report.json.")],
    finding: Annotated[str | None, typer.Option(help="auto, any, all, or a class or finding.")] = None,
    positive: Annotated[str | None, typer.Option(help="The class that counts as found; as --finding NAME.")] = None,
    hospitals: Annotated[int | None, typer.Option(help="Number of hospitals.")] = None,
    partition: Annotated[str | None, typer.Option(help="iid, dirichlet or by-column.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Of dirichlet: smaller is more skewed.")] = None,
    column: Annotated[str | None, typer.Option(help="Of by-column.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the squares, in pixels.")] = None,
    val_share: Annotated[float | None, typer.Option(help="Used where the data has no val split.")] = None,
    test_share: Annotated[float | None, typer.Option(help="Used where the data has no test split.")] = None,
    max_bad_share: Annotated[float | None, typer.Option(help="More unreadable files than this stop.")] = None,
    patients: Annotated[
        str | None, typer.Option(metavar="FILE.csv", help="Table of image and patient, believed before all else.")
    ] = None,
    patient_regex: Annotated[
        str | None, typer.Option(help="Takes the patient from an image's path: its first group.")
    ] = None,
    uncertain: Annotated[
        str | None, typer.Option(help="leave-out, negative or positive: where the source is not sure.")
    ] = None,
    contradictions: Annotated[
        str | None, typer.Option(help="leave-out or keep: one picture under two labels, for training.")
    ] = None,
    synthetic_images: Annotated[int | None, typer.Option(help="Number of phantoms.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides splits and hospitals.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="Pseudonym key, made when missing; without: a fresh one, kept nowhere.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what was understood, and write nothing.")] = False,
) -> None:
    """Turn a folder of X-rays into anonymous partitions, one for each hospital."""
    given: dict[str, Scalar | None] = {
        "data.source": source, "data.patients": patients, "data.patient-regex": patient_regex,
        "data.uncertain": uncertain, "data.contradictions": contradictions, "data.hospitals": hospitals,
        "data.partition": partition, "data.alpha": alpha, "data.column": column, "data.image-size": image_size,
        "data.val-share": val_share, "data.test-share": test_share, "data.max-bad-share": max_bad_share,
        "data.synthetic-images": synthetic_images, "training.seed": seed,
    }  # fmt: skip
    given["data.finding"] = asked_finding(finding, positive)
    settings = settings_module.load(config, *((key, value) for key, value in given.items() if value is not None))
    _write(settings, None if dry_run else out, key_file, Console(stderr=True))


def _write(settings: Settings, out: Path | None, key_file: Path | None, console: Console) -> None:
    """Preprocess, show what was understood, and write it unless there is no folder to write to."""
    at_rest = settings.image_encryption.at_rest
    if out and at_rest:
        raise UsageError(
            f"image-encryption.method is {settings.image_encryption.method}, and partitions that are written here "
            "would lie in the clear: no hospital's key is at hand.",
            "Enroll with --data, which seals them at once; or leave that setting out of --config.",
        )
    if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is in use.", "Choose a new folder.")
    with ProgressBar(console=console, transient=True) as bar:
        task = bar.add_task("preprocess", total=None)
        prepared = preprocess(
            settings.data,
            settings.training.seed,
            _read_key(key_file if out else None),
            lambda done, total: bar.update(task, completed=done, total=total),
            cached=not at_rest,
        )
    understood = prepared.understood
    (console if out else Console()).print(understood_table(understood))
    for sentence in filter(None, (understood.left_out_line(), *understood.warnings)):
        console.print(f"Warning: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if out:
        with entry.private_files():
            write_partitions(out, prepared)
        sys.stdout.write(json.dumps(prepared.manifest, indent=2) + "\n")


if __name__ == "__main__":
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command(cls=entry.DescribedCommand)(main)
    entry.run(program, lambda text: Console(stderr=True).print(f"Error: {text}", style="red", markup=False))
