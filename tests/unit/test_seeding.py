"""Public randomness: repeatable by anybody, and independent where the labels differ."""

import itertools

import numpy as np
from scipy import stats

from fedward.seeding import public_rng

LABELS = [("train", 1, "hospital-1", 1), ("train", 1, "hospital-1", 2), ("train", 1, "hospital-2", 1),
          ("train", 2, "hospital-1", 1), ("round", 1, "hospital-1", 1), ("train",)]  # fmt: skip


def test_the_same_labels_give_the_same_stream_in_every_process_and_version() -> None:
    first, again = (public_rng("train", 1, "hospital-1", 1).integers(0, 2**32, 8) for _ in "ab")
    assert np.array_equal(first, again)
    # Measured once: another stream would silently change what every published seed gives.
    assert public_rng("train", 1, "hospital-1", 1).bit_generator.random_raw(2).tolist() == [
        17872339363633098982,
        4481804618894296,
    ]


def test_any_other_label_gives_an_independent_stream() -> None:
    streams = [public_rng(*labels).normal(size=4000) for labels in LABELS]  # type: ignore[arg-type]
    for left, right in itertools.combinations(streams, 2):
        assert abs(stats.pearsonr(left, right).statistic) < 0.08


def test_neither_a_stream_nor_the_next_one_touches_numpys_own_state() -> None:
    np.random.seed(3)  # noqa: NPY002 - this state is what must stay as it is
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    public_rng("train", 1).normal(size=10)
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
