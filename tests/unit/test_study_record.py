"""A hospital's record of studies: charged once and for ever, refused where damaged, and nobody is named in it."""

import dataclasses
import json
import multiprocessing
import stat
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from fedward.errors import BudgetError, ResourceError
from fedward.privacy.accounting import PrivacyLedger, epsilon
from fedward.privacy.study_files import Charge, Limit, StudyEntry, StudyPatients
from fedward.privacy.study_record import Study, StudyRecord, check_new_study, own_study, save_place
from fedward.types import PrivacyEvent

EVENT = PrivacyEvent("sample", "patient", 0.5, 4.0, 5, 0.2, 1e-5)
NONE = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
NAMES = ("Ada", "Grace", "Edith")


def cost(rounds: int) -> float:
    found = epsilon([EVENT] * rounds)
    assert found
    return found


def people(*names: str, told_by: str = "ids") -> StudyPatients:
    return StudyPatients(frozenset(names), 1, told_by)


def enrolled(
    record: StudyRecord, study: str, *names: str, event: PrivacyEvent = EVENT, part: str = "hospital-1"
) -> Study:
    entry = StudyEntry(study, study, part, "study", "2026-01-01", event, 3, "ids", 1, record.digests(names))
    return record.enroll(entry)


@pytest.fixture
def record(tmp_path: Path) -> StudyRecord:
    return StudyRecord.opened(tmp_path / "state" / "record", "/data")


def again(study: Study) -> Study:
    """The same study as another process reads it."""
    return Study(StudyRecord(study.record.path), study.name)


# ---- what it holds ------------------------------------------------------------------------------------------------


def test_nobody_is_named_and_nobody_else_can_read_it(record: StudyRecord) -> None:
    study = enrolled(record, "one", *NAMES)
    study.charge(EVENT, Charge(1))
    record.set_limit(Limit(3.0, 1e-6))
    files = [path for path in record.path.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"key.json", "limit.json", ".lock", "study.json", "charges.json"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert not any(name.encode() in path.read_bytes() for name in NAMES)
    for folder in (record.path, *(path for path in record.path.rglob("*") if path.is_dir())):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_digests_are_the_same_in_each_study_and_other_in_another_record(record: StudyRecord, tmp_path: Path) -> None:
    same, other = StudyRecord.opened(record.path, "/data"), StudyRecord.opened(tmp_path / "other", "/data")
    assert same.digests(NAMES) == record.digests(reversed(NAMES))
    assert not set(other.digests(NAMES)) & set(record.digests(NAMES))
    assert same.pseudonym_key() == record.pseudonym_key() != other.pseudonym_key()
    assert len(record.pseudonym_key()) == 32


def test_patients_are_counted_by_their_images() -> None:
    patients = StudyPatients.of(np.array(["a", "b", "a", "a"]), "ids")
    assert (patients.pseudonyms, patients.most_images) == ({"a", "b"}, 3)
    assert StudyPatients.of(np.array([], np.str_), "ids").most_images == 1


def test_studies_on_the_same_patients_add_up_and_on_others_do_not(record: StudyRecord) -> None:
    enrolled(record, "one", "Ada", "Grace").charge(EVENT, Charge(1), Charge(2))
    enrolled(record, "two", "Edith").charge(EVENT, Charge(1), Charge(2))
    assert record.spent().epsilon == cost(2)
    enrolled(record, "three", "Grace", "Edith").charge(EVENT, Charge(1))
    assert StudyRecord(record.path).spent().epsilon == cost(3)
    assert {study.entry.study for study in record.studies()} == {"one", "two", "three"}


def test_delta_is_the_hospitals_or_the_largest_declared(record: StudyRecord) -> None:
    assert record.spent().delta == 1e-5, "the usual one"
    enrolled(record, "one", "Ada", event=dataclasses.replace(EVENT, delta=1e-6)).charge(
        dataclasses.replace(EVENT, delta=1e-6), Charge(1)
    )
    assert record.spent().delta == 1e-6
    record.set_limit(Limit(None, 1e-8))
    assert record.spent().delta == 1e-8
    assert record.spent().epsilon > cost(1)  # type: ignore[operator]


# ---- charging -----------------------------------------------------------------------------------------------------


def test_a_round_is_charged_once_and_another_head_is_another_release(record: StudyRecord) -> None:
    study = enrolled(record, "one", "Ada")
    for _ in range(3):
        again(study).charge(EVENT, Charge(1, b"head"))
    assert again(study).charges() == (Charge(1, b"head"),)
    again(study).charge(EVENT, Charge(1, b"after a reorganization"))
    again(study).charge(EVENT, Charge(2, b"head"), Charge(2, b"head"))
    assert len(again(study).charges()) == 3


def test_a_study_that_is_enrolled_again_keeps_its_charges(record: StudyRecord) -> None:
    enrolled(record, "one", "Ada").charge(EVENT, Charge(1))
    assert len(enrolled(record, "one", "Ada").charges()) == 1
    assert enrolled(record, "one", "Ada", part="hospital-2").charges() == ()


def test_a_crash_while_charging_leaves_the_old_or_the_new_and_a_retry_the_new(record: StudyRecord) -> None:
    study = enrolled(record, "one", "Ada")
    study.charge(EVENT, Charge(1))
    full = OSError(28, "No space left on device")
    for function in ("os.fsync", "os.replace"):
        with mock.patch(f"fedward.files.{function}", side_effect=full), pytest.raises(ResourceError):
            again(study).charge(EVENT, Charge(2))
        assert again(study).charges() == (Charge(1),)
    again(study).charge(EVENT, Charge(2))
    again(study).charge(EVENT, Charge(2))
    assert again(study).charges() == (Charge(1), Charge(2))
    assert [path.name for path in study.folder.iterdir() if path.name.endswith(".part")] == []


def test_a_crash_while_enrolling_leaves_nothing_and_charges_nothing(record: StudyRecord) -> None:
    full = OSError(28, "No space left on device")
    with mock.patch("fedward.files.os.fsync", side_effect=full), pytest.raises(ResourceError):
        enrolled(record, "one", "Ada")
    assert record.studies() == []
    assert enrolled(record, "one", "Ada").charges() == ()


def charge_some(path: Path, name: str, rounds: range) -> None:
    for index in rounds:
        Study(StudyRecord(path), name).charge(EVENT, Charge(index))


@pytest.mark.slow
def test_processes_that_charge_at_once_lose_nothing(record: StudyRecord) -> None:
    study = enrolled(record, "one", "Ada")
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=charge_some, args=(record.path, study.name, range(start, start + 12)))
        for start in (1, 7)  # rounds 7 to 12 by both
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(charge.round for charge in study.charges()) == list(range(1, 19))


@tried(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["one", "two"]), st.integers(1, 4), st.sampled_from([b"", b"x"]), st.booleans()),
        max_size=15,
    )
)
def test_whatever_is_charged_in_whatever_order_each_release_counts_once(
    attempts: list[tuple[str, int, bytes, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        record = StudyRecord.opened(Path(folder) / "record", "")
        expected: dict[str, set[Charge]] = {"one": set(), "two": set()}
        for name in expected:
            enrolled(record, name, "Ada")
        for name, index, head, fails in attempts:
            study = enrolled(StudyRecord(record.path), name, "Ada")
            if fails:
                with mock.patch("fedward.files.os.replace", side_effect=OSError(5, "Input/output error")):
                    if Charge(index, head) in expected[name]:
                        study.charge(EVENT, Charge(index, head))  # writes nothing
                    else:
                        with pytest.raises(ResourceError):
                            study.charge(EVENT, Charge(index, head))
                continue
            study.charge(EVENT, Charge(index, head))
            expected[name].add(Charge(index, head))
        for name, charged in expected.items():
            found = enrolled(record, name, "Ada").charges()
            assert (set(found), len(found)) == (charged, len(charged))


def test_a_round_of_another_mechanism_is_refused(record: StudyRecord) -> None:
    study = enrolled(record, "one", "Ada")
    with pytest.raises(BudgetError, match="another privacy mechanism"):
        study.charge(NONE, Charge(1))
    assert study.charges() == ()


# ---- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["study.json", "charges.json"])
@pytest.mark.parametrize("content", [None, b"", b"[", b'{"round": 1}', b'[{"round": "1", "ledger_head": ""}]', b"null"])
def test_a_damaged_record_is_refused_and_not_guessed(record: StudyRecord, name: str, content: bytes | None) -> None:
    study = enrolled(record, "one", "Ada")
    study.charge(EVENT, Charge(1))
    path = study.folder / name
    path.unlink() if content is None else path.write_bytes(content)
    for attempt in (StudyRecord(record.path).spent, lambda: again(study).charge(EVENT, Charge(2))):
        with pytest.raises(BudgetError, match="cannot be guessed") as refused:
            attempt()
        assert refused.value.exit_code == 4


def test_a_record_without_its_key_gets_no_other(record: StudyRecord) -> None:
    enrolled(record, "one", "Ada")
    (record.path / "key.json").unlink()
    with pytest.raises(BudgetError, match=r"lacks key\.json"):
        StudyRecord.opened(record.path, "/data")


# ---- a hospital's limit -------------------------------------------------------------------------------------------


def test_a_study_that_would_pass_the_limit_is_refused(record: StudyRecord) -> None:
    enrolled(record, "one", "Ada", "Grace").charge(EVENT, Charge(1), Charge(2))
    check_new_study(record, EVENT, 10_000, people("Ada"))
    record.set_limit(Limit(cost(5)))
    check_new_study(record, EVENT, 3, people("Ada"))
    with pytest.raises(BudgetError) as refused:
        check_new_study(record, EVENT, 4, people("Ada", "Edith"))
    assert refused.value.what == (
        f"Over all studies in {record.path}, this study would bring the most used of its patients to epsilon "
        f"{cost(6):.4g} at delta 1e-05, beyond the hospital's limit of {cost(5):g}."
    )
    check_new_study(record, EVENT, 5, people("Edith"))
    with pytest.raises(BudgetError, match="without any bound"):
        check_new_study(record, NONE, 1, people("Edith"))
    with pytest.raises(BudgetError, match="limit"):
        check_new_study(record, EVENT, 4, people("Edith", told_by="other ids"))
    record.set_limit(Limit())
    check_new_study(record, NONE, 1, people("Edith"))


def test_patients_of_a_study_without_privacy_are_in_no_other_under_a_limit(record: StudyRecord) -> None:
    enrolled(record, "one", "Ada", event=NONE).charge(NONE, Charge(1))
    record.set_limit(Limit(1000.0))
    check_new_study(record, EVENT, 1, people("Grace"))
    with pytest.raises(BudgetError, match="without any bound"):
        check_new_study(record, EVENT, 1, people("Ada", "Grace"))


def test_two_studies_at_once_do_not_pass_the_limit_together(record: StudyRecord) -> None:
    record.set_limit(Limit(cost(3)))
    studies = [enrolled(record, name, "Ada") for name in ("one", "two")]
    check_new_study(record, EVENT, 3, people("Ada"))
    studies[0].charge(EVENT, Charge(1), Charge(2))
    studies[1].check()
    studies[1].charge(EVENT, Charge(1))
    for study in studies:
        with pytest.raises(BudgetError, match="this round would bring"):
            study.check()
        with pytest.raises(BudgetError):
            study.charge(EVENT, Charge(3))
        study.charge(EVENT, Charge(1))  # paid for
    assert record.spent().epsilon == cost(3)


def test_a_damaged_limit_is_no_permission(record: StudyRecord) -> None:
    record.set_limit(Limit(1.0))
    (record.path / "limit.json").write_bytes(b"{")
    with pytest.raises(BudgetError, match="limit"):
        check_new_study(record, EVENT, 1, people("Ada"))


# ---- beside the privacy record of a run ---------------------------------------------------------------------------


def test_what_a_run_is_charged_the_record_of_studies_is_charged_first(record: StudyRecord, tmp_path: Path) -> None:
    study, place, own = enrolled(record, "one", "Ada"), tmp_path / "study-place.json", tmp_path / "privacy.jsonl"
    assert own_study(place) is None
    PrivacyLedger(own).charge(1, EVENT, b"head")
    assert study.charges() == (), "a hospital that keeps no record of studies"
    own.unlink()
    save_place(place, study)
    full = ResourceError("The disk is full.", "Wait.")
    with mock.patch("fedward.privacy.accounting.append_line", side_effect=full), pytest.raises(ResourceError):
        PrivacyLedger(own).charge(1, EVENT, b"head")
    assert (study.charges(), PrivacyLedger(own).spent()) == ((Charge(1, b"head"),), [])
    for _ in range(2):
        PrivacyLedger(own).charge(1, EVENT, b"head")
    assert study.charges() == (Charge(1, b"head"),), "trained anew after a crash: nothing of the first attempt left"
    assert len(PrivacyLedger(own).spent()) == 2
    PrivacyLedger(own).check_whole({1})
    place.rename(tmp_path / "away")
    PrivacyLedger(own).charge(2, EVENT)
    (tmp_path / "away").rename(place)
    with pytest.raises(BudgetError, match=r"record of studies .* is older than the ledger.* in round 2\."):
        PrivacyLedger(own).check_whole({1, 2})


def test_a_hospital_whose_record_of_studies_is_gone_is_charged_nothing_and_gives_nothing(
    record: StudyRecord, tmp_path: Path
) -> None:
    place = tmp_path / "study-place.json"
    save_place(place, enrolled(record, "one", "Ada"))
    assert json.loads(place.read_text())["record"] == str(record.path)
    record.path.rename(tmp_path / "elsewhere")
    spending = PrivacyLedger(tmp_path / "privacy.jsonl")
    with pytest.raises(BudgetError, match="could not be read"):
        spending.check(EVENT, float("inf"))
    with pytest.raises(BudgetError, match="could not be read"):
        spending.charge(1, EVENT)
    assert spending.spent() == []


def test_the_limit_over_studies_holds_before_training(record: StudyRecord, tmp_path: Path) -> None:
    place = tmp_path / "study-place.json"
    save_place(place, enrolled(record, "one", "Ada"))
    record.set_limit(Limit(cost(1)))
    spending = PrivacyLedger(tmp_path / "privacy.jsonl")
    spending.check(EVENT, float("inf"))
    spending.charge(1, EVENT, b"head")
    with pytest.raises(BudgetError, match="beyond the hospital's limit"):
        spending.check(EVENT, float("inf"))
