"""Open a reader file with this hospital's key, and restore the folder that it goes with."""

import dataclasses
from pathlib import Path

from blockchain.identity import Identity
from commands import console
from commands.new_folder import check_new
from commands.own_hospital import hospital_at
from fedward.cloaking.notice import NOT_ENCRYPTION
from fedward.cloaking.reader_file import MAX_BYTES, ReaderFile, open_reader_file, told_reader
from fedward.cloaking.restoring import LABELS, Restored, restore_files
from fedward.entry import private_files
from fedward.errors import DataError, UsageError, VerificationError
from fedward.files import making_folder, read_file, resolved
from fedward.hosts.spoken import spoken
from fedward.reconstruction.reader import Reader
from fedward.reconstruction.registry import reader_from


def restore_folder(folder: Path, reader: Path, hospital: Path, out: Path | None, as_json: bool) -> None:
    """Write restored images and their labels into a new folder.

    Args:
        folder: The cloaked images.
        reader: The reader file.
        hospital: This hospital's kit or folder.
        out: Where to; None: beside the folder.
        as_json: Print JSON.

    Raises:
        UsageError: the hospital's keys cannot be used, or the output folder is in use.
        EncryptionError: the reader file is sealed to another hospital.
        EvidenceError: a file is missing.
        VerificationError: files are damaged. Those that are not were restored and written.
        ResourceError: the disk is full or the folder cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder.", "Name the folder that `main.py protect` wrote.")
    out = resolved(out or folder.with_name(f"{folder.resolve().name}-restored"))
    check_new(out)
    key = Identity.load(hospital_at(hospital).identity).sealing_key
    content = read_file(reader, MAX_BYTES, "The reader file", "Name it with --reader.", through_link=True)
    opened = open_reader_file(content, key, str(reader))
    network = _reader(opened, reader)
    with private_files(), making_folder(out) as unfinished, console.bar("Restoring images") as report:
        done = restore_files(folder, opened.terms, network, unfinished, report)
    _tell(done, opened, out, spoken(content), as_json)
    if done.problems:
        raise VerificationError(
            f"{len(done.problems)} of {len(opened.terms.files)} images could not be restored.",
            "The others are in the folder; ask the sender for those again.",
        )


def _reader(opened: ReaderFile, path: Path) -> Reader:
    """The reader file's network, if it fits what the file says."""
    try:
        reader = reader_from(opened.reader)
    except DataError as error:
        raise VerificationError(f"The reader in {path} cannot be used. {error.what}", error.remedy) from error
    terms = opened.terms
    if (reader.shape.image_size, reader.shape.findings) != (terms.image_size, len(terms.findings)):
        raise VerificationError(
            f"The reader in {path} is for other images or findings than the file says.",
            "Ask the hospital that protected the images for the file again.",
        )
    return reader


def _tell(done: Restored, opened: ReaderFile, out: Path, number: str, as_json: bool) -> None:
    """What was restored, and how sure it is."""
    for problem in done.problems:
        console.warn(problem)
    images = {label.image for label in done.labels}
    if as_json:
        console.data(
            {
                "out": str(out),
                "images": len(images),
                "exact": done.exact,
                "method": opened.terms.method,
                "reader_right": opened.terms.right,
                "reader_judged": opened.terms.judged,
                "number": number,
                "labels": [dataclasses.asdict(label) for label in done.labels],
                "problems": list(done.problems),
            }
        )
        return
    kind = "the originals, bit for bit" if done.exact else "estimates of the reader, not for diagnosis"
    console.out.print(f"Images:  {len(images)} in {out} ({kind})", soft_wrap=True, markup=False)
    console.out.print(f"Labels:  {out / LABELS}; its last column has the sender's own", soft_wrap=True, markup=False)
    console.out.print(f"Reader:  {told_reader(opened.terms)}", soft_wrap=True)
    console.out.print(f"Number of the reader file: [bold]{number}[/] (compare it with the sender's)", soft_wrap=True)
    console.note(NOT_ENCRYPTION)
