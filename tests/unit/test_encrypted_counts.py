"""Validation counts as fields: exact there and back, added by ciphertext, and refused where they are nonsense."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from encryption import RoundKey, decrypt, encrypt_fields
from fedward.ciphertexts.encrypted_counts import (
    CountsLayout,
    EncryptedCounts,
    RunningSum,
    check_counts,
    counts_layout,
)
from fedward.errors import EncryptionError, EvidenceError
from fedward.figures.histograms import BINS, LARGEST_LOSS, ScoreHistogram, empty_histogram, histogram
from fedward.folders.round_counts import PlainCounts, RoundCounts
from fedward.folders.simulation import SimulationFolder
from fedward.messages.ballots import counts_hash
from fedward.sharing.modular import MODULUS
from fedward.types import Address

SEED = b"the round of these tests"


def sample(seed: int, n: int, findings: int) -> ScoreHistogram:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, findings)).astype(np.float32)
    return histogram(logits, (rng.random((n, findings)) < 0.3).astype(np.float32))


def same(left: ScoreHistogram, right: ScoreHistogram, summands: int = 1) -> bool:
    """Equal to the last count, and in the loss to what fixed point holds."""
    assert left.loss_sum == pytest.approx(right.loss_sum, rel=1e-15, abs=summands * 2.0**-41)
    counts = (np.array_equal(getattr(left, name), getattr(right, name)) for name in ("positives", "negatives"))
    return all(counts) and left.n == right.n


def closed(layout: CountsLayout, each: list[ScoreHistogram]) -> tuple[EncryptedCounts, RoundKey]:
    """Each hospital's counts under a key of its own, and the sum of the keys."""
    running, keys = RunningSum(), [RoundKey.generate() for _ in each]
    for number, (counts, key) in enumerate(zip(each, keys, strict=True)):
        running.add(Address(f"0x{number}"), encrypt_fields(layout.to_fields(counts), layout.plan, key, SEED))
    total = np.asarray(sum(key.residues().astype(object) for key in keys) % MODULUS).astype(np.uint64)
    return running.total(), RoundKey(total)


@pytest.mark.parametrize(
    ("findings", "hospitals", "enrolled"),
    [(1, 2, 2), (1, 3, 100), (1, 5, 4_000), (2, 5, 131_071), (14, 6, 86_524), (1, 128, 10**6), (1, 3, 2**30)],
)
def test_counts_come_back_from_their_fields_at_every_bound(findings: int, hospitals: int, enrolled: int) -> None:
    layout = counts_layout(findings, hospitals, enrolled)
    one_bin = np.zeros((findings, BINS), np.int64)
    one_bin[:, -1] = enrolled
    for counts in (
        ScoreHistogram(one_bin, one_bin * 0, LARGEST_LOSS * enrolled, enrolled),
        ScoreHistogram(one_bin * 0, one_bin, 0.1, enrolled),
        sample(1, min(enrolled, 500), findings),
        empty_histogram(findings),
    ):
        fields = layout.to_fields(counts)
        assert fields.shape == (layout.plan.parameters,)
        assert fields.min() >= 0
        assert fields.max() <= layout.plan.largest_field_sum
        assert same(layout.from_fields(fields), counts)
    digits = layout.to_fields(counts)[2 * findings * BINS + 1 :].size
    assert hospitals * (2**layout.digit_bits - 1) <= layout.plan.largest_field_sum, "every digit of every hospital"
    assert digits == layout.digits


def test_fewer_images_need_no_more_bytes() -> None:
    sizes = [counts_layout(1, 5, 10**power).plan.chunks for power in range(1, 7)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert counts_layout(1, 5, 4_000).plan.chunks == 2
    assert counts_layout(14, 6, 86_524).plan.chunks == 35


def test_more_images_than_any_layout_holds_are_refused() -> None:
    with pytest.raises(EncryptionError, match=r"metrics\.encrypted"):
        counts_layout(1, 3, 2**49)


@pytest.mark.parametrize(("findings", "hospitals"), [(1, 5), (14, 3)])
def test_the_opened_sum_is_the_sum_of_the_histograms_bit_for_bit(findings: int, hospitals: int) -> None:
    each = [sample(seed, 150 * (seed + 1), findings) for seed in range(hospitals - 1)] + [empty_histogram(findings)]
    total = each[0]
    for counts in each[1:]:
        total = total + counts
    layout = counts_layout(findings, hospitals, 4_000)
    found, key = closed(layout, each)
    assert len(found.hospitals) == hospitals
    assert len(found.chunks) == layout.plan.chunks
    opened = layout.from_fields(decrypt(found.chunks, layout.plan, key, SEED, hospitals))
    assert same(opened, total, hospitals)
    assert opened.auc() == total.auc()
    assert opened.thresholds() == total.thresholds()
    check_counts(opened, total.n)
    with pytest.raises(EncryptionError, match="enrolled"):
        check_counts(opened, total.n - 1)


def test_counts_of_another_shape_or_too_many_images_are_refused() -> None:
    layout = counts_layout(1, 3, 100)
    with pytest.raises(EncryptionError, match="do not fit"):
        layout.to_fields(sample(1, 10, 2))
    few = sample(1, 10, 1)
    for loss in (LARGEST_LOSS * 10**9, -1.0):
        with pytest.raises(EncryptionError, match="do not fit"):
            layout.to_fields(dataclasses.replace(few, loss_sum=loss))
    fields = layout.to_fields(few)
    with pytest.raises(EncryptionError):
        encrypt_fields(fields[:-1], layout.plan, RoundKey.generate(), SEED)
    fields[0] = layout.plan.largest_field_sum + 1
    with pytest.raises(EncryptionError):
        encrypt_fields(fields, layout.plan, RoundKey.generate(), SEED)


def change(counts: ScoreHistogram, place: int, by: int) -> ScoreHistogram:
    positives = counts.positives.copy()
    positives[-1, place] += by
    return dataclasses.replace(counts, positives=positives)


GOOD = sample(3, 60, 2)
EMPTY_BIN = int(np.flatnonzero(GOOD.positives[-1] == 0)[0])


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (change(GOOD, 0, 1), "add up"),
        (change(change(GOOD, EMPTY_BIN, -1), EMPTY_BIN + 1, 1), "add up"),  # the sum is right, a count is not
        (change(change(GOOD, 0, 2**62), 1, 2**62), "add up"),
        (dataclasses.replace(GOOD, n=61), "enrolled"),
        (dataclasses.replace(GOOD, n=59), "add up"),
        (dataclasses.replace(GOOD, n=-1), "enrolled"),
        (dataclasses.replace(GOOD, loss_sum=-1e-9), "loss"),
        (dataclasses.replace(GOOD, loss_sum=LARGEST_LOSS * 61), "loss"),
        (dataclasses.replace(GOOD, loss_sum=float("nan")), "loss"),
        (dataclasses.replace(empty_histogram(2), loss_sum=1.0), "loss"),
    ],
)
def test_sums_that_are_no_counts_are_refused(counts: ScoreHistogram, told: str) -> None:
    check_counts(GOOD, 60)
    check_counts(empty_histogram(2), 60)
    with pytest.raises(EncryptionError, match=told):
        check_counts(counts, 60)


def test_a_capped_histogram_adds_up_and_keeps_its_shape() -> None:
    """Bins are narrow: scaled one by one, counts of one image would all become none."""
    whole = sample(5, 900, 3)
    for most in (899, 450, 7, 1, 0):
        capped = whole.capped(most)
        check_counts(capped, most)
        assert capped.n == most
        for kept, counts in ((capped.positives, whole.positives), (capped.negatives, whole.negatives)):
            assert (np.abs(kept - counts * (most / 900)) < 1).all()
    assert whole.capped(900) is whole
    assert whole.capped(450).auc() == pytest.approx(whole.auc(), abs=0.05)
    vast = ScoreHistogram(np.full((1, BINS), 2**26), np.zeros((1, BINS), np.int64), 1.0, BINS * 2**26)
    check_counts(vast.capped(2**39), 2**39)


def test_kept_counts_are_whole_or_not_there(tmp_path: Path) -> None:
    run = SimulationFolder.create(tmp_path / "run")
    assert run.server.counts.load(1) is None
    hospitals = [Address("0x" + f"{number:040x}") for number in (1, 2)]
    names = tuple(f"{number:064x}" for number in range(3))
    counts = RoundCounts({hospitals[0]: PlainCounts.of(sample(5, 900, 3))}, {hospitals[1]: names}, names[:1])
    run.server.counts.save(1, counts)
    assert run.server.counts.load(1) == counts
    assert [path.name for path in run.server.counts.path.iterdir()] == ["round-0001.json"]
    path = run.server.counts.path / "round-0001.json"
    whole = path.read_bytes()
    for damaged in (
        b"",
        whole[:-1],
        b"[" * 10**5 + whole,
        whole.replace(hospitals[0].encode(), b"../../etc"),
        whole.replace(names[2].encode(), b"../passwd"),
        whole.replace(b'"n": 900', b'"n": -900'),
        whole.replace(b'"n": 900', b'"n": 900.5'),
        whole.replace(b'"loss_sum": ', b'"loss_sum": 1e999'),
        b"[]",
        b"\xff\xfe",
    ):
        assert damaged != whole
        path.write_bytes(damaged)
        with pytest.raises(EvidenceError, match="The counts of round 1 in"):
            run.server.counts.load(1)


def test_counts_come_out_of_their_sparse_form_as_they_went_in() -> None:
    whole = sample(5, 900, 3)
    found = PlainCounts.of(whole).histogram()
    assert found is not None
    assert counts_hash(found, ()) == counts_hash(whole, ())
    one: dict[int, int] = {7: 1}
    for wrong in (
        PlainCounts((one,), (), 0.0, 1),
        PlainCounts((), (), 0.0, 0),
        PlainCounts((one,), ({},), 0.0, 2),
        PlainCounts((one, one), (one, {}), 0.0, 1),
        PlainCounts(({BINS: 1},), ({},), 0.0, 1),
        PlainCounts(({7: 2},), ({},), 0.0, 1),
        PlainCounts((one,) * 1001, ({},) * 1001, 0.0, 1),
    ):
        assert wrong.histogram() is None, wrong
