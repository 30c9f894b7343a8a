"""The attacker: likelihood ratios from shadow models.

Carlini et al. 2022, "Membership Inference Attacks From First Principles". Shadow models are trained with a person and
without. What is looked at then has a mean with and one without, and two deviations that are the same for all, as a
dozen models a person tell no deviation of each. A target's score is how much likelier it is under the one normal
distribution than under the other.
"""

import numpy as np

from fedward.labs.membership.pool import Bits, Wide

_LEAST = 1e-6  # of a variance, over that of all values: a model that memorizes shows none within members


def likelihood_ratios(looked: Wide, inside: Bits, shadows: int) -> Wide:
    """Score targets, the higher the more a person seems to be in.

    Args:
        looked: What is looked at: shape (models, people), shadows first.
        inside: Who is in which model; of targets it is not used.
        shadows: How many models are shadows; in at least two everybody is in, and in two nobody.

    Returns:
        Shape (targets, people).
    """
    known, targets = looked[:shadows], looked[shadows:]
    floor = _LEAST * max(float(known.var()), 1e-300)
    logs = []
    for members in (inside[:shadows], ~inside[:shadows]):
        count = members.sum(0)
        mean = np.where(members, known, 0.0).sum(0) / count
        variance = (np.where(members, known - mean, 0.0) ** 2).sum() / (count - 1).sum()
        # The mean is that of a few models: a new one is further from it than they are.
        spread = (variance + floor) * (1 + 1 / count)
        logs.append(-((targets - mean) ** 2) / (2 * spread) - 0.5 * np.log(spread))
    return np.asarray(logs[0] - logs[1], np.float64)
