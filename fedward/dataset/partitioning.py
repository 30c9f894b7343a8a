"""Which hospital holds which patients: equal, skewed by label, or by a column of the metadata."""

import difflib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.kinds import plain
from fedward.dataset.splitting import TRAIN, SplitTable, strata
from fedward.errors import DataError, UsageError
from fedward.settings import DataSettings

_STREAM = 0x9A27  # keeps these draws apart from others under the same seed
_FEW_PATIENTS = 3  # training patients that label skew leaves every hospital, where there are enough
_NO_VALUE = "(empty)"


@dataclass(frozen=True)
class Sharing:
    """Who holds what.

    Attributes:
        hospital: int, shape (n,); index of the hospital that holds each image, from 0.
        notes: Counts for the report.
    """

    hospital: NDArray[np.intp]
    notes: dict[str, int]


def share_out(data: SplitTable, settings: DataSettings, seed: int) -> Sharing:
    """Share all patients among the hospitals, within each split by the same proportions.

    Args:
        data: The images in their splits.
        settings: `hospitals`, `partition`, and `alpha` or `column`.
        seed: Decides who gets whom.

    Raises:
        DataError: there are more hospitals than training patients, or the column does not yield enough hospitals.
        UsageError: by-column without a column.

    Guarantees:
        1. Every image goes to exactly one hospital, and all images of a patient (and identical ones) to the same.
        2. Every hospital has at least one training patient; with `dirichlet` three, where there are enough.
        3. `iid`: each class's images differ between hospitals by at most the images of one patient.
    """
    train_patients = len(np.unique(data.groups[data.split == TRAIN]))
    if settings.hospitals > train_patients:
        raise DataError(
            f"There are {settings.hospitals} hospitals but only {train_patients} patients to train on.",
            "Give fewer --hospitals or more data.",
        )
    if settings.partition == "by-column":
        return _by_column(data, settings.hospitals, settings.column)
    rng = np.random.default_rng([seed, _STREAM])
    group_strata = strata(data.labels, data.groups)
    home = np.zeros(len(group_strata), dtype=np.intp)
    shares = None
    if settings.partition == "dirichlet":
        weights = np.full(settings.hospitals, settings.alpha)
        # Tiny alphas underflow to 0/0: those shares go to one hospital, which is their limit.
        drawn = rng.dirichlet(weights, size=int(group_strata.max()) + 1)
        shares = np.nan_to_num(drawn, nan=0.0)
    for part in range(3):
        sizes = np.bincount(data.groups[data.split == part], minlength=len(group_strata))
        if shares is None:
            _deal(home, sizes, group_strata, settings.hospitals, rng)
        else:
            _skew(home, sizes, group_strata, shares, rng)
        if part == TRAIN and shares is not None:
            _level(home, np.flatnonzero(sizes > 0), settings.hospitals)
    return Sharing(home[data.groups], {})


def _deal(
    home: NDArray[np.intp],
    sizes: NDArray[np.intp],
    group_strata: NDArray[np.intp],
    hospitals: int,
    rng: np.random.Generator,
) -> None:
    """Give each group to the hospital with the fewest images of its class, then the fewest at all."""
    totals = np.zeros(hospitals, dtype=np.int64)
    for stratum in np.unique(group_strata):
        of_class = np.zeros(hospitals, dtype=np.int64)
        for group in rng.permutation(np.flatnonzero((group_strata == stratum) & (sizes > 0))):
            chosen = int(np.lexsort((np.arange(hospitals), totals, of_class))[0])
            home[group] = chosen
            of_class[chosen] += sizes[group]
            totals[chosen] += sizes[group]


def _skew(
    home: NDArray[np.intp],
    sizes: NDArray[np.intp],
    group_strata: NDArray[np.intp],
    shares: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Give each group to the hospital that misses most of its drawn share of the class."""
    for stratum in np.unique(group_strata):
        members = rng.permutation(np.flatnonzero((group_strata == stratum) & (sizes > 0)))
        missing = shares[stratum] * float(sizes[members].sum())
        for group in members:
            home[group] = int(np.argmax(missing))
            missing[home[group]] -= float(sizes[group])


def _level(home: NDArray[np.intp], members: NDArray[np.intp], hospitals: int) -> None:
    """Move training groups from the richest hospital to those below the minimum."""
    least = max(1, min(_FEW_PATIENTS, len(members) // hospitals))
    counts = np.bincount(home[members], minlength=hospitals)
    for hospital in range(hospitals):
        while counts[hospital] < least:
            richest = int(np.argmax(counts))
            moved = members[home[members] == richest][0]
            home[moved] = hospital
            counts[richest] -= 1
            counts[hospital] += 1


def _by_column(data: SplitTable, hospitals: int, column: str) -> Sharing:
    """Map the column's values to hospitals, the commonest values first, each to the hospital with the fewest images."""
    values, divided = _column_values(data, column)
    images: Counter[str] = Counter()
    for row_group in data.groups:
        images[values[row_group]] += 1
    if len(images) < hospitals:
        named = ", ".join(f"{value!r}" for value in sorted(images))
        raise DataError(
            f"The column {column!r} has {len(images)} values ({named}), too few for {hospitals} hospitals.",
            f"Give --hospitals {len(images)}, or another --column."
            if len(images) > 1
            else "Choose another --column, or --partition iid.",
        )
    totals = np.zeros(hospitals, dtype=np.int64)
    hospital_of: dict[str, int] = {}
    for value, count in sorted(images.items(), key=lambda item: (-item[1], item[0])):
        hospital_of[value] = int(np.argmin(totals))
        totals[hospital_of[value]] += count
    home = np.array([hospital_of[value] for value in values], dtype=np.intp)
    with_training = set(home[data.groups[data.split == TRAIN]].tolist())
    for hospital in range(hospitals):
        if hospital not in with_training:
            named = ", ".join(repr(value) for value, index in hospital_of.items() if index == hospital)
            raise DataError(
                f"No training patient has the value {named} in the column {column!r}.",
                "Give fewer --hospitals, or another --column.",
            )
    notes = {"values": len(images), "patients with several values, counted under their commonest": divided}
    return Sharing(home[data.groups], notes)


def _column_values(data: SplitTable, column: str) -> tuple[list[str], int]:
    """Each group's commonest value (the first by name of equals), and how many groups have several."""
    if not column:
        raise UsageError("The partition by-column needs a column.", "Name one with --column.")
    known = sorted({name for entry in data.table.entries for name in entry.columns})
    column = next((name for name in known if plain(name) == plain(column)), column)
    if column not in known:
        closest = difflib.get_close_matches(column, known, n=1, cutoff=0.0)
        raise DataError(
            f"The data has no column {column!r}; it has {', '.join(map(repr, known)) or 'no columns'}.",
            f"Did you mean {closest[0]!r}?" if closest else "Choose --partition iid or dirichlet.",
        )
    counts: dict[int, Counter[str]] = {}
    for row, entry in enumerate(data.table.entries):
        counts.setdefault(int(data.groups[row]), Counter())[entry.columns.get(column, "") or _NO_VALUE] += 1
    values = [min(counts[group].items(), key=lambda item: (-item[1], item[0]))[0] for group in range(len(counts))]
    return values, sum(len(counter) > 1 for counter in counts.values())
