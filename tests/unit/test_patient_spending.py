"""What several studies tell about one patient: dp-accounting composes, and the most used patient counts."""

import dataclasses

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.pld.privacy_loss_distribution import from_mixture_gaussian_mechanism
from dp_accounting.rdp import RdpAccountant
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from fedward.privacy.accountants import _WHOLE_ORDERS
from fedward.privacy.patient_spending import Use, for_patient, worst
from fedward.types import PrivacyEvent

SAMPLE = PrivacyEvent("sample", "patient", 0.5, 4.0, 5, 0.2, 1e-5)
OTHER = dataclasses.replace(SAMPLE, sampling_rate=0.1, noise_multiplier=2.0)
UPDATE = PrivacyEvent("update", "hospital", 1.0, 8.0, 1, 1.0, 1e-6)
NONE = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
DELTA = 1e-5
A, B, C = (bytes([number]) * 16 for number in range(3))


def use(event: PrivacyEvent, times: int, *patients: bytes, most_images: int = 1, told_by: str = "ids") -> Use:
    return Use(event, times, frozenset(patients), most_images, told_by)


def sampled(rate: float, noise: float, steps: int) -> dp_accounting.DpEvent:
    gaussian = dp_accounting.GaussianDpEvent(noise)
    step = gaussian if rate == 1 else dp_accounting.PoissonSampledDpEvent(rate, gaussian)
    return dp_accounting.SelfComposedDpEvent(step, steps)


def theirs(*events: dp_accounting.DpEvent, delta: float = DELTA) -> float:
    """dp-accounting's epsilon of these together: the smaller of its two accountants'."""
    found = []
    for accountant in (RdpAccountant(_WHOLE_ORDERS), PLDAccountant()):
        accountant.compose(dp_accounting.ComposedDpEvent(list(events)))
        found.append(float(accountant.get_epsilon(delta)))
    return min(found)


@pytest.mark.slow
def test_studies_of_different_mechanisms_are_composed_for_the_patient_who_was_in_both() -> None:
    first, second = use(SAMPLE, 3, A, B), use(OTHER, 4, B, C)
    both = theirs(sampled(0.5, 4.0, 15), sampled(0.1, 2.0, 20))
    spent = worst([first, second], DELTA)
    assert spent.epsilon == pytest.approx(both, rel=1e-9)
    assert not spent.unbounded
    apart = worst([use(SAMPLE, 3, A), use(OTHER, 4, C)], DELTA)
    assert apart.epsilon == pytest.approx(max(theirs(sampled(0.5, 4.0, 15)), theirs(sampled(0.1, 2.0, 20))), rel=1e-9)
    assert apart.epsilon < 0.9 * both  # type: ignore[operator]


def test_the_most_used_patient_of_overlapping_studies_counts() -> None:
    uses = [use(SAMPLE, 2, A, B), use(SAMPLE, 2, B, C), use(SAMPLE, 5, C), use(SAMPLE, 1, A)]
    assert worst(uses, DELTA).epsilon == pytest.approx(theirs(sampled(0.5, 4.0, 35)), rel=1e-9)  # C: 2 + 5 rounds
    planned = use(SAMPLE, 1, A)
    assert worst([*uses, planned], DELTA, planned).epsilon == pytest.approx(
        theirs(sampled(0.5, 4.0, 20)), rel=1e-9
    )  # A alone is looked at: 2 + 1 + 1 rounds


def test_an_update_counts_for_a_patient_with_twice_the_clip_norm() -> None:
    spent = worst([use(UPDATE, 2, A), use(SAMPLE, 1, A)], DELTA)
    halved = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(4.0), 2)
    assert spent.epsilon == pytest.approx(theirs(halved, sampled(0.5, 4.0, 5)), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_patient_of_several_images_is_bounded_by_the_mixture_of_all_of_them(images: int) -> None:
    """Ganesh 2024: how many of the images a step draws is binomial, and each adds one clip norm."""
    event = dataclasses.replace(SAMPLE, unit="image", sampling_rate=0.1, noise_multiplier=3.0 * images)
    counts = np.arange(images + 1)
    chances = [
        float(np.prod([(images - i) / (i + 1) for i in range(count)])) * 0.1**count * 0.9 ** (images - count)
        for count in counts
    ]
    mixture = from_mixture_gaussian_mechanism(3.0 * images, counts.astype(float).tolist(), chances)
    exact = mixture.self_compose(10).get_epsilon_for_delta(DELTA)
    spent = worst([use(event, 2, A, most_images=images)], DELTA)
    assert spent.epsilon >= 0.999 * exact  # type: ignore[operator]
    if images == 1:
        assert spent.epsilon == pytest.approx(exact, rel=0.02)


def test_a_study_without_privacy_has_no_bound_and_hides_nothing_of_the_others() -> None:
    spent = worst([use(NONE, 2, A), use(SAMPLE, 3, B)], DELTA)
    assert spent.unbounded
    assert spent.exceeds(1e6)
    assert spent.epsilon == pytest.approx(theirs(sampled(0.5, 4.0, 15)), rel=1e-9)
    planned = use(SAMPLE, 3, B)
    assert not worst([use(NONE, 2, A), planned], DELTA, planned).unbounded, "another patient's"
    assert not worst([use(NONE, 0, B), planned], DELTA, planned).unbounded, "no round was released"
    assert for_patient(NONE, 1) is None


def test_nothing_is_spent_where_nothing_was_released() -> None:
    for uses in ([], [use(SAMPLE, 0, A)], [use(SAMPLE, 3)]):
        spent = worst(uses, DELTA)
        assert (spent.epsilon, spent.unbounded) == (None, False)


def test_patients_who_were_told_apart_otherwise_count_as_the_most_used_of_those() -> None:
    uses = [use(SAMPLE, 2, A), use(SAMPLE, 3, B, told_by="names"), use(SAMPLE, 1, C, told_by="names")]
    assert worst(uses, DELTA).epsilon == pytest.approx(theirs(sampled(0.5, 4.0, 25)), rel=1e-9)
    planned = use(SAMPLE, 4, C)
    assert worst([*uses, planned], DELTA, planned).epsilon == pytest.approx(theirs(sampled(0.5, 4.0, 35)), rel=1e-9)


@pytest.mark.slow
def test_many_kinds_of_patients_are_overstated_and_never_understated() -> None:
    """Forty studies, in each of which another patient stays away: no patient was in all of them."""
    patients = [bytes([number]) * 16 for number in range(40)]
    noises = [6.0 + number / 100 for number in range(40)]
    uses = [
        use(dataclasses.replace(SAMPLE, noise_multiplier=noise), 1, *(p for p in patients if p != away))
        for noise, away in zip(noises, patients, strict=True)
    ]
    accountant = RdpAccountant(_WHOLE_ORDERS)
    accountant.compose(dp_accounting.ComposedDpEvent([sampled(0.5, noise, 5) for noise in noises[:-1]]))
    assert worst(uses, DELTA).epsilon > accountant.get_epsilon(DELTA)  # type: ignore[operator]


@pytest.mark.slow
@tried(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([SAMPLE, OTHER, UPDATE, NONE]), st.integers(0, 3), st.sets(st.sampled_from([A, B, C]))
        ),
        max_size=5,
    )
)
def test_no_patient_has_spent_more_than_the_most_used_one(drawn: list[tuple[PrivacyEvent, int, set[bytes]]]) -> None:
    uses = [use(event, times, *patients) for event, times, patients in drawn]
    spent = worst(uses, DELTA)
    own = [worst([each for each in uses if patient in each.patients], DELTA) for patient in (A, B, C)]
    assert spent.epsilon == max((each.epsilon for each in own if each.epsilon is not None), default=None)
    assert spent.unbounded == any(each.unbounded for each in own)
