"""What several studies together tell about one patient: the epsilon of the patient who was in the most of them.

Each study promises something about a unit of its own choice. Here all of it is counted for a patient:

    sample, unit patient   as it is
    sample, unit image     a patient has up to m images: sampled at rate 1 - (1 - q)^m, with m times the clip norm
    update, unit hospital  two data sets of a hospital, with and without the patient: twice the clip norm
    none                   nothing bounds what the release tells

A patient is whoever has the same pseudonym. Where studies told patients apart in different ways, their pseudonyms
cannot be compared: each patient is then taken for the most used one of the studies of the other way.

`worst` may be larger than the truth and never smaller, for persons who count as one patient in each study.

References: Ganesh 2024, "Tight group-level DP guarantees for DP-SGD with sampling via mixture of Gaussians mechanisms"
(several images of a patient: the mixture that he gives is at most the bound above).
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedward.types import PrivacyEvent

_MOST_COMPOSED = 16  # kinds of patients that are composed one by one; more are taken together, which overstates
_MOST_COMPARED = 500

_Totals = Counter[PrivacyEvent | None]  # how often each release was made; None: one without privacy


@dataclass(frozen=True)
class Use:
    """Releases that were made of the same patients.

    Attributes:
        event: One release.
        times: How many of them.
        patients: Who was trained on, as the record of studies notes it.
        most_images: The largest number of training images that one of them has.
        told_by: How patients were told apart, with whatever else decides their pseudonyms.
    """

    event: PrivacyEvent
    times: int
    patients: frozenset[bytes]
    most_images: int
    told_by: str


@dataclass(frozen=True)
class Spent:
    """What has been spent on the patient on whom most was spent.

    Attributes:
        epsilon: Of the releases with privacy; None where there are none.
        delta: The delta of that epsilon.
        unbounded: Whether a patient is in a release without privacy, so that nothing bounds what is told.
    """

    epsilon: float | None
    delta: float
    unbounded: bool

    def exceeds(self, limit: float) -> bool:
        """Whether this is more than an epsilon."""
        return self.unbounded or (self.epsilon or 0.0) > limit


def for_patient(event: PrivacyEvent, most_images: int) -> PrivacyEvent | None:
    """A release as it counts for a patient; None where nothing bounds it. Only noise, rate and steps are kept.

    Args:
        event: The release as its study declares it.
        most_images: The largest number of training images that one patient has.
    """
    if event.mode == "none":
        return None
    rate, noise = event.sampling_rate, event.noise_multiplier
    if event.unit == "hospital":
        noise /= 2
    elif event.unit == "image" and most_images > 1:
        rate, noise = 1 - (1 - rate) ** most_images, noise / most_images
    bare = dataclasses.replace(event, mode="sample", unit="patient", clip_norm=1.0, delta=0.0)
    return dataclasses.replace(bare, sampling_rate=rate, noise_multiplier=noise)


def worst(uses: Sequence[Use], delta: float, among: Use | None = None) -> Spent:
    """What was spent on the patient on whom most was spent.

    Args:
        uses: All releases, in any order.
        delta: The delta to state epsilon for.
        among: One of the uses: only its patients are looked at. None: all patients.

    Guarantees:
        1. At least what dp-accounting gives for the releases in which a patient was, whoever it is; equal to it where
           patients were told apart in one way and are of at most 16 kinds.
    """
    found = _maximal(_totals_of_patients(uses, among))
    unbounded = any(None in total for total in found)
    private = _maximal(Counter({event: times for event, times in total.items() if event}) for total in found)
    epsilons = [_epsilon(total, delta) for total in private if total]
    return Spent(max(epsilons) if epsilons else None, delta, unbounded)


def _epsilon(total: _Totals, delta: float) -> float:
    from fedward.privacy.accountants import composed  # dp-accounting takes a second to import

    kinds = [(event, times) for event, times in total.items() if event is not None]
    return composed(tuple(sorted(kinds, key=lambda kind: dataclasses.astuple(kind[0]))), delta)


def _totals_of_patients(uses: Sequence[Use], among: Use | None) -> list[_Totals]:
    """The releases in which each patient was, of all kinds of patients."""
    ways = {use.told_by for use in uses}
    by_way = {way: _of_one_way([use for use in uses if use.told_by == way], None) for way in ways}
    found = []
    for way in ways if among is None else {among.told_by}:
        beside = _added(_largest(totals) for other, totals in by_way.items() if other != way)
        chosen = by_way[way] if among is None else _of_one_way([use for use in uses if use.told_by == way], among)
        found += [_added((total, beside)) for total in chosen]
    return found


def _of_one_way(uses: Sequence[Use], among: Use | None) -> list[_Totals]:
    """The same for releases whose pseudonyms can be compared."""
    places: dict[bytes, list[int]] = {}
    for place, use in enumerate(uses):
        if use.times:
            for patient in use.patients:
                places.setdefault(patient, []).append(place)
    kinds = {tuple(where) for patient, where in places.items() if among is None or patient in among.patients}
    totals = {
        frozenset(_added(_total(uses[place]) for place in kind).items()) for kind in kinds
    }  # patients of different hospitals have mostly the same
    return [Counter(dict(total)) for total in totals]


def _total(use: Use) -> _Totals:
    return Counter({for_patient(use.event, use.most_images): use.times})


def _added(totals: Iterable[_Totals]) -> _Totals:
    found: _Totals = Counter()
    for total in totals:
        found.update(total)
    return found


def _largest(totals: Iterable[_Totals]) -> _Totals:
    """As many of each release as any of the totals has."""
    found: _Totals = Counter()
    for total in totals:
        found |= total
    return found


def _maximal(totals: Iterable[_Totals]) -> list[_Totals]:
    """The totals that no other one contains; where they are many, one that contains all."""
    rest = list({frozenset(total.items()): total for total in totals}.values())
    if len(rest) > _MOST_COMPARED:
        return [_largest(rest)]
    kept = [total for total in rest if not any(total < other for other in rest)]
    return [_largest(kept)] if len(kept) > _MOST_COMPOSED else kept
