"""A hospital's images at enrollment: read and checked, and noted in the record of what was spent on these patients."""

import dataclasses
import secrets
from dataclasses import dataclass
from pathlib import Path

from commands import console
from commands.simulate.reading import warn_of_cache
from commands.simulate.study_budget import say_spent, told_by_of
from data_preprocessing import PreparedData, load_partition, preprocess
from fedward import settings as setting
from fedward.dataset.understanding import understood_table
from fedward.errors import DataError, UsageError
from fedward.files import resolved
from fedward.folders.hospital import HospitalFolder
from fedward.hosts.project import Project
from fedward.privacy.mechanism import expected_event
from fedward.privacy.record_places import record_of_source
from fedward.privacy.study_files import StudyEntry, StudyPatients
from fedward.privacy.study_record import StudyRecord, check_new_study, planned_use, save_place
from fedward.settings import Settings
from fedward.timing import utc_now
from fedward.types import HospitalId, Partition

_PREPARED = "a prepared partition"  # how its patients are told apart: by pseudonyms that are the file's own


@dataclass(frozen=True)
class Images:
    """Where a hospital's images are: a source to read, or a partition that was prepared before."""

    source: str | None
    partition: Path | None
    settings: dict[str, str]

    @classmethod
    def of(cls, source: str | None, partition: Path | None, given: dict[str, str]) -> "Images":
        """What the options say.

        Raises:
            UsageError: neither or both are given, or a setting is not one of how images are read.
        """
        if (source is None) == (partition is None):
            raise UsageError("A hospital has one set of images.", "Give --data, or --partition, and not both.")
        foreign = [key for key in given if not key.startswith("data.")]
        if foreign:
            raise UsageError(
                f"{foreign[0]} is the study's to choose.", "Set only how images are read: --set data.KEY=VALUE."
            )
        return cls(source, partition, given)

    def read(self, project: Project, hospital: HospitalId) -> "OwnImages":
        """The hospital's images, with what was understood of them, and spent on them before, shown on stderr.

        Raises:
            DataError: they cannot be read, or are not labeled with the study's findings.
            BudgetError: the study would pass the limit that the hospital has set, or the record is damaged.
        """
        place = self.partition or Path(self.source or "")
        record = StudyRecord.opened(record_of_source(place).path, str(resolved(place)))
        if self.partition:
            partition = dataclasses.replace(load_partition(self.partition), hospital=hospital)
            found = OwnImages(partition, record, StudyPatients.of(partition.train.patients, _PREPARED), _PREPARED)
        else:
            settings = self._settings(project)
            data = _preprocessed(settings, hospital, record)
            told_by = told_by_of(data, settings)
            found = OwnImages(data.partitions[0], record, StudyPatients.of(data.lasting[0], told_by), told_by)
        found.check(project)
        self._warn_of_clear(project.settings)
        return found

    def _warn_of_clear(self, settings: Settings) -> None:
        """Say what else there is of these images in the clear, where the study has them sealed."""
        warn_of_cache(settings)
        if self.partition and settings.image_encryption.at_rest:
            console.warn(f"{self.partition} still holds the images in the clear; the kit has them sealed. Remove it.")

    def _settings(self, project: Project) -> Settings:
        """The project's settings, with where and how this hospital reads its images."""
        settings = setting.replace(project.settings, "data.source", self.source or "")
        for key, value in self.settings.items():
            settings = setting.replace(settings, key, value)
        if settings.digest() != project.settings.digest():
            raise UsageError("data.finding and data.image-size are the study's to choose.", "Leave them away.")
        return settings


@dataclass(frozen=True)
class OwnImages:
    """A hospital's images, and the record of what was spent on their patients.

    Attributes:
        partition: The images.
        record: Of all studies on the same source.
        patients: Whose images are trained on, by pseudonyms that last over studies.
        told_by: How patients are told apart.
    """

    partition: Partition
    record: StudyRecord
    patients: StudyPatients
    told_by: str

    def check(self, project: Project) -> None:
        """Refuse images that do not fit the study, and a study that would pass the hospital's own limit.

        Raises:
            DataError: they are not labeled with the study's findings, or of another size.
            BudgetError: the study would pass the limit.
        """
        findings, side = self.partition.findings, self.partition.train.images.shape[1]
        if findings != project.study.findings:
            raise DataError(
                f"The images are labeled with {', '.join(findings)}, the study is about "
                f"{', '.join(project.study.findings)}.",
                "Set data.finding in the project's file, or name the folders of images by the study's findings.",
            )
        if side != project.settings.data.image_size:
            raise DataError(
                f"The images are {side} pixels wide, the study has {project.settings.data.image_size}.",
                "Prepare them again with --image-size.",
            )
        event, rounds = expected_event(project.settings.privacy), project.settings.training.rounds
        if event.mode != "none":
            say_spent(self.record, planned_use(self.record, event, rounds, self.patients))
        check_new_study(self.record, event, rounds, self.patients)

    def note(self, project: Project, folder: HospitalFolder) -> None:
        """Note the study in the record, and in the hospital's folder where that is.

        Raises:
            ResourceError: the disk is full.
        """
        deployed, settings = project.require_deployed(), project.settings
        entry = StudyEntry(
            study=f"{deployed.contract} on chain {deployed.chain_id}",
            run=project.study.name,
            part=self.partition.hospital,
            kind="study",
            began=utc_now(),
            event=expected_event(settings.privacy),
            rounds=settings.training.rounds,
            told_by=self.told_by,
            most_images=self.patients.most_images,
            patients=self.record.digests(self.patients.pseudonyms),
        )
        save_place(folder.study_place, self.record.enroll(entry))


def _preprocessed(settings: Settings, hospital: HospitalId, record: StudyRecord) -> PreparedData:
    """Read the source."""
    with console.bar("Reading images") as report:
        data = preprocess(
            settings.data,
            settings.training.seed,
            secrets.token_bytes(32),
            report,
            lasting_key=record.pseudonym_key(),
            only=hospital,
            cached=not settings.image_encryption.at_rest,
        )
    console.err.print(understood_table(data.understood))
    for sentence in (data.understood.left_out_line(), *data.understood.warnings):
        if sentence:
            console.warn(sentence)
    return data
