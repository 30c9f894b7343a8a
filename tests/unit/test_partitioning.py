"""Who gets which patients."""

import dataclasses

import numpy as np
import pytest
from sample_images import data_settings

from fedward.dataset.partitioning import share_out
from fedward.dataset.records import Entry, ImageTable
from fedward.dataset.splitting import TRAIN, SplitTable, split_by_patient
from fedward.errors import DataError, UsageError


def data_of(patients: list[int], positive: list[int], views: list[str] | None = None) -> SplitTable:
    """One image a list element; every picture is distinct."""
    count = len(patients)
    entries = tuple(
        Entry(f"{row}", (), f"p{patients[row]}", None, columns={"View Position": views[row]} if views else {})
        for row in range(count)
    )
    digests = np.zeros((count, 32), dtype=np.uint8)
    digests[:, :4] = np.arange(count, dtype="<u4").view(np.uint8).reshape(count, 4)
    table = ImageTable(entries, np.zeros((count, 8, 8), np.uint8), digests, (), (), {}, 0)
    return split_by_patient(table, np.array(positive, dtype=np.float32)[:, None], 0.15, 0.15, seed=1)


LARGE = data_of([row // 2 for row in range(800)], [int(row // 2 % 4 == 0) for row in range(800)])


def test_iid_is_equal_and_stratified_in_every_split() -> None:
    sharing = share_out(LARGE, data_settings("", hospitals=5), seed=1)
    for part in range(3):
        for label in (0, 1):
            chosen = (LARGE.split == part) & (LARGE.labels[:, 0] == label)
            counts = np.bincount(sharing.hospital[chosen], minlength=5)
            assert np.ptp(counts) <= 2, (part, label, counts)


def test_dirichlet_is_more_skewed_the_smaller_alpha_is() -> None:
    spreads = []
    for alpha in (0.05, 0.5, 1000.0):
        settings = data_settings("", hospitals=5, partition="dirichlet", alpha=alpha)
        hospital = share_out(LARGE, settings, seed=1).hospital
        shares = [LARGE.labels[hospital == index, 0].mean() for index in range(5)]
        spreads.append(float(np.std(shares)))
    assert spreads[0] > spreads[1] > spreads[2]
    assert spreads[2] < 0.03


@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 0.1])
def test_dirichlet_leaves_every_hospital_a_few_training_patients(alpha: float) -> None:
    settings = data_settings("", hospitals=20, partition="dirichlet", alpha=alpha)
    sharing = share_out(LARGE, settings, seed=3)
    training = LARGE.split == TRAIN
    for index in range(20):
        assert len(set(LARGE.groups[training & (sharing.hospital == index)].tolist())) >= 3


def test_dirichlet_uses_the_same_proportions_in_every_split() -> None:
    settings = data_settings("", hospitals=3, partition="dirichlet", alpha=1.0)
    hospital = share_out(LARGE, settings, seed=2).hospital
    shares = [
        np.bincount(hospital[LARGE.split == part], minlength=3) / (LARGE.split == part).sum() for part in range(3)
    ]
    assert np.allclose(shares[0], shares[1], atol=0.05)
    assert np.allclose(shares[0], shares[2], atol=0.05)


def test_more_hospitals_than_patients() -> None:
    with pytest.raises(DataError, match="10 hospitals but only 4 patients"):
        share_out(data_of(list(range(8)), [0, 1] * 4), data_settings("", hospitals=10), seed=1)


def by_column(hospitals: int, column: str = "View Position") -> tuple[SplitTable, np.ndarray, dict[str, int]]:
    views = ["PA" if row % 3 else "AP" for row in range(120)]
    views[1] = "AP"  # the patient of rows 0 to 3 now has AP, AP, PA, AP
    data = data_of(
        [row // 4 * 3 + row % 3 if row > 3 else 0 for row in range(120)], [row % 2 for row in range(120)], views
    )
    sharing = share_out(data, data_settings("", hospitals=hospitals, partition="by-column", column=column), seed=1)
    return data, sharing.hospital, sharing.notes


def test_by_column_maps_values_to_hospitals_and_counts_divided_patients() -> None:
    data, hospital, notes = by_column(2)
    views = np.array([entry.columns["View Position"] for entry in data.table.entries])
    for row, entry in enumerate(data.table.entries):
        if entry.patient != "p0":
            assert hospital[row] == (0 if views[row] == "PA" else 1)
    first = [row for row, entry in enumerate(data.table.entries) if entry.patient == "p0"]
    assert set(hospital[first].tolist()) == {1}  # the majority has AP
    assert notes["patients with several values, counted under their commonest"] == 1


def test_by_column_with_too_few_values_names_them() -> None:
    with pytest.raises(DataError, match=r"2 values \('AP', 'PA'\), too few for 5 hospitals"):
        by_column(5)
    with pytest.raises(DataError, match="Did you mean 'View Position'"):
        by_column(2, "view")
    with pytest.raises(UsageError, match="--column"):
        by_column(2, "")
    settings = data_settings("", partition="by-column", column="x")
    with pytest.raises(DataError, match="no columns"):
        share_out(LARGE, settings, seed=1)


def test_seed_decides() -> None:
    settings = dataclasses.replace(data_settings("", hospitals=5))
    first, again, other = (share_out(LARGE, settings, seed=seed).hospital for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_iid_differs_by_at_most_one_patient_of_a_class_however_uneven_patients_are() -> None:
    sizes = np.random.default_rng(3).integers(1, 20, 200)
    patients = np.repeat(np.arange(200), sizes)
    data = data_of(patients.tolist(), (patients % 3 == 0).astype(int).tolist())
    hospital = share_out(data, data_settings("", hospitals=4), seed=1).hospital
    for part in range(3):
        for label in (0, 1):
            chosen = (data.split == part) & (data.labels[:, 0] == label)
            largest = np.bincount(data.groups[chosen]).max()
            assert np.ptp(np.bincount(hospital[chosen], minlength=4)) <= largest
