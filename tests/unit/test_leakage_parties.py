"""Victims among strangers, what counts as a leak of a run's party, and plans that are narrowed."""

from typing import Any

import numpy as np
import pytest

from commands.lab.leakage_run.holdings import chosen_rounds, read_as_numbers
from fedward.ciphertexts.serialized import MODULUS, RING_DEGREE
from fedward.errors import DataError
from fedward.labs.leakage import plan as leakage_plan
from fedward.labs.leakage.parties import NULL, PLANTED, groups_of
from fedward.labs.leakage.party_summary import faults, judge, row_of, sentence_of
from fedward.labs.leakage.summary import LEAK, PARTIAL, PASS
from fedward.labs.membership import plan as membership_plan
from fedward.labs.narrowing import narrowed
from fedward.types import ImageSet

SIZE = 8


def images_of(count: int, seed: int) -> ImageSet:
    """Two images of each patient, labels in turn by patient."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE), np.uint8)
    patients = np.arange(count) // 2
    return ImageSet(pixels, (patients % 2)[:, None].astype(np.float32), np.array([f"{seed}-{n}" for n in patients]))


def test_each_victim_stands_among_strangers_of_its_label_and_nobody_twice() -> None:
    trained, others = images_of(80, 1), images_of(200, 2)
    groups = groups_of(trained, others, victims=6, among=10, rng=np.random.default_rng(3))
    assert groups.candidates.shape == (6, 10, SIZE, SIZE, 1)
    labels = {image.tobytes(): float(label) for part in (trained, others) for image, label in _rows(part)}
    known = {image.tobytes() for image, _ in _rows(trained)}
    seen = [image.tobytes() for group in groups.candidates for image in group]
    assert len(set(seen)) == 60
    for group, label, place in zip(groups.candidates, groups.labels, groups.places, strict=True):
        assert [image.tobytes() in known for image in group] == [at == place for at in range(10)]
        assert {labels[image.tobytes()] for image in group} == {float(label[0])}
    assert len(set(groups.places.tolist())) > 1, "the place tells nothing"
    assert np.array_equal(groups.first(2).victims, groups.victims[:2])


def _rows(images: ImageSet) -> list[tuple[Any, Any]]:
    return list(zip(images.pixels(), images.labels[:, 0], strict=True))


def test_few_patients_make_small_groups_and_too_few_are_refused() -> None:
    groups = groups_of(images_of(40, 1), images_of(16, 2), victims=2, among=20, rng=np.random.default_rng(3))
    assert groups.candidates.shape[:2] == (2, 5)
    with pytest.raises(DataError, match="too few patients"):
        groups_of(images_of(40, 1), images_of(2, 2), victims=6, among=10, rng=np.random.default_rng(3))


def row(
    party: str = "somebody", hits: int = 0, place: float = 0.5, above: float = -1.0, prior: int = 0
) -> dict[str, Any]:
    ranks = {"hits": hits, "of": 12, "place": place}
    found = {
        "attempts": 2,
        "among": 20,
        "by_picture": {"hits": 0, "of": 12, "place": 0.5},
        "by_gradient": ranks,
        "by_prior": {"hits": prior, "of": 12, "place": 0.5},
        "most_above_prior": {"psnr_db": above, "ssim": -1.0},
    }
    made = row_of({"round": 1, "party": party}, found)
    judge([made])
    return made


def test_what_counts_as_a_leak_of_a_party() -> None:
    assert row()["verdict"] == PASS
    assert row(hits=4)["verdict"] == LEAK
    assert row(hits=4, prior=4)["verdict"] == PASS, "the prior alone names as many: that is no work of the update"
    assert row(hits=1)["verdict"] == PASS
    assert row(place=0.2)["verdict"] == PARTIAL
    assert row(above=3.1)["verdict"] == LEAK


def test_luck_is_expected_of_many_parties() -> None:
    lucky = row(hits=4)
    assert lucky["verdict"] == LEAK
    judge([lucky, *(row() for _ in range(10))])
    assert lucky["verdict"] == PASS


def test_controls_that_fail_are_named_and_a_pass_says_how_many_attempts() -> None:
    assert faults([row(NULL)]) == []
    assert len(faults([row(NULL, hits=12)])) == 1
    assert len(faults([row(PLANTED)])) == 3
    assert faults([row(PLANTED, hits=12)]) == [f"{PLANTED} in round 1 is not found by picture"]
    assert "at least 2 attempts to rebuild" in sentence_of([row(), row(PLANTED, hits=12)], [])
    assert PLANTED not in sentence_of([row(), row(PLANTED, hits=12)], [])


def test_rounds_are_the_first_and_the_last_unless_asked() -> None:
    assert chosen_rounds((), (1, 2, 4)) == (1, 4)
    assert chosen_rounds((), (2,)) == (2,)
    assert chosen_rounds((2,), (1, 2, 4)) == (2,)
    for accepted in ((), (1, 2)):
        with pytest.raises(DataError):
            chosen_rounds((4,), accepted)


def test_ciphertexts_are_read_as_numbers_of_both_signs() -> None:
    residues = np.linspace(0, MODULUS - 1, RING_DEGREE).astype("<u8")
    residues = np.minimum(residues, np.uint64(MODULUS - 1))
    values = read_as_numbers([residues.tobytes()], 10_000)
    assert values.shape == (10_000,)
    assert values.min() == -1.0
    assert values.max() == pytest.approx(1.0)


def test_plans_of_both_labs_are_narrowed_alike() -> None:
    leakage = narrowed(leakage_plan.QUICK, (7,), ["ckks"], (("data.image-size", 32),))
    assert leakage.seeds == (7,)
    assert leakage.cases == (leakage_plan.Case("ckks"),)
    assert leakage.changes == (*leakage_plan.QUICK.changes, ("data.image-size", 32))
    assert narrowed(membership_plan.QUICK, (), [], ()) == membership_plan.QUICK
