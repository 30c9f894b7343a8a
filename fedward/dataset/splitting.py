"""Train, val and test, by patient: what the source gave is kept, what it did not give is carved from train.

Nothing here depends on hospitals, partitions or pseudonyms: the union of all hospitals' test sets is the same
whatever they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.records import SPLITS, ImageTable, LeftOut, Split

TRAIN, VAL, TEST = range(3)
_STREAM = 0x5911  # keeps these draws apart from others under the same seed


@dataclass(frozen=True)
class SplitTable:
    """The images that are used, and where each belongs.

    Attributes:
        table: The kept images.
        labels: float32, shape (n, findings).
        split: int8, shape (n,); 0 train, 1 val, 2 test.
        groups: int, shape (n,); equal where images share a patient or are identical, directly or through others.
        given: The splits that the source brought.
        removed: Images taken out of a split because another one keeps them: counts by split and reason.
        left_out: The same images by name.
    """

    table: ImageTable
    labels: NDArray[np.float32]
    split: NDArray[np.int8]
    groups: NDArray[np.intp]
    given: tuple[Split, ...]
    removed: Mapping[str, Mapping[str, int]]
    left_out: tuple[LeftOut, ...] = ()


def split_by_patient(
    table: ImageTable, labels: NDArray[np.float32], val_share: float, test_share: float, seed: int
) -> SplitTable:
    """Put every image into train, val or test.

    Args:
        table: All readable images.
        labels: float32, shape (n, findings).
        val_share: Share of images for val, where the source gives none.
        test_share: Share of images for test, where the source gives none.
        seed: Decides which patients are carved.

    Guarantees:
        1. No patient and no identical image is in two splits. Where given splits share one, test keeps it, then val.
        2. A given split gains nothing; val and test, if given, lose nothing to train.
        3. Where a class has three patients or more, carving leaves it in all three splits.
        4. The result depends on the table, the labels, the shares and the seed alone.
    """
    given = tuple(split for split in SPLITS if any(entry.split == split for entry in table.entries))
    # Where only some images have a split (NIH lists that do not name them all), the others are for training.
    split = np.array([SPLITS.index(entry.split or "train") for entry in table.entries], dtype=np.int8)
    kept, removed, left_out = _resolve(table, split)
    table, labels, split = table.take(kept), labels[kept], split[kept]
    groups = group_images(table)
    if not given or "train" in given:
        shares = {VAL: 0.0 if "val" in given else val_share, TEST: 0.0 if "test" in given else test_share}
        _carve(split, groups, strata(labels, groups), shares, np.random.default_rng([seed, _STREAM]))
    return SplitTable(table, labels, split, groups, given, removed, tuple(left_out))


def group_images(table: ImageTable) -> NDArray[np.intp]:
    """Number the groups of images that must stay together, in order of first appearance (union-find)."""
    parents = list(range(len(table)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    first: dict[tuple[str, str | bytes], int] = {}
    for row, entry in enumerate(table.entries):
        keys: list[tuple[str, str | bytes]] = [("image", table.digests[row].tobytes())]
        if entry.patient:
            keys.append(("patient", entry.patient))
        for key in keys:
            other = root(first.setdefault(key, row))
            mine = root(row)
            parents[max(other, mine)] = min(other, mine)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(row), len(numbers)) for row in range(len(table))], dtype=np.intp)


def strata(labels: NDArray[np.float32], groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """One class for each group: its rarest finding's column plus one, or 0 without a finding.

    Returns:
        int, shape (number of groups,).
    """
    present = np.zeros((int(groups.max(initial=-1)) + 1, labels.shape[1]), dtype=bool)
    np.logical_or.at(present, groups, labels > 0)
    if labels.shape[1] == 1:
        return present[:, 0].astype(np.intp)
    rarity = np.where(present, present.sum(axis=0)[None, :], np.iinfo(np.intp).max)
    return np.where(present.any(axis=1), rarity.argmin(axis=1) + 1, 0).astype(np.intp)


def _resolve(
    table: ImageTable, split: NDArray[np.int8]
) -> tuple[NDArray[np.intp], dict[str, dict[str, int]], list[LeftOut]]:
    """Rows to keep when given splits overlap: test keeps a patient or image, then val."""
    kept: list[int] = []
    left_out: list[LeftOut] = []
    removed: dict[str, dict[str, int]] = {}
    patients: set[str] = set()
    digests: set[bytes] = set()
    for part in (TEST, VAL, TRAIN):
        rows = np.flatnonzero(split == part).tolist()
        mine: list[int] = []
        for row in rows:
            shares_patient = table.entries[row].patient in patients
            if not shares_patient and table.digests[row].tobytes() not in digests:
                mine.append(row)
                continue
            reason = "shared patient" if shares_patient else "identical image"
            counts = removed.setdefault(SPLITS[part], {})
            counts[reason] = counts.get(reason, 0) + 1
            left_out.append(
                LeftOut(table.entries[row].name, f"images of {SPLITS[part]} with a {reason} in another split")
            )
        patients |= {table.entries[row].patient for row in mine} - {""}
        digests |= {table.digests[row].tobytes() for row in mine}
        kept += mine
    return np.array(sorted(kept), dtype=np.intp), removed, left_out


def _carve(
    split: NDArray[np.int8],
    groups: NDArray[np.intp],
    group_strata: NDArray[np.intp],
    shares: Mapping[int, float],
    rng: np.random.Generator,
) -> None:
    """Move whole groups from train to val and test, in place, class by class."""
    sizes = np.bincount(groups[split == TRAIN], minlength=len(group_strata))
    wanted = [part for part, share in shares.items() if share > 0]
    home = np.full(len(group_strata), TRAIN, dtype=np.int8)
    for stratum in np.unique(group_strata):
        members = rng.permutation(np.flatnonzero((group_strata == stratum) & (sizes > 0)))
        missing = {part: shares[part] * float(sizes[members].sum()) for part in wanted}
        missing[TRAIN] = (1.0 - sum(shares.values())) * float(sizes[members].sum())
        for group in members:
            part = max(missing, key=lambda candidate: (missing[candidate], -candidate))
            home[group] = part
            missing[part] -= float(sizes[group])
        _fill_empty(home, members, sizes, [part for part in (TEST, VAL) if part in wanted])
    carved = split == TRAIN
    split[carved] = home[groups[carved]]


def _fill_empty(home: NDArray[np.int8], members: NDArray[np.intp], sizes: NDArray[np.intp], parts: list[int]) -> None:
    """Give each empty part a class's smallest training group, as long as train keeps one."""
    for part in parts:
        in_train = members[home[members] == TRAIN]
        if not (home[members] == part).any() and len(in_train) >= 2:
            home[in_train[np.argmin(sizes[in_train])]] = part
    in_train = members[home[members] == TRAIN]
    if len(members) and not len(in_train):
        home[members[np.argmax(sizes[members])]] = TRAIN
