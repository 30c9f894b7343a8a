"""Phantoms: the same from the same seed, different patients, and not told apart by brightness."""

import numpy as np
from sklearn.metrics import roc_auc_score

from fedward.dataset.phantoms import list_phantoms


def drawn(seed: int, count: int = 600) -> tuple[np.ndarray, np.ndarray, list[str]]:
    listing = list_phantoms(count, 64, seed)
    positive = np.array([entry.classes == ("opacity",) for entry in listing.entries])
    assert listing.pixels is not None
    return np.asarray(listing.pixels), positive, [entry.patient for entry in listing.entries]


def test_seed_decides_everything() -> None:
    first, again, other = drawn(1, 90), drawn(1, 90), drawn(2, 90)
    assert np.array_equal(first[0], again[0])
    assert first[2] == again[2]
    assert not np.array_equal(first[0], other[0])


def test_one_to_three_images_a_patient_of_one_label() -> None:
    _, positive, patients = drawn(1)
    by_patient = {name: [positive[row] for row, other in enumerate(patients) if other == name] for name in patients}
    assert {len(labels) for labels in by_patient.values()} == {1, 2, 3}
    assert all(len(set(labels)) == 1 for labels in by_patient.values())
    assert 0.35 < positive.mean() < 0.55


def test_brightness_and_contrast_tell_little() -> None:
    images, positive, _ = drawn(1)
    flat = images.reshape(len(images), -1).astype(np.float64)
    for statistic in (flat.mean(axis=1), flat.std(axis=1), flat.max(axis=1), np.median(flat, axis=1)):
        area = roc_auc_score(positive, statistic)
        assert 0.25 < area < 0.75


def test_images_are_well_exposed_and_distinct() -> None:
    images, _, _ = drawn(3)
    assert len({image.tobytes() for image in images}) == len(images)
    assert images.mean() > 40
    assert (images == 255).mean() < 0.05
