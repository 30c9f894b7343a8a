"""Studies on the same patients add up: what runs charge to a record outside of them, what is said, what is refused."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from command_line import run_here
from expected_replies import failure_in
from federation import PRIVATE_SCATTER, Federation, founded
from flwr.app import Message
from sample_images import class_folders, nih_folder

import client
from commands.simulate import study_budget
from commands.simulate.baselines import CENTRAL
from data_preprocessing import PreparedData, preprocess
from fedward import settings as setting
from fedward.errors import BudgetError, ResourceError
from fedward.folders.hospital import HospitalFolder
from fedward.messages import wire
from fedward.privacy.accounting import PrivacyLedger, epsilon
from fedward.privacy.mechanism import expected_event
from fedward.privacy.record_places import all_records, record_of_source
from fedward.privacy.study_files import Limit
from fedward.privacy.study_record import StudyRecord
from fedward.settings import Settings
from fedward.types import HospitalId

HOSPITALS = [HospitalId(f"hospital-{number}") for number in (1, 2, 3)]


@pytest.fixture
def record(tmp_path: Path) -> StudyRecord:
    return StudyRecord.opened(tmp_path / "state", "/data")


@pytest.fixture
def private(tmp_path: Path, record: StudyRecord) -> Iterator[Federation]:
    with founded(tmp_path / "run", *PRIVATE_SCATTER) as federation:
        enroll(federation, record)
        yield federation


def enroll(federation: Federation, record: StudyRecord) -> None:
    data = dataclasses.replace(
        federation.data, lasting=tuple(partition.train.patients for partition in federation.data.partitions)
    )
    study_budget.enroll(federation.folder, record, data, federation.settings)


def cost(settings: Settings, rounds: int) -> float:
    found = epsilon([expected_event(settings.privacy)] * rounds)
    assert found
    return found


def rounds_charged(record: StudyRecord) -> dict[str, list[int]]:
    return {study.entry.part: [charge.round for charge in study.charges()] for study in record.studies()}


# ---- rounds -------------------------------------------------------------------------------------------------------


def test_each_hospitals_rounds_are_charged_and_another_run_adds_to_them(
    private: Federation, record: StudyRecord, tmp_path: Path
) -> None:
    for _ in range(2):
        assert private.lead_round()["phase"] == "accepted"
    assert rounds_charged(record) == {hospital: [1, 2] for hospital in HOSPITALS}
    assert record.spent().epsilon == cost(private.settings, 2)
    opening = private.ledger.opening(1)
    heads = {charge.ledger_head for study in record.studies() for charge in study.charges() if charge.round == 1}
    assert heads == {opening.ledger_head}
    # The phantoms of the second run are the same, under the same pseudonyms.
    with founded(tmp_path / "again", *PRIVATE_SCATTER) as second:
        enroll(second, record)
        second.lead_round()
    assert len(record.studies()) == 6
    assert StudyRecord(record.path).spent().epsilon == cost(private.settings, 3)


def test_a_crash_after_the_charge_is_not_charged_again(private: Federation, record: StudyRecord) -> None:
    private.server().ledger.open_round()
    request = Message(wire.round_records(1, {}), dst_node_id=1, message_type="train")
    private.grid.absent = frozenset({1})
    private.grid.push_messages([request])
    request, context = private.grid.requests[0], private.context(1)
    full = ResourceError("The disk is full.", "Wait.")
    for _ in range(2):
        with mock.patch.object(HospitalFolder, "save_submission", side_effect=full):
            assert failure_in(client.take_part(request, context)).exit_code == ResourceError.exit_code
        assert rounds_charged(record)["hospital-1"] == [1], "before anything is kept or sent"
    for _ in range(2):
        client.take_part(request, context)
    assert rounds_charged(record)["hospital-1"] == [1]
    own = private.folder.hospital(HOSPITALS[0])
    assert len(PrivacyLedger(own.privacy_record).spent()) == 3, "the run's own record counts each attempt"


def test_a_hospital_that_cannot_charge_gives_nothing(private: Federation, record: StudyRecord) -> None:
    study = next(study for study in record.studies() if study.entry.part == "hospital-1")
    (study.folder / "charges.json").unlink()
    metrics = private.lead_round()
    assert metrics["submitted"] == 2
    assert "cannot be guessed" in str(metrics["failures"])


def test_a_record_that_lacks_a_round_of_the_ledger_is_refused(private: Federation, record: StudyRecord) -> None:
    private.lead_round()
    study = next(study for study in record.studies() if study.entry.part == "hospital-1")
    (study.folder / "charges.json").write_text("[]")
    metrics = private.lead_round()
    assert metrics["submitted"] == 2
    assert "is older than the ledger, which has an update of this hospital in round 1" in str(metrics["failures"])


def test_hospitals_at_their_limit_abstain_before_they_train(private: Federation, record: StudyRecord) -> None:
    private.lead_round()
    record.set_limit(Limit(cost(private.settings, 1)))
    trained = mock.patch("fedward.local_update.train_privately", side_effect=AssertionError("trained"))
    with trained, pytest.raises(BudgetError, match="beyond the hospital's limit"):
        private.lead_round()
    assert record.spent().epsilon == cost(private.settings, 1)


def test_a_run_without_privacy_is_recorded_as_having_no_bound(tmp_path: Path, record: StudyRecord) -> None:
    with founded(tmp_path / "run") as federation:
        enroll(federation, record)
        federation.lead_round()
    assert rounds_charged(record) == {hospital: [1] for hospital in HOSPITALS}
    assert record.spent().unbounded


def test_baselines_are_charged_to_those_they_train_on_and_once(private: Federation, record: StudyRecord) -> None:
    rounds = private.settings.training.rounds
    private.lead_round()
    for _ in range(2):  # a run that is resumed
        study_budget.charge_baseline(private.folder, "hospital-1", HOSPITALS[:1], private.settings)
        study_budget.charge_baseline(private.folder, CENTRAL, HOSPITALS, private.settings)
    charged = rounds_charged(record)
    assert charged["hospital-1, baseline"] == charged["central, baseline"] == list(range(1, rounds + 1))
    sizes = {study.entry.part: len(study.entry.patients) for study in record.studies()}
    assert sizes["central, baseline"] == sum(sizes[hospital] for hospital in HOSPITALS)
    assert record.spent().epsilon == cost(private.settings, 1 + 2 * rounds)  # a patient of hospital-1


# ---- patients over runs -------------------------------------------------------------------------------------------


def prepared(source: Path, key: bytes, **changes: Any) -> PreparedData:
    settings = setting.load(None, ("data.source", str(source)), ("data.image-size", 16), ("data.hospitals", 3))
    data = dataclasses.replace(settings.data, **changes)
    return preprocess(data, 1, b"k" * 32, cache_folder=source.parent / "cache", lasting_key=key)


def trained(data: PreparedData) -> set[str]:
    return set(np.concatenate(data.lasting).tolist())


def test_patients_are_known_again_under_another_size_split_and_spelling(tmp_path: Path) -> None:
    rows = [(f"{n:03d}.png", "Effusion" if n % 2 else "No Finding", f"{n // 2}", "PA") for n in range(60)]
    padded = [(name, finding, f"{int(patient):08d}", view) for name, finding, patient, view in rows]
    sources = [nih_folder(tmp_path / name, found) for name, found in (("plain", rows), ("padded", padded))]
    first = prepared(sources[0], b"l" * 32, image_size=16)
    second = prepared(sources[1], b"l" * 32, image_size=24, hospitals=2)
    everybody = trained(first) | trained(second)
    assert len(trained(first) & trained(second)) >= 10
    assert len(everybody) <= 30
    assert not everybody & trained(prepared(sources[0], b"m" * 32))
    assert not everybody & {name for part in first.partitions for name in part.train.patients}
    for part, lasting in zip(first.partitions, first.lasting, strict=True):
        assert len(lasting) == len(part.train)
        assert len(set(lasting.tolist())) == len(set(part.train.patients.tolist()))


def test_images_without_patients_are_known_again_by_their_pixels(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "set", {"NORMAL": 30, "PNEUMONIA": 30})
    first = trained(prepared(source, b"l" * 32))
    for place, path in enumerate(sorted(source.rglob("*.png"))):
        path.rename(path.with_name(f"other-{place}.png"))
    second = trained(prepared(source, b"l" * 32))  # the names decide who is carved for val and test
    assert len(first & second) >= 10
    assert len(first | second) <= 60
    assert prepared(source, b"").lasting == ()


# ---- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg"


def test_a_source_has_one_record_by_whatever_path_and_no_other_source_has_it(state: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    own = record_of_source(tmp_path / "set")
    assert own.path.parent == state / "fedward" / "privacy"
    assert record_of_source(tmp_path / "link").path == record_of_source(tmp_path / "x" / ".." / "set").path == own.path
    assert record_of_source(tmp_path).path != own.path
    assert all_records() == []


def test_phantoms_are_not_recorded(state: Path) -> None:
    assert study_budget.record_for(setting.load().data) is None
    assert not state.exists()


def test_budget_shows_studies_and_never_a_patient(private: Federation, record: StudyRecord) -> None:
    private.lead_round()
    shown, told = run_here("budget", "--record", record.path), run_here("budget", "--record", record.path, "--json")
    assert (shown.returncode, told.returncode) == (0, 0)
    (facts,) = json.loads(told.stdout)
    spent = record.spent()
    assert (facts["epsilon"], facts["delta"], facts["limit"]) == (spent.epsilon, 1e-5, None)
    assert [study["rounds_charged"] for study in facts["studies"]] == [1, 1, 1]
    assert "3 hospitals" in shown.stdout
    assert f"The most used patient: epsilon {spent.epsilon:.3g} at delta 1e-05." in shown.stdout
    digests = {patient.hex() for study in record.studies() for patient in study.entry.patients}
    assert not any(digest in told.stdout + shown.stdout for digest in digests)


def test_budget_sets_and_takes_away_a_limit(state: Path, tmp_path: Path) -> None:
    assert run_here("budget").stdout == "No study has trained on patients' images here.\n"
    source = class_folders(tmp_path / "set", {"NORMAL": 3})
    done = run_here("budget", "--data", source, "--limit", "2.5", "--delta", "1e-6")
    assert done.returncode == 0
    assert "limit over all studies: epsilon 2.5." in done.stdout
    assert record_of_source(source).limit() == Limit(2.5, 1e-6)
    assert run_here("budget", "--data", source, "--limit", "0").returncode == 0
    assert record_of_source(source).limit() == Limit(None, 1e-6)
    assert str(source.resolve()) in run_here("budget").stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--data", "nowhere"), 8, "no record of studies on nowhere"),
        (("--record", "nowhere"), 8, "no record of studies nowhere"),
        (("--data", "nowhere", "--limit", "1"), 8, "no record of studies"),
        (("--limit", "1"), 2, "one record"),
        (("--data", "a", "--record", "b"), 2, "one of them"),
        (("--data", "a", "--limit", "-1"), 2, "--limit is -1"),
        (("--data", "a", "--limit", "nan"), 2, "--limit is nan"),
        (("--data", "a", "--delta", "0.5"), 2, "--delta is 0.5"),
    ],
)
def test_budget_says_what_is_wrong(state: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run_here("budget", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert not state.exists()


def test_a_simulation_beyond_the_limit_is_refused_before_anything_is_made(state: Path, tmp_path: Path) -> None:
    source = class_folders(tmp_path / "set", {"NORMAL": 40, "PNEUMONIA": 40})
    assert run_here("budget", "--data", source, "--limit", "1").returncode == 0
    small = ("--data", source, "--hospitals", "3", "--rounds", "1", "--set", "data.image-size=16")
    noisy = ("--privacy", "sample", "--set", "privacy.noise-multiplier=0.5")
    for options, words in ((noisy, "beyond the hospital's limit of 1"), ((), "without any bound")):
        done = run_here("simulate", *small, *options, "--out", tmp_path / "run")
        assert done.returncode == BudgetError.exit_code
        assert words in done.stderr
        assert not (tmp_path / "run").exists()
    assert record_of_source(source).studies() == []
