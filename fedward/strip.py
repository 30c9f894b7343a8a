"""STRIP: whether an incoming image keeps the model's decision whatever is laid over it, as one with a trigger does.

Gao et al. 2019, "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks". A trigger decides for a model with a
backdoor, also when other images are blended in; an honest image is then decided now so, now so. So each image is
blended with a number of clean ones, and the entropy of the model's decisions is averaged over the blends. Unusually
little entropy is suspicious. What is usual is measured on clean images that the model decides alike: with two classes
those of one class may be much harder to turn than those of the other, backdoor or not.

This looks at images, not at models: a model without a backdoor has nothing that a mark could set off.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.types import Vector

OVERLAYS = 32  # clean images that are blended in
HELD_OUT = 200  # clean images on which it is measured what is usual, at the most
FEWEST = 50  # of these that are decided alike; of fewer nothing is said
RATE = 0.02  # share of clean images that are suspected
_TOGETHER = 16  # images whose blends are scored in one call
Wide = NDArray[np.float64]
Scores = Callable[[Vector], Vector]  # float32, (n, height, width, 1) -> logits, (n, findings)


@dataclass(frozen=True)
class Usual:
    """What the model makes of clean images.

    Attributes:
        overlays: Those that are blended in: float32, shape (OVERLAYS, height, width, 1).
        borders: The logit at which each finding is called: float64, shape (findings,).
        entropies: Of the held-out ones: float64, shape (n, findings).
        called: What each is called: bool, same shape.
    """

    overlays: Vector
    borders: Wide
    entropies: Wide
    called: NDArray[np.bool_]


def usual(logits: Scores, clean: Vector, thresholds: Wide) -> Usual:
    """Measure what is usual.

    Args:
        logits: The model.
        clean: Images in any order that has nothing to do with them; more than `OVERLAYS`.
        thresholds: Scores at which findings are called, shape (findings,).
    """
    limits = np.clip(thresholds.astype(np.float64), 1e-9, 1 - 1e-9)
    borders = np.log(limits / (1 - limits))
    overlays, held_out = clean[:OVERLAYS], clean[OVERLAYS : OVERLAYS + HELD_OUT]
    return Usual(overlays, borders, entropies(logits, held_out, overlays, borders), logits(held_out) >= borders)


def entropies(logits: Scores, images: Vector, overlays: Vector, borders: Wide) -> Wide:
    """Mean entropy of the decisions on each image's blends, in bits: float64, shape (n, findings), from 0 to 1.

    A blend has the brighter pixel of both images. Published are sums, cut to white, which make X-rays white all over. A
    bright mark stays in both, a dark one in neither. Scores are moved so that a decision on the border has entropy 1.
    """
    found = [np.empty((0, len(borders)))]
    for start in range(0, len(images), _TOGETHER):
        some = images[start : start + _TOGETHER]
        blends = np.maximum(some[:, None], overlays[None])  # (images, overlays, height, width, 1)
        scores = logits(blends.reshape(-1, *images.shape[1:])).reshape(len(some), len(overlays), len(borders))
        found.append(_entropy(scores - borders).mean(axis=1))
    return np.concatenate(found)


def rarity(logits: Scores, images: Vector, than: Usual) -> Wide:
    """How rare so little entropy is among clean images that are called alike.

    Returns:
        float64, shape (n, findings), above 0 to 1; not a number where too few clean ones are called alike. Of clean
        images a share of at most `RATE` is at or below `RATE`.
    """
    found, called = entropies(logits, images, than.overlays, than.borders), logits(images) >= than.borders
    rare = np.full(found.shape, np.nan)
    for row, finding in np.ndindex(found.shape):
        alike = than.entropies[than.called[:, finding] == called[row, finding], finding]
        if len(alike) >= FEWEST:
            rare[row, finding] = (1 + np.count_nonzero(alike <= found[row, finding])) / (1 + len(alike))
    return rare


def _entropy(logits: Wide) -> Wide:
    """Of a decision by these logits, in bits; computed so that it stays above 0 for large ones."""
    size = np.abs(logits)
    beyond = np.exp(-size)  # odds of the other class
    return np.asarray((np.log1p(beyond) + size * beyond / (1 + beyond)) / np.log(2))
