"""Mechanisms whose epsilon is known, on canaries alone: the lab's bounds must stay below it, unless one breaks it."""

import math

import numpy as np

from fedward.labs.membership.plan import RESPONSE, Case
from fedward.labs.membership.pool import Bits, Wide
from fedward.privacy.accounting import epsilon
from fedward.types import PrivacyEvent

CANARIES = 2_000  # they cost nothing
RESPONSE_EPSILON = 1.0  # Warner 1965: the true bit with odds of e to 1
GAUSSIAN_NOISE = 2.0  # deviation over the distance of the two outcomes


def outcomes(case: Case, members: Bits, rng: np.random.Generator) -> Wide:
    """What a mechanism says of each canary: the higher, the more it seems to be in."""
    if case == RESPONSE:
        truthful = rng.random(members.shape) < 1 / (1 + math.exp(-RESPONSE_EPSILON))
        return np.asarray(members == truthful, np.float64)
    return members + case.noise * GAUSSIAN_NOISE * rng.standard_normal(members.shape)


def stated_epsilon(case: Case, delta: float) -> float:
    """The epsilon that a mechanism has with the whole of its noise."""
    if case == RESPONSE:
        return RESPONSE_EPSILON
    return epsilon([PrivacyEvent("sample", "patient", 1.0, GAUSSIAN_NOISE, 1, 1.0, delta)]) or 0.0
