"""A hospital's record of studies: which patients each trained on, and what it released, over all runs on its data.

The privacy record of a run (`fedward.privacy.accounting.PrivacyLedger`) lies in the run's folder and starts at zero.
This one lies outside of any run, and never leaves the hospital:

RECORD/  key.json  limit.json (where the hospital has set one)  .lock
         studies/<name>/study.json (what, when, whom)  charges.json (which rounds)

Patients are noted by HMAC-SHA256 of their pseudonyms, cut to 128 bits, under a key that lies here. The pseudonyms have
to be the same in each study: `pseudonym_key` gives a key for them; another one is as good if `told_by` names it.
"""

import hmac
import json
import secrets
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import filelock

from fedward.checked_json import Format, read_json, to_json
from fedward.errors import BudgetError, EvidenceError, ResourceError, VerificationError
from fedward.files import make_folder, making_folder, sha256, write_atomic
from fedward.privacy.patient_spending import Spent, Use, worst
from fedward.privacy.study_files import (
    DIGEST_BYTES,
    KEY_BYTES,
    Charge,
    KeyForm,
    Limit,
    StudyEntry,
    StudyPatients,
    StudyPlace,
)
from fedward.types import PrivacyEvent

USUAL_DELTA = 1e-5  # where neither the hospital nor a study has named one
PRIVATE = 0o600

_NAME_BYTES = 16
_RESTORE = "Restore it from the newest backup; what it says was spent cannot be guessed."


class StudyRecord:
    """The record of studies in a folder.

    Guarantees:
        1. What was charged stays charged, once for each round of a study, whatever stops in between; a record that is
           damaged or lacks a file is refused, its content never guessed.
        2. Folder 0700, files 0600; no pseudonym, name or image in any.
        3. With a limit, no charge is recorded that would bring a patient above it, also where two studies run at once.

    Limits:
        Whoever has the whole folder can find out whether a patient whose id is known was trained on.
        A record that was restored whole from an old copy is noticed only by a study that has released since.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def opened(cls, path: Path, of: str) -> "StudyRecord":
        """The record in a folder; a new one where there is none.

        Args:
            path: The folder.
            of: Whose data it is, for people.

        Raises:
            BudgetError: studies are there, and their key is not.
            ResourceError: the folder cannot be written.
        """
        record = cls(path)
        make_folder(path)
        with record.locked():
            if not record.exists():
                if any(record._folders()):
                    raise BudgetError(f"The record of studies {path} lacks key.json.", _RESTORE)
                write_atomic(path / "key.json", _json(KeyForm(1, secrets.token_bytes(KEY_BYTES), of)), PRIVATE)
        return record

    def exists(self) -> bool:
        """Whether there is a record."""
        return (self.path / "key.json").exists()

    @property
    def of(self) -> str:
        """Whose data it is."""
        return self._key.of

    def pseudonym_key(self) -> bytes:
        """32 bytes for pseudonyms that are the same in each study of this record."""
        return hmac.digest(self._key.key, b"pseudonyms", "sha256")

    def digests(self, pseudonyms: Iterable[str]) -> tuple[bytes, ...]:
        """How patients are noted here: 16 bytes each, sorted."""
        key = hmac.digest(self._key.key, b"digests", "sha256")
        return tuple(sorted(hmac.digest(key, name.encode(), "sha256")[:DIGEST_BYTES] for name in pseudonyms))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the record; waits for whoever holds it.

        Raises:
            ResourceError: the folder cannot be written.
        """
        lock = filelock.FileLock(self.path / ".lock", mode=PRIVATE)
        try:
            lock.acquire()
        except OSError as error:
            raise ResourceError(
                f"The record of studies {self.path} cannot be locked: {error.strerror or error}.",
                "Make the folder writable.",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def limit(self) -> Limit:
        """What the hospital has set.

        Raises:
            BudgetError: the file is damaged.
        """
        path = self.path / "limit.json"
        return _read(Limit, path, "The hospital's limit") if path.exists() else Limit()

    def set_limit(self, limit: Limit) -> None:
        """Replace what the hospital has set."""
        with self.locked():
            write_atomic(self.path / "limit.json", _json(limit), PRIVATE)

    def enroll(self, entry: StudyEntry) -> "Study":
        """Note a study before its first round; one that is there already stays as it is.

        Raises:
            ResourceError: the disk is full.
        """
        name = sha256(json.dumps([entry.study, entry.part]).encode())[:_NAME_BYTES].hex()
        make_folder(self.path / "studies")
        with self.locked():
            folder = self.path / "studies" / name
            if not folder.exists():
                with making_folder(folder) as unfinished:
                    write_atomic(unfinished / "study.json", _json(entry), PRIVATE)
                    write_atomic(unfinished / "charges.json", _json(()), PRIVATE)
        return Study(self, name)

    def studies(self) -> list["Study"]:
        """All studies, oldest first.

        Raises:
            BudgetError: the record is damaged.
        """
        found = [Study(self, folder.name) for folder in self._folders()]
        return sorted(found, key=lambda study: (study.entry.began, study.entry.part))

    def delta(self, *declared: float) -> float:
        """The delta for which epsilon is stated: the hospital's, or else the largest that was declared."""
        deltas = [*declared, *(study.entry.event.delta for study in self.studies())]
        return self.limit().delta or max(deltas, default=0.0) or USUAL_DELTA

    def spent(self, planned: Use | None = None, delta: float | None = None) -> Spent:
        """What was spent on the most used patient, or would be.

        Args:
            planned: A study that has not begun, counted too.
            delta: The delta to state epsilon for; None: that of `delta()`.

        Raises:
            BudgetError: the record is damaged.
        """
        more = [planned] if planned else []
        uses = [*(study.use() for study in self.studies()), *more]
        return worst(uses, delta or self.delta(*(use.event.delta for use in more)))

    def _folders(self) -> list[Path]:
        return [path for path in (self.path / "studies").glob("[0-9a-f]*") if len(path.name) == 2 * _NAME_BYTES]

    @cached_property
    def _key(self) -> KeyForm:
        return _read(KeyForm, self.path / "key.json", "The key of the record of studies")


@dataclass(frozen=True)
class Study:
    """One study in a record: what it released so far."""

    record: StudyRecord
    name: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.record.path / "studies" / self.name

    @cached_property
    def entry(self) -> StudyEntry:
        """What it is.

        Raises:
            BudgetError: it is not there, or damaged.
        """
        return _read(StudyEntry, self.folder / "study.json", "A study of the hospital's record")

    def charges(self) -> tuple[Charge, ...]:
        """The rounds that were charged.

        Raises:
            BudgetError: the list is not there, or damaged.
        """
        return _read(tuple[Charge, ...], self.folder / "charges.json", "The list of a study's charges")

    def use(self, more: int = 0) -> Use:
        """Its releases so far, and some more."""
        entry = self.entry
        times = len(self.charges()) + more
        return Use(entry.event, times, frozenset(entry.patients), entry.most_images, entry.told_by)

    def check_whole(self, released: Set[int]) -> None:
        """Refuse to go on where the ledger has a release of this study that is not charged here.

        Raises:
            BudgetError: it has.
        """
        if missing := released - {charge.round for charge in self.charges()}:
            raise BudgetError(
                f"The record of studies {self.record.path} is older than the ledger, which has an update of this "
                f"hospital in round {min(missing)}.",
                _RESTORE,
            )

    def check(self, more: int = 1) -> None:
        """Refuse further rounds that would bring a patient above the hospital's own limit.

        Raises:
            BudgetError: they would, or the record is damaged.
        """
        bound = self.record.limit().epsilon
        if bound is None:
            return
        own = self.use(more)
        others = [study.use() for study in self.record.studies() if study.name != self.name]
        _refuse_above(self.record, worst([*others, own], self.record.delta(), own), bound, "this round")

    def charge(self, event: PrivacyEvent, *rounds: Charge) -> None:
        """Record rounds, flushed to the disk, before anything of them leaves; what is there is not charged again.

        Raises:
            BudgetError: they would bring a patient above the hospital's limit, are of another mechanism than the study
                was enrolled with, or the record is damaged.
            ResourceError: the disk is full.
        """
        if event != self.entry.event:
            raise BudgetError(
                "A round of this study has another privacy mechanism than the hospital's record of studies says.",
                "Do not take part; ask the consortium which settings hold.",
            )
        with self.record.locked():
            before = self.charges()
            new = [charge for charge in dict.fromkeys(rounds) if charge not in before]
            if new:
                self.check(len(new))
                write_atomic(self.folder / "charges.json", _json((*before, *new)), PRIVATE)


def check_new_study(record: StudyRecord, event: PrivacyEvent, rounds: int, patients: StudyPatients) -> None:
    """Refuse, at enrollment, a study that would bring one of its patients above the limit that the hospital has set.

    Args:
        record: The hospital's.
        event: What each round would release.
        rounds: How many rounds are asked for.
        patients: Who would be trained on.

    Raises:
        BudgetError: it would, or the record is damaged. Without a limit nothing is refused.
    """
    bound = record.limit().epsilon
    if bound is not None:
        own = planned_use(record, event, rounds, patients)
        uses = [study.use() for study in record.studies()]
        _refuse_above(record, worst([*uses, own], record.delta(event.delta), own), bound, "this study")


def planned_use(record: StudyRecord, event: PrivacyEvent, rounds: int, patients: StudyPatients) -> Use:
    """A study that has not begun, as what it would release."""
    digests = frozenset(record.digests(patients.pseudonyms))
    return Use(event, rounds, digests, patients.most_images, patients.told_by)


def own_study(place: Path) -> Study | None:
    """The study that a file in a hospital's folder names; None where the hospital keeps no record of studies.

    Args:
        place: The file: a `StudyPlace`.

    Raises:
        BudgetError: the file, or the record, is damaged or cannot be read.
    """
    if not place.exists():
        return None
    found = _read(StudyPlace, place, "The place of the hospital's record of studies")
    study = Study(StudyRecord(Path(found.record)), found.study)
    study.charges()
    return study


def save_place(place: Path, study: Study) -> None:
    """Write down, in a hospital's own folder, where its record of studies lies."""
    write_atomic(place, _json(StudyPlace(str(study.record.path.absolute()), study.name)), PRIVATE)


def _refuse_above(record: StudyRecord, found: Spent, bound: float, what: str) -> None:
    if not found.exceeds(bound):
        return
    after = (
        "leave a patient's privacy without any bound, for it or an earlier study adds no noise, and the hospital's "
        f"limit is epsilon {bound:g}"
        if found.unbounded
        else f"bring the most used of its patients to epsilon {found.epsilon:.4g} at delta {found.delta:g}, beyond the "
        f"hospital's limit of {bound:g}"
    )
    raise BudgetError(
        f"Over all studies in {record.path}, {what} would {after}.",
        "Do not take part with these patients; `main.py budget` shows the studies and sets the limit.",
    )


def _read(kind: type[Format], path: Path, what: str) -> Format:
    """A file of the record; raises BudgetError where it is not there, or damaged."""
    try:
        return read_json(kind, path, what, _RESTORE, BudgetError)
    except (EvidenceError, VerificationError) as error:
        raise BudgetError(error.what, _RESTORE) from error


def _json(value: object) -> bytes:
    return json.dumps(to_json(value)).encode()
