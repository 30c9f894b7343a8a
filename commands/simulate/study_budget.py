"""A simulation and the record of studies on its data: says what was spent before, refuses beyond a limit, and enrolls.

One record for each source of images, by its path, for all runs and all their hospitals. Phantoms have no patients, so
nothing is recorded of them.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from commands import console
from data_preprocessing import PreparedData
from fedward.dataset.layouts import SYNTHETIC
from fedward.files import resolved, sha256
from fedward.folders.simulation import SimulationFolder
from fedward.privacy.mechanism import expected_event
from fedward.privacy.patient_spending import Use
from fedward.privacy.record_places import record_of_source
from fedward.privacy.study_files import Charge, StudyEntry, StudyPatients
from fedward.privacy.study_record import StudyRecord, check_new_study, own_study, planned_use, save_place
from fedward.settings import DataSettings, Settings
from fedward.types import HospitalId

BASELINES_COST = 3  # times the run: each patient is trained on by the federation, by one hospital alone, and pooled


def record_for(data: DataSettings) -> StudyRecord | None:
    """The record of a source of images, made where there is none; None for phantoms and for what is not there.

    Raises:
        BudgetError: the record is damaged.
        ResourceError: it cannot be written.
        UsageError: there is no place for it.
    """
    source = Path(data.source)
    if data.source == SYNTHETIC or not source.exists():
        return None
    return StudyRecord.opened(record_of_source(source).path, str(resolved(source)))


def check(record: StudyRecord, data: PreparedData, settings: Settings, with_baselines: bool) -> None:
    """Say on stderr what earlier runs have spent on these patients, and refuse what would pass the limit of the record.

    Raises:
        BudgetError: the run would pass it, or the record is damaged.
    """
    event, rounds = expected_event(settings.privacy), settings.training.rounds
    rounds *= BASELINES_COST if with_baselines else 1
    patients = StudyPatients.of(np.concatenate(data.lasting), told_by_of(data, settings))
    if event.mode != "none":
        say_spent(record, planned_use(record, event, rounds, patients))
    check_new_study(record, event, rounds, patients)


def enroll(folder: SimulationFolder, record: StudyRecord, data: PreparedData, settings: Settings) -> None:
    """Note the run in the record, and in each hospital's folder where that is.

    Raises:
        ResourceError: the disk is full.
    """
    run, told_by = folder.server.load_record(), told_by_of(data, settings)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    for partition, pseudonyms in zip(data.partitions, data.lasting, strict=True):
        patients = StudyPatients.of(pseudonyms, told_by)
        entry = StudyEntry(
            study=f"{run.contract} on chain {settings.ledger.chain_id}",
            run=run.run_id,
            part=partition.hospital,
            kind="study",
            began=began,
            event=expected_event(settings.privacy),
            rounds=settings.training.rounds,
            told_by=told_by,
            most_images=patients.most_images,
            patients=record.digests(patients.pseudonyms),
        )
        save_place(folder.hospital(partition.hospital).study_place, record.enroll(entry))


def charge_baseline(folder: SimulationFolder, name: str, hospitals: Sequence[HospitalId], settings: Settings) -> None:
    """Charge all rounds of a baseline to the patients of these hospitals, before it is trained.

    Raises:
        BudgetError: they would pass the limit of the record, or the record is damaged.
        ResourceError: the disk is full.
    """
    found = [own_study(folder.hospital(hospital).study_place) for hospital in hospitals]
    studies = [study for study in found if study]
    if not studies:
        return
    entries = [study.entry for study in studies]
    entry = replace(
        entries[0],
        part=f"{name}, baseline",
        kind="alone" if len(hospitals) == 1 else "pooled",
        most_images=max(entry.most_images for entry in entries),
        patients=tuple(sorted({patient for entry in entries for patient in entry.patients})),
    )
    baseline = studies[0].record.enroll(entry)
    baseline.charge(entry.event, *(Charge(index) for index in range(1, settings.training.rounds + 1)))


def say_spent(record: StudyRecord, planned: Use) -> None:
    """One sentence about earlier studies on the same images, if there are any."""
    earlier = [study for study in record.studies() if study.charges()]
    if not earlier:
        return
    count = len({study.entry.study for study in earlier})
    noiseless = len({study.entry.study for study in earlier if study.entry.event.mode == "none"})
    after = record.spent(planned)
    before = record.spent(delta=after.delta)
    beside = f"; {noiseless} of them added no noise, so what they tell has no bound" if noiseless else ""
    console.note(
        f"Patients of this folder have been trained on in {count} earlier {'studies' if count > 1 else 'study'}: "
        f"epsilon {before.epsilon or 0.0:.3g} so far at delta {after.delta:g} for the most-used patient, "
        f"{after.epsilon or 0.0:.3g} after this run{beside} (main.py budget shows it)."
    )


def told_by_of(data: PreparedData, settings: Settings) -> str:
    """How patients are told apart, as a short text: the ways, and what was given for them."""
    given = settings.data.patients
    table = sha256(Path(given).read_bytes()).hex() if given else ""
    ways = sorted(data.manifest["patient_ids"]["told_by"])
    return sha256(json.dumps([ways, table, settings.data.patient_regex]).encode()).hex()[:16]
