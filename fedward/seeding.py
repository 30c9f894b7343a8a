"""Seeded random generators that anybody can repeat: for shuffling, splitting and rounding; never for noise or keys."""

import hashlib

import numpy as np


def public_rng(purpose: str, *labels: str | int) -> np.random.Generator:
    """A generator that follows from its purpose and labels (such as seed, hospital and round) alone."""
    digest = hashlib.sha256("/".join(map(str, (purpose, *labels))).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))
