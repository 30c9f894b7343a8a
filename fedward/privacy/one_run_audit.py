"""A lower bound on epsilon from guesses about many canaries of one training run, or of several.

Each canary is in the training data or not, by a coin of its own. An attacker says of some of them which it was. Under
epsilon and delta he is seldom right much more often than randomized response would be (Steinke, Nasr and Jagielski
2023, "Privacy Auditing with One (1) Training Run", theorem 5.2), so how often he was right bounds epsilon from below.
Several independent runs with canaries and coins of their own are one run with all of these canaries.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Wide = NDArray[np.float64]

GUESSED = (0.02, 0.1, 0.3, 1.0)  # shares of the canaries that are guessed: all are tried, and paid for
_MOST_EPSILON = 60.0  # beyond this no count of guesses reaches


@dataclass(frozen=True)
class GuessBound:
    """What guesses show.

    Attributes:
        epsilon: The lower bound, at least 0.
        right: How many guesses were right, where the bound is largest.
        guesses: Of how many.
        canaries: Of how many canaries these were the surest.
    """

    epsilon: float
    right: int
    guesses: int
    canaries: int


def bound_of_scores(
    scores: Wide,
    members: NDArray[np.bool_],
    delta: float,
    confidence: float = 0.95,
    shares: tuple[float, ...] = GUESSED,
) -> GuessBound:
    """The largest lower bound that scores of canaries support.

    Args:
        scores: Of each canary, the higher the more it seems to be in: shape (canaries,). They may depend on anything
            but the coins of these canaries, and on the coins through the training that is audited alone.
        members: Which are in, each by a fair coin of its own: same shape.
        delta: The delta of the guarantee that is tested.
        confidence: Probability that the bound holds, for all shares together.
        shares: Shares of the canaries that are guessed, fixed beforehand: half of them the highest scores, said to be
            in, the other half the lowest.

    Guarantees:
        1. A training that keeps its epsilon and delta for each canary gets a bound above it with a probability of at
           most 1 less the confidence.
    """
    count, order = len(scores), np.argsort(scores, kind="stable")
    found = [GuessBound(0.0, 0, 0, count)]
    for share in shares:
        half = int(share * count / 2)
        if half:
            right = int((~members[order[:half]]).sum() + members[order[-half:]].sum())
            epsilon = epsilon_of_guesses(count, 2 * half, right, delta, 1 - (1 - confidence) / len(shares))
            found.append(GuessBound(epsilon, right, 2 * half, count))
    return max(found, key=lambda bound: bound.epsilon)


def epsilon_of_guesses(canaries: int, guesses: int, right: int, delta: float, confidence: float) -> float:
    """The smallest epsilon under which so many right guesses are no rarer than 1 less the confidence.

    Args:
        canaries: How many there are.
        guesses: Of how many of them the attacker says something; fixed beforehand.
        right: How often that was right.
        delta: The delta of the guarantee that is tested.
        confidence: Probability that the bound holds.
    """
    low, high = 0.0, _MOST_EPSILON
    if _chance(canaries, guesses, right, low, delta) >= 1 - confidence:
        return 0.0
    for _ in range(50):
        middle = (low + high) / 2
        rare = _chance(canaries, guesses, right, middle, delta) < 1 - confidence
        low, high = (middle, high) if rare else (low, middle)
    return low


def _chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The largest probability of so many right guesses or more, under epsilon and delta."""
    chances = _binomial(guesses, 1 / (1 + math.exp(-epsilon)))
    tail = float(chances[right:].sum())
    if not right:
        return 1.0
    fewer = np.cumsum(chances[:right][::-1])  # from one right guess less to `right` less
    steepest = float((fewer / np.arange(1, right + 1)).max())
    return min(1.0, tail + 2 * canaries * delta * steepest)


def _binomial(count: int, rate: float) -> Wide:
    """The probability of each number of hits from 0 to `count`."""
    hits = np.arange(count + 1)
    ways = math.lgamma(count + 1) - np.array([math.lgamma(k + 1) + math.lgamma(count - k + 1) for k in hits])
    miss = max(1 - rate, 1e-300)
    return np.asarray(np.exp(ways + hits * math.log(rate) + (count - hits) * math.log(miss)), np.float64)
