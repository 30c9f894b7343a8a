"""Whose image is it: the ways in which sources tell patients apart, in the order in which they are believed.

A patient whose images lie in train and in test makes a model look better than it is, and one who counts as several
is protected less by privacy noise. So each way is named in what is shown before training, with counts.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedward.dataset.kinds import plain
from fedward.dataset.records import Entry, ImageTable
from fedward.dataset.tables import read_lines
from fedward.errors import DataError, UsageError

BY_FILE = "the file given with --patients"
BY_REGEX = "--patient-regex"
BY_HEADER = "PatientID in DICOM headers"
BY_NAME = "file names of a known scheme"
BY_FOLDER = "folders of patients below the class"
BY_STUDY = "folders of studies below the class"
BY_NOTHING = "nothing: each image counts as a patient of its own"

# Names that carry a patient: the Kaggle set's `person123_bacteria_456`, `IM-0115-0001`, `NORMAL2-IM-0115-0001`
# (the last two are different patients), NIH's `00000001_000`, and `patient12_view1`, `sub-01_ses-02`.
_DATED = re.compile(r"((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_NAMES = (
    re.compile(r"(person\d+)_(?:bacteria|virus)_\d+"),
    re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?"),
    re.compile(r"(\d{8})_\d{3}"),
    re.compile(r"((?:patient|pat|subject|subj|sub|person|pid|pt)[-_ ]?\d+)[-_ ].+", re.IGNORECASE),
)
_PATIENT_FOLDER = re.compile(r"(patient|pat|subject|subj|sub|person|pid|pt|case|p)[-_ ]?\d+", re.IGNORECASE)
_STUDY_FOLDER = re.compile(r"(study|stud|stu|exam|visit|session|ses|series|ser|accession)[-_ ]?\d+", re.IGNORECASE)
_NO_PATIENTS = re.compile(
    r"(images?|imgs?|part|batch|archive|fold|set|split|chunk|volume|page|view|year)[-_ ]?\d*|(19|20)\d\d", re.IGNORECASE
)
_PLACEHOLDERS = frozenset({
    "anonymous", "anon", "anonymized", "anonymised", "anonym", "anonymouspatient", "deidentified", "deid", "unknown",
    "none", "na", "n/a", "null", "nil", "nan", "undefined", "unspecified", "notavailable", "noid", "nopatientid",
    "patient", "patientid", "id", "test", "testpatient", "removed", "hidden", "redacted", "confidential", "xxx", "x",
    "default", "empty", "noname", "dummy", "phantom", "unbekannt", "inconnu", "private", "masked", "blank", "deleted",
})  # fmt: skip
_FEW_FOLDERS, _MANY_IMAGES = 10, 20  # fewer folders, or more images in each, are rather groups than patients


@dataclass(frozen=True)
class Told:
    """How patients were told apart.

    Attributes:
        ways: Images by way.
        warnings: What the reader should know, as whole sentences.
    """

    ways: dict[str, int]
    warnings: tuple[str, ...]


class FolderPatients:
    """Patients' folders below class folders, if that is what the folders are."""

    def __init__(self, folders: Sequence[tuple[str, ...]]) -> None:
        """Judge the folders between class and file, a tuple of names an image."""
        self._folders = folders
        self._level, self._by = _patient_level(folders)

    def of(self, row: int) -> tuple[str, str] | None:
        """The patient of an image and how that is known, or None."""
        folders = self._folders[row]
        if self._level is None or len(folders) <= self._level:
            return None
        return folders[self._level], self._by


def _patient_level(folders: Sequence[tuple[str, ...]]) -> tuple[int | None, str]:
    """At which depth below the class patients have their folders; None where nowhere."""
    depth = min((len(parts) for parts in folders), default=0)
    for level in range(depth):
        names = Counter(parts[level] for parts in folders)
        if all(_PATIENT_FOLDER.fullmatch(name) for name in names):
            return level, BY_FOLDER
        numbered = all(any(sign.isdigit() for sign in name) and not _NO_PATIENTS.fullmatch(name) for name in names)
        if numbered and len(names) >= _FEW_FOLDERS and len(folders) <= _MANY_IMAGES * len(names):
            return level, BY_STUDY if all(_STUDY_FOLDER.fullmatch(name) for name in names) else BY_FOLDER
    return None, ""


def patient_in_name(file_name: str) -> str:
    """The patient that a known naming scheme puts into a file name; "" for any other name."""
    stem = file_name.split(".")[0]
    for pattern in _NAMES:
        match = pattern.fullmatch(stem)
        if match:
            return match.group(1)
    return ""


def patient_in_names(file_names: Sequence[str]) -> Callable[[str], tuple[str, str] | None]:
    """How to take patients from these names.

    A name that several files bear tells nobody apart: exports number each folder from IM-0001 on. And eight digits
    that are all dates are no patients.
    """
    found = {name: patient for name in file_names if (patient := patient_in_name(name))}
    repeated = any(count > 1 for name, count in Counter(file_names).items() if name in found)
    eight = [patient for patient in found.values() if re.fullmatch(r"\d{8}", patient)]
    dated = len(eight) > 1 and all(_DATED.fullmatch(patient) for patient in eight)
    if repeated or dated:
        return lambda _name: None
    return lambda name: (found[name], BY_NAME) if name in found else None


def settle_patients(table: ImageTable, patients_file: str, pattern: str) -> tuple[ImageTable, Told]:
    """Give each image its patient.

    Args:
        table: The readable images, with what the listing and the headers say.
        patients_file: A table of image and patient; "" for none. It goes before everything else.
        pattern: A regular expression for paths inside the source; "" for none. It comes second.

    Raises:
        DataError: the file cannot be read or misses images, or the expression fits no image.
        UsageError: the expression is none, or has no group.
    """
    warnings: list[str] = []
    given = _from_file(table.entries, Path(patients_file)) if patients_file else [""] * len(table)
    matched = _from_regex(table.entries, pattern) if pattern else [""] * len(table)
    distrusted = _distrusted([entry.header_patient for entry in table.entries])
    if distrusted:
        count = sum(entry.header_patient in distrusted for entry in table.entries)
        warnings.append(
            f"{count} DICOM images share PatientIDs that stand for nobody, such as a word put in by "
            "de-identification: these are not taken for patients."
        )
    entries, spellings = [], dict[str, str]()
    for row, entry in enumerate(table.entries):
        header = "" if entry.header_patient in distrusted else entry.header_patient
        from_table = entry.patient if entry.patient_by not in (BY_NAME, BY_FOLDER, BY_STUDY, "") else ""
        candidates = (
            (given[row], BY_FILE), (matched[row], BY_REGEX), (from_table, entry.patient_by), (header, BY_HEADER),
            (entry.patient, entry.patient_by),
        )  # fmt: skip
        patient, by = next(((name, way) for name, way in candidates if name), ("", BY_NOTHING))
        # 1, 1.0 and 00000001 are one patient, under the first of these spellings.
        entries.append(replace(entry, patient=spellings.setdefault(same_id(patient), patient), patient_by=by))
    ways = Counter(entry.patient_by for entry in entries)
    unnamed = ways[BY_NOTHING]
    if unnamed:
        warnings.append(
            f"{unnamed} of {len(table)} images name no patient: each counts as a patient of its own, so one person's "
            "images may be in train and test. Give --patients FILE.csv or --patient-regex if you know better."
        )
    return replace(table, entries=tuple(entries)), Told(dict(sorted(ways.items())), tuple(warnings))


def same_id(patient: str) -> str:
    """What equal ids have in common, however a table program wrote them."""
    text = patient.strip()
    match = re.fullmatch(r"0*(\d+)(\.0*)?", text)
    return match.group(1) if match else text.casefold()


def _distrusted(patients: Sequence[str]) -> set[str]:
    """Ids in headers that stand for nobody: words of that kind, and one that most images bear."""
    counts = Counter(patient for patient in patients if patient)
    found = {patient for patient in counts if plain(patient) in _PLACEHOLDERS or not re.search(r"[^0\W_]", patient)}
    rest = {patient: count for patient, count in counts.items() if patient not in found}
    total = sum(rest.values())
    if rest and total >= _MANY_IMAGES:
        commonest = max(rest, key=lambda patient: rest[patient])
        most, others = rest[commonest], total - rest[commonest]
        far_above = len(rest) > 1 and most >= max(_MANY_IMAGES, 0.3 * total, 10 * others / (len(rest) - 1))
        if most >= 0.9 * total or far_above:
            found.add(commonest)
    return found


def _from_regex(entries: Sequence[Entry], pattern: str) -> list[str]:
    """What the expression's group takes from each path."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--patient-regex is no regular expression: {error}.", "Correct it.") from error
    if compiled.groups < 1:
        raise UsageError(
            "--patient-regex has no group.", "Put parentheses around the part that names the patient: '(P[0-9]+)_'."
        )
    found = []
    for entry in entries:
        match = compiled.search(entry.name)
        found.append((match.group("patient" if "patient" in compiled.groupindex else 1) or "") if match else "")
    if not any(found):
        example = f" (the first is {entries[0].name})" if entries else ""
        raise DataError(f"--patient-regex fits no image's path{example}.", "Correct it.")
    return found


def _from_file(entries: Sequence[Entry], path: Path) -> list[str]:
    """Each image's patient in a table of two columns or more: image, patient."""
    rows = read_lines(path)
    if not rows or len(rows[0]) < 2:
        raise DataError(f"{path} has no two columns.", "Give a table of image and patient, with a line of names above.")
    head = [plain(name) for name in rows[0]]
    known = ("patient", "patientid", "patientnr", "patientno", "subject", "subjectid", "pid", "person", "personid")
    patient_at = next((head.index(name) for name in known if name in head), None)
    if patient_at is None:
        raise DataError(f"{path} has no column 'patient'.", "Name its columns 'image' and 'patient' in the first line.")
    names = ("image", "file", "filename", "path", "imageid", "imageindex", "imagename", "name", "filepath")
    image_at = next((head.index(name) for name in names if name in head), 1 if patient_at == 0 else 0)
    patients: dict[str, set[str]] = {}
    for row in rows[1:]:
        if len(row) > max(image_at, patient_at):
            image = row[image_at].strip().replace("\\", "/").removeprefix("./")
            for key in {image, image.rpartition("/")[2], image.rpartition("/")[2].partition(".")[0]}:
                patients.setdefault(key.casefold(), set()).add(row[patient_at].strip())
    found = []
    for entry in entries:
        base = entry.name.rpartition("/")[2]
        keys = (entry.name.casefold(), base.casefold(), base.partition(".")[0].casefold())
        named = next((patients[key] for key in keys if key in patients), set())
        if len(named) > 1:
            raise DataError(f"{path} gives {base} several patients.", "Name images by their paths inside the folder.")
        found.append(next(iter(named), ""))
    missing = [entry.name for entry, patient in zip(entries, found, strict=True) if not patient]
    if missing:
        raise DataError(
            f"{path} names no patient for {len(missing)} of {len(entries)} images ({', '.join(missing[:3])}).",
            "Add them.",
        )
    return found
