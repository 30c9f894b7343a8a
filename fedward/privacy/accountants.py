"""Compute epsilon of composed releases, and the noise for a target epsilon, with two accountants of dp-accounting.

Renyi (Mironov 2017; Mironov, Talwar and Zhang 2019 for sampling) and privacy loss distributions (Koskela et al. 2020;
Doroshenko et al. 2022). Both give upper bounds, so the smaller of the two holds.

dp-accounting and SciPy, which it imports, take a second to load: code that only reads privacy records or settings does
not import this module.
"""

import functools
import math
from collections.abc import Callable

import dp_accounting
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from fedward.errors import UsageError
from fedward.privacy.mechanism import expected_event
from fedward.settings import PrivacySettings
from fedward.types import PrivacyEvent

Kinds = tuple[tuple[PrivacyEvent, int], ...]  # kinds of releases, and how often each was made

# Of sampled releases: at fractional orders the Renyi accountant gives up on many, and says so on stderr.
_WHOLE_ORDERS = [*range(2, 65), 80, 96, 128, 192, 256, 512, 1024]
# A privacy loss distribution takes memory by its width. Beyond these, which an auditor may be handed by anybody, and
# where no guarantee is of use, the Renyi accountant answers alone.
_LARGEST_EPSILON = 50.0
_LEAST_NOISE = 0.25
_SMALLEST_DELTA = 1e-12
_MOST_STEPS = 1_000_000
_MOST_KINDS = 16
_STEPS_OF_ONE = 10_000  # a calibrated noise multiplier is rounded up to four decimals
_PRECISION = 0.002  # of the calibrated noise multiplier
_STEP_DOWN = 0.9  # from what the Renyi accountant finds enough: it overstates by about as much
_MOST_NOISE = 1e6  # as the setting allows


@functools.lru_cache(maxsize=256)
def composed(kinds: Kinds, delta: float) -> float:
    """The smaller of both accountants' answers, for kinds of releases and how often each was made.

    Hospitals that made the same releases have the same epsilon, and an audit asks for each of them more than once.
    """
    found = _by_renyi(kinds, delta)
    if found <= _LARGEST_EPSILON and _is_narrow(kinds, delta):
        found = min(found, _by(PLDAccountant(), kinds, delta))
    return found


def _by_renyi(kinds: Kinds, delta: float) -> float:
    """The Renyi accountant's answer alone."""
    sampled = any(event.sampling_rate != 1 for event, _ in kinds)
    return _by(RdpAccountant(_WHOLE_ORDERS) if sampled else RdpAccountant(), kinds, delta)


def _by(accountant: dp_accounting.PrivacyAccountant, kinds: Kinds, delta: float) -> float:
    """Epsilon by one accountant (adding or removing one unit)."""
    for event, times in kinds:
        gaussian = dp_accounting.GaussianDpEvent(event.noise_multiplier)
        step = (
            gaussian if event.sampling_rate == 1 else dp_accounting.PoissonSampledDpEvent(event.sampling_rate, gaussian)
        )
        accountant.compose(step, event.steps * times)
    return float(accountant.get_epsilon(delta))


def _is_narrow(kinds: Kinds, delta: float) -> bool:
    """Whether a privacy loss distribution of these releases fits memory."""
    return (
        delta >= _SMALLEST_DELTA
        and len(kinds) <= _MOST_KINDS
        and sum(event.steps * times for event, times in kinds) <= _MOST_STEPS
        and all(event.noise_multiplier >= _LEAST_NOISE for event, _ in kinds)
    )


def least_noise(privacy: PrivacySettings, rounds: int) -> float:
    """The smallest noise multiplier, rounded up, with which all rounds together cost at most the target epsilon.

    Raises:
        UsageError: no noise that the settings allow is enough.
    """
    target = privacy.target_epsilon

    def kinds(multiplier: float) -> Kinds:
        planned = PrivacySettings(**(vars(privacy) | {"noise_multiplier": multiplier}))
        return ((expected_event(planned), rounds),)

    def enough_by_renyi(multiplier: float) -> bool:
        return _by_renyi(kinds(multiplier), privacy.delta) <= target

    def enough(multiplier: float) -> bool:
        return composed(kinds(multiplier), privacy.delta) <= target

    # The Renyi accountant is ten times as fast, and only overstates: what is enough for it is a place to start from.
    high = _LEAST_NOISE
    while not enough_by_renyi(high):
        high *= 2
        if high > _MOST_NOISE:
            raise UsageError(
                f"No noise gives epsilon {target:g} at delta {privacy.delta:g}.", "Raise privacy.target-epsilon."
            )
    high = _least(enough_by_renyi, max(_LEAST_NOISE, high / 2), high)
    low = max(_LEAST_NOISE, _STEP_DOWN * high)
    while enough(low):
        if low == _LEAST_NOISE:
            return low
        low, high = max(_LEAST_NOISE, _STEP_DOWN * low), low
    return math.ceil(_least(enough, low, high) * _STEPS_OF_ONE) / _STEPS_OF_ONE


def _least(enough: Callable[[float], bool], low: float, high: float) -> float:
    """The least noise that is enough, to within the precision and never less; `high` is enough."""
    while high - low > _PRECISION * low:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
