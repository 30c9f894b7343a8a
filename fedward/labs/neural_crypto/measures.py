"""What says how random bytes look: entropy, correlation of neighbors, and how far two ciphertexts differ.

References:
    Wu, Noonan and Agaian 2011, "NPCR and UACI Randomness Tests for Image Encryption": of random bytes 99.61 % differ,
    by 33.46 % of the range on average.

Limits:
    Good figures prove nothing: a shuffled counter has them, too.
"""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def npcr(one: Bytes, other: Bytes) -> float:
    """Share of bytes that differ, in percent; both of one shape."""
    return float(100.0 * np.mean(one != other))


def uaci(one: Bytes, other: Bytes) -> float:
    """Mean distance of bytes, in percent of 255; both of one shape."""
    return float(100.0 * np.mean(np.abs(one.astype(np.int64) - other.astype(np.int64))) / 255.0)


def entropy(sent: Bytes) -> float:
    """Shannon entropy of the bytes' frequencies in bits a byte, at most 8; over all messages."""
    counts = np.bincount(sent.ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def neighbor_correlation(sent: Bytes) -> float:
    """Pearson correlation of bytes beside each other in a message, over all messages: 0 of random bytes.

    Args:
        sent: uint8, shape (n, bytes).

    Returns:
        From -1 to 1; 1 where all bytes are the same.
    """
    left, right = sent[:, :-1].ravel().astype(np.float64), sent[:, 1:].ravel().astype(np.float64)
    if left.std() == 0 or right.std() == 0:
        return 1.0
    return float(np.corrcoef(left, right)[0, 1])
