"""Cloak a hospital's images, train the reader on its own, and seal that to the receiver."""

import dataclasses
import math
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Column, Table

from blockchain.own_images import images_there
from commands import console
from commands.new_folder import check_new
from commands.own_hospital import hospital_at
from commands.protect.receiver import Receiver, receiver_of
from commands.protect.request import Request
from commands.protect.sources import sources_of
from fedward.adversarial.attack import Aim
from fedward.adversarial.harness import craft
from fedward.adversarial.registry import attack_from
from fedward.adversarial.victim import Victim
from fedward.cloaking.notice import FILE, NOT_ENCRYPTION, notice
from fedward.cloaking.own_reader import own_reader
from fedward.cloaking.protecting import WRITTEN, Cloak, Outcome, cloak_files
from fedward.cloaking.reader_file import FOLDER_BYTES, ReaderFile, Terms, told_reader
from fedward.cloaking.sealed_originals import KEY_BYTES
from fedward.entry import private_files
from fedward.errors import DataError
from fedward.files import making_folder, resolved, write_atomic
from fedward.hosts.spoken import spoken
from fedward.learning.model_file import load_classifier
from fedward.types import Partition, Vector

READER = "reader.sealed"
_SHOWN = 40  # images in the table; --json has all


def protect_images(request: Request, as_json: bool) -> None:
    """Write cloaked images and a reader file into a new folder; all of it or nothing.

    Args:
        request: What is asked for.
        as_json: Print JSON.

    Raises:
        UsageError: an option is wrong, or the output folder is in use.
        DataError: model or images cannot be used; or images were left out, after the others were written.
        EncryptionError: nothing can be sealed to the receiver's key.
        ResourceError: the disk is full or the folder cannot be written.
    """
    out = resolved(request.out)
    check_new(out)
    receiver = receiver_of(request.to)
    method = request.method if request.eps is None else f"{request.method}:eps={request.eps:g}"
    attack = attack_from(method)
    path = request.model / "model.keras" if request.model.is_dir() else request.model
    classifier, card = load_classifier(path)
    partition = _partition(request.hospital, card.findings, card.image_size)
    victim = Victim(classifier, card.thresholds)

    def perturb(pixels: Vector, labels: Vector) -> Vector:
        return craft(attack, victim, pixels, Aim(labels), np.random.default_rng())

    key = secrets.token_bytes(KEY_BYTES) if request.lossless else b""
    folder = secrets.token_bytes(FOLDER_BYTES)
    cloak = Cloak(victim, perturb, card.image_size, folder, key, request.keep_unhidden)
    sources = sources_of(request.images, card)
    with private_files(), making_folder(out) as unfinished:
        with console.bar("Cloaking images") as report:
            outcomes, files = cloak_files(sources, unfinished, cloak, report)
        if not files:
            raise _left_out(outcomes, "nothing was written")
        with console.bar("Training the reader") as report:
            own = own_reader(partition, victim, perturb, card.seed, report)
        moved = max(outcome.moved for outcome in outcomes if outcome.name)
        terms = Terms(
            format_version=1,
            folder=folder,
            method=method,
            findings=card.findings,
            thresholds=own.thresholds,
            image_size=card.image_size,
            most_change=moved,
            right=own.right,
            judged=own.judged,
            key=key,
            files=files,
        )
        sealed = ReaderFile(terms, own.reader.as_bytes()).seal(receiver.key)
        write_atomic(unfinished / READER, sealed)
        write_atomic(unfinished / FILE, notice(request.lossless))
    _tell(outcomes, out, receiver, terms, spoken(sealed), as_json)
    if any(outcome.state not in WRITTEN and not outcome.name for outcome in outcomes):
        raise _left_out(outcomes, "the others were written")


def _partition(hospital: Path, findings: tuple[str, ...], image_size: int) -> Partition:
    """The hospital's images, which have to be what the model was trained for."""
    partition = images_there(hospital_at(hospital))
    if partition.findings != findings or partition.train.images.shape[1:] != (image_size, image_size):
        raise DataError(
            f"The images in {hospital} are for other findings or of another size than the model's.",
            "Name the hospital's folder of the study that the model is from.",
        )
    return partition


def _left_out(outcomes: Sequence[Outcome], rest: str) -> DataError:
    """The error that images were left out, naming them."""
    left = [outcome for outcome in outcomes if not outcome.name]
    told = ", ".join(
        f"{outcome.source} ({outcome.reason or 'the model reads its label still'})" for outcome in left[:_SHOWN]
    )
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    return DataError(
        f"{len(left)} of {len(outcomes)} images are not hidden, and were left out: {told}{more}; {rest}.",
        "Raise --eps, choose another --method, or take them along as they are with --keep-unhidden.",
    )


def _tell(outcomes: Sequence[Outcome], out: Path, receiver: Receiver, terms: Terms, number: str, as_json: bool) -> None:
    """What became of each image, and what to do next."""
    states = Counter(outcome.state for outcome in outcomes)
    if as_json:
        console.data(
            {
                "out": str(out),
                "reader": str(out / READER),
                "number": number,
                "receiver": receiver.told,
                "method": terms.method,
                "reader_right": terms.right,
                "reader_judged": terms.judged,
                "states": dict(states),
                "written": sum(bool(outcome.name) for outcome in outcomes),
                "images": [_as_json(outcome) for outcome in outcomes],
            }
        )
        return
    table = Table(Column("image", overflow="fold"), "written as", "label", "moved at most", "PSNR")
    for outcome in outcomes[:_SHOWN]:
        changed = (
            (f"{outcome.moved:.0f} of 255", f"{outcome.psnr:.1f} dB") if outcome.state != "unreadable" else ("", "")
        )
        table.add_row(console.plain(str(outcome.source)), outcome.name, outcome.state, *changed)
    console.out.print(table)
    if len(outcomes) > _SHOWN:
        console.note(f"and {len(outcomes) - _SHOWN} more: --json names them all.")
    console.out.print(f"Hidden:  {states['hidden']} of {len(outcomes)} images, by {terms.method}", soft_wrap=True)
    console.out.print(f"Folder:  {out}", soft_wrap=True, markup=False)
    console.out.print(f"Reader:  {out / READER}, sealed to {receiver.told}", soft_wrap=True, markup=False)
    console.out.print(f"         {told_reader(terms)}", soft_wrap=True)
    console.out.print(f"Number of the reader file: [bold]{number}[/]", soft_wrap=True)
    console.out.print(
        f"Next: send the folder, and read out that number over the telephone. The receiver: main.py restore {out.name} "
        "--hospital KIT",
        soft_wrap=True,
        markup=False,
    )
    console.note(NOT_ENCRYPTION)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome for programs; a picture that did not change has no finite PSNR."""
    told = dataclasses.asdict(outcome)
    return told | {"source": str(outcome.source), "psnr": outcome.psnr if math.isfinite(outcome.psnr) else None}
